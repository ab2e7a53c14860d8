"""Whole fetched batches instead of single records, and no hole between them.

aiokafka builds a ``ConsumerRecord`` for every record (about 0.8 µs each); the values, offsets and timestamps
of a whole fetch cost 0.26 µs a record when they are handed on as columns. :class:`BatchIterator` takes the
place of ``PartitionRecords._records_iterator``, the one seam at which aiokafka turns a fetch response into
records. It is put there per response, by whoever drains the fetcher (``fetching.py``), so that every other
consumer in the process keeps aiokafka's ordinary path.

It keeps what ``PartitionRecords._unpack_records`` does: CRC checks, control batches, aborted transactions (of
`read_committed`), records below the fetch position (a broker returns whole batches, the first of which may
begin earlier).
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiokafka
import faust
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import CorruptRecordException

from stream.kafka.failures import InternalsError

_LOG_APPEND_TIME = 1
MAX_RECORDS = 10_000
"""Most records in one batch: an agent never works longer than that on one event of its stream."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Everything that lies in the half-open offset range [begin, end) of one partition.

    ``offsets``, ``values`` and ``timestamps_ms`` are parallel; They can be shorter than the range, or empty:
    aborted records, control records and compacted ones leave gaps, which are inside the range, so that
    within a run each batch begins where the one before ended.

    ``run`` numbers the uninterrupted stretches of reading, ascending over all partitions of a consumer: a
    new one starts with an assignment, with a seek (which returns its number), and when the broker has deleted
    what was to be read next (then ``begin`` is its oldest offset).
    ``high_water`` is the end of the partition as of the fetch, uncommitted transactions included.
    """

    begin: int
    end: int
    offsets: array[int]
    values: list[bytes | None]
    timestamps_ms: array[int]
    high_water: int
    run: int


class Columns(NamedTuple):
    """A :class:`RecordBatch` before its reader has numbered it."""

    begin: int
    end: int
    offsets: array[int]
    values: list[bytes | None]
    timestamps_ms: array[int]


class BatchIterator:
    """The columns of one partition of one fetch response, at most ``max_records`` at a time.

    Small broker batches are joined, large ones are split. Before it returns, ``next_fetch_offset`` of the
    response is the end of what it returns, which is how aiokafka advances the consumer's position.
    """

    def __init__(self, response: Any, max_records: int = MAX_RECORDS) -> None:
        self._response = response
        self._max_records = max_records
        self._begin: int = response.next_fetch_offset
        self._read_to = self._begin
        self._offsets = array("q")
        self._values: list[bytes | None] = []
        self._timestamps_ms = array("q")

    @property
    def exhausted(self) -> bool:
        return self._read_to == self._begin and not self._response._records.has_next()

    def __iter__(self) -> Iterator[Columns]:
        return self

    def __next__(self) -> Columns:
        while len(self._offsets) < self._max_records and self._response._records.has_next():
            self._read_broker_batch()
        if self._read_to == self._begin:
            raise StopIteration
        return self._cut()

    def _cut(self) -> Columns:
        most = self._max_records
        begin = self._begin
        end = self._read_to if len(self._offsets) <= most else self._offsets[most - 1] + 1
        columns = Columns(begin, end, self._offsets[:most], self._values[:most], self._timestamps_ms[:most])
        del self._offsets[:most], self._values[:most], self._timestamps_ms[:most]
        self._begin = self._response.next_fetch_offset = end
        return columns

    def _read_broker_batch(self) -> None:
        broker_batch = self._response._records.next_batch()
        if self._response._check_crcs and not broker_batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {self._response._tp}")
        if not self._is_skipped(broker_batch):
            self._take(broker_batch)
        # The last offset of a broker batch survives compaction even if its record does not.
        self._read_to = max(self._read_to, broker_batch.next_offset)

    def _take(self, broker_batch: Any) -> None:
        """The columns of a broker batch, from where reading began. What is equal, or counts up, for a whole
        batch is not asked of each record: that would be half of what fetching costs."""
        records = list(broker_batch)
        without_hole = getattr(broker_batch, "last_offset_delta", -1) + 1 == len(records)
        if without_hole:
            first = max(broker_batch.base_offset, self._begin)
            records = records[first - broker_batch.base_offset :]
            self._offsets.extend(range(first, first + len(records)))
        else:
            records = [record for record in records if record.offset >= self._begin]
            self._offsets.extend(record.offset for record in records)
        self._values += [record.value for record in records]
        if getattr(broker_batch, "timestamp_type", None) == _LOG_APPEND_TIME:
            self._timestamps_ms += array("q", [broker_batch.max_timestamp]) * len(records)
        else:
            self._timestamps_ms.extend([record.timestamp for record in records])

    def _is_skipped(self, broker_batch: Any) -> bool:
        """Is it a control batch, or part of an aborted transaction? Keeps the list of open aborted ones."""
        response = self._response
        if (
            response._isolation_level == aiokafka_fetcher.READ_COMMITTED
            and broker_batch.producer_id is not None
        ):
            response._consume_aborted_up_to(broker_batch.base_offset)
            aborted = response._aborted_producers
            if broker_batch.is_control_batch and response._contains_abort_marker(broker_batch):
                aborted.discard(broker_batch.producer_id)
            if broker_batch.is_transactional and broker_batch.producer_id in aborted:
                return True
        return bool(broker_batch.is_control_batch)


# What the code in this package relies on inside aiokafka, beyond its documented interface.
_KNOWN_PARAMETERS = {
    aiokafka_fetcher.PartitionRecords.__init__: (
        "self tp records aborted_transactions fetch_offset key_deserializer value_deserializer check_crcs "
        "isolation_level"
    ),
    aiokafka_fetcher.FetchResult.__init__: "self tp assignment partition_records backoff",
    aiokafka_fetcher.FetchResult.getall: "self max_records",
    aiokafka_fetcher.Fetcher._proc_fetch_request: "self assignment node_id request",
    AIOKafkaClient._get_conn: "self node_id group no_hint",
}
_KNOWN_NAMES = {
    aiokafka_fetcher.PartitionRecords: "_unpack_records _consume_aborted_up_to _contains_abort_marker",
    aiokafka_fetcher.FetchResult: "getall has_more check_assignment",
    aiokafka_fetcher.FetchError: "check_raise",
    aiokafka_fetcher.Fetcher: "_create_fetch_waiter _notify seek_to",
}


def check_internals() -> None:
    """Refuse to start upon an aiokafka or Faust that this package was not written for.

    Raises :class:`InternalsError` with the versions found.
    """
    known = aiokafka.__version__.startswith("0.14.") and faust.__version__.startswith("0.15.")
    for function, parameters in _KNOWN_PARAMETERS.items():
        known = known and list(inspect.signature(function).parameters) == parameters.split()
    for owner, names in _KNOWN_NAMES.items():
        known = known and all(hasattr(owner, name) for name in names.split())
    if not known:
        raise InternalsError(
            f"aiokafka {aiokafka.__version__} with faust-streaming {faust.__version__} is not supported: "
            "install aiokafka 0.14.x and faust-streaming 0.15.x (their internals are relied on)"
        )
