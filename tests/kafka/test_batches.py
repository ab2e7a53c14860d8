"""Batches against aiokafka's own reading of the same bytes, over logs with every kind of gap."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka import batches
from stream.kafka.batches import BatchIterator, Columns, check_internals
from stream.kafka.failures import InternalsError

TP = TopicPartition("requests", 0)
_ATTRIBUTES_AT, _LAST_DELTA_AT = 21, 23
_CONTROL = 0x20


@dataclass
class Log:
    """A partition's log, built batch by batch."""

    batches: list[tuple[int, bytes]] = field(default_factory=list)
    end: int = 0

    def append(
        self, kept: list[bool], *, producer: int = -1, control: bytes | None = None, codec: int = 0
    ) -> None:
        """One broker batch of ``len(kept)`` offsets, of which compaction has left those that are ``kept``."""
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=codec,
            is_transactional=producer >= 0,
            producer_id=producer,
            producer_epoch=0,
            base_sequence=0,
            batch_size=1 << 20,
        )
        for delta, keep in enumerate(kept):
            offset = self.end + delta
            if keep:
                value = None if offset % 7 == 3 else b"v%d" % offset
                builder.append(delta, 1_000 + offset, key=control or b"k", value=value, headers=[])
        batch = bytearray(builder.build())
        struct.pack_into(">q", batch, 0, self.end)
        struct.pack_into(">i", batch, _LAST_DELTA_AT, len(kept) - 1)
        if control is not None:
            batch[_ATTRIBUTES_AT + 1] |= _CONTROL
        self.end += len(kept)
        self.batches.append((self.end, bytes(batch)))

    def response(
        self, position: int, aborted: list[tuple[int, int]], level: int, *, crcs: bool = False
    ) -> Any:
        """What a broker answers to a fetch: from the whole batch on in which the position lies."""
        data = b"".join(batch for end, batch in self.batches if end > position)
        return PartitionRecords(TP, MemoryRecords(data), aborted, position, None, None, crcs, level)


ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)

plain = st.tuples(st.just("plain"), st.lists(st.booleans(), min_size=1, max_size=12), st.just(-1))
transactional = st.tuples(
    st.sampled_from(["commit", "abort"]), st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 3)
)


def build(steps: list[tuple[str, list[bool], int]], codec: int) -> tuple[Log, list[tuple[int, int]]]:
    log, aborted = Log(), []
    for kind, kept, producer in steps:
        if kind == "abort":
            aborted.append((producer, log.end))
        log.append(kept, producer=producer, codec=codec)
        if kind != "plain":
            log.append([True], producer=producer, control=ABORT if kind == "abort" else COMMIT)
    return log, aborted


@given(
    steps=st.lists(st.one_of(plain, transactional), min_size=1, max_size=12),
    position_share=st.floats(0, 1),
    max_records=st.integers(1, 30),
    level=st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]),
    codec=st.sampled_from([0, 1]),
)
def test_batches_hold_what_aiokafka_reads_and_leave_no_hole(
    steps: list[tuple[str, list[bool], int]], position_share: float, max_records: int, level: int, codec: int
) -> None:
    log, aborted = build(steps, codec)
    position = int(position_share * (log.end - 1))
    expected = [(r.offset, r.value, r.timestamp) for r in log.response(position, aborted, level)]

    response = log.response(position, aborted, level)
    iterator = BatchIterator(response, max_records)
    found: list[tuple[int, bytes | None, int]] = []
    at = position
    for batch in iterator:
        assert batch.begin == at
        assert batch.end > batch.begin
        assert response.next_fetch_offset == batch.end
        assert len(batch.offsets) <= max_records
        assert all(batch.begin <= offset < batch.end for offset in batch.offsets)
        found += zip(batch.offsets, batch.values, batch.timestamps_ms, strict=True)
        at = batch.end
    assert at == log.end
    assert found == expected
    assert iterator.exhausted


def test_a_response_in_which_all_was_aborted_is_one_empty_batch() -> None:
    log, aborted = build([("abort", [True] * 5, 1), ("abort", [True] * 2, 2)], codec=0)
    (batch,) = BatchIterator(log.response(0, aborted, READ_COMMITTED))
    assert batch == Columns(0, 9, array("q"), [], array("q"))


def test_small_broker_batches_are_joined_and_large_ones_split() -> None:
    log, _ = build([("plain", [True] * 3, -1)] * 4 + [("plain", [True] * 9, -1)], codec=0)
    sizes = [len(batch.offsets) for batch in BatchIterator(log.response(0, [], READ_COMMITTED), 5)]
    assert sizes == [5, 5, 5, 5, 1]


def test_a_damaged_broker_batch_is_never_handed_on() -> None:
    log, _ = build([("plain", [True] * 3, -1)], codec=0)
    end, intact = log.batches[0]
    log.batches[0] = end, intact[:-3] + bytes([intact[-3] ^ 1]) + intact[-2:]
    with pytest.raises(CorruptRecordException):
        next(BatchIterator(log.response(0, [], READ_COMMITTED, crcs=True)))


def test_the_installed_libraries_are_the_known_ones() -> None:
    check_internals()


def test_unknown_libraries_are_refused_with_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.aiokafka, "__version__", "0.15.1")
    with pytest.raises(InternalsError, match=r"aiokafka 0\.15\.1") as caught:
        check_internals()
    assert caught.value.exit_code == 1


def test_changed_internals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(batches.aiokafka_fetcher.PartitionRecords, "_consume_aborted_up_to")
    with pytest.raises(InternalsError):
        check_internals()
