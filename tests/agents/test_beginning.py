"""Where a reader begins: by notes beside the group's offsets, ours and those of others."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from faust.types import TP

from stream.agents.beginning import Beginning, Beginnings, Noted
from stream.kafka.group import Committed
from stream.slo.reached import Resumption

TOPIC = "request-events"
OURS = Noted(7, 3, 2, "id-of-the-topic").encode()
FOREIGN = [
    "",
    " ",
    "by hand",
    "{",
    "null",
    "7",
    "[]",
    "{}",
    '"\\ud800"',
    json.dumps({"epoch": 7}),
    json.dumps({"epoch": "7", "partitions": 3}),
    json.dumps({"epoch": 7.5, "partitions": 3}),
    json.dumps({"epoch": -1, "partitions": 3}),
    json.dumps({"epoch": 7, "partitions": 0}),
    json.dumps({"epoch": 7, "partitions": 3, "topic": 5}),
    json.dumps({"epoch": 7, "partitions": 3, "sent": "40"}),
    json.dumps({"epoch": None, "partitions": None}),
    '{"epoch": 7, "partitions": 3, "deep": ' + "[" * 4_000,
    "\ud800",
]


@dataclass
class Group:
    """What a reader asks of Kafka: offsets of the group, and from where to where there are records."""

    committed: dict[int, Committed]
    begin: int = 10
    end: int = 90
    set: dict[int, Noted] = field(default_factory=dict)

    def partition_count(self, topic: str) -> int:
        return 3

    async def beginning_offsets(self, tps: list[TP]) -> Mapping[TP, int]:
        return dict.fromkeys(tps, self.begin)

    async def end_offsets(self, tps: list[TP]) -> Mapping[TP, int]:
        return dict.fromkeys(tps, self.end)

    async def topic_id(self, topic: str) -> str:
        return "id-of-the-topic"

    async def committed_offset(self, tp: TP) -> Committed | None:
        return self.committed.get(tp.partition)

    async def commit_offset(self, tp: TP, offset: int, metadata: str, *, generation: int) -> None:
        noted = Noted.decode(metadata)
        assert noted is not None
        self.committed[tp.partition], self.set[tp.partition] = Committed(offset, metadata), noted


def find(group: Group, known: Mapping[int, Resumption | None] | None = None) -> dict[int, Beginning]:
    async def remember() -> Mapping[int, Resumption | None]:
        return known or {}

    tps = [TP(TOPIC, partition) for partition in range(3)]
    found = asyncio.run(Beginnings(TOPIC, "latest", remember).find(group, tps, 4))
    return {tp.partition: beginning for tp, beginning in found.items()}


def test_a_note_comes_back_as_it_was_written() -> None:
    for noted in (Noted(0, 1), Noted(7, 3, 2, "id", 55)):
        assert Noted.decode(noted.encode()) == noted


def test_of_an_unknown_field_the_rest_is_read() -> None:
    """A later version may note more."""
    assert Noted.decode('{"epoch": 7, "partitions": 3, "more": [1]}') == Noted(7, 3)


def test_beside_its_own_note_a_reader_goes_on_in_its_epoch() -> None:
    group = Group({p: Committed(30 + p, OURS) for p in range(3)})
    assert {p: (b.offset, b.noted) for p, b in find(group).items()} == {
        p: (30 + p, Noted(7, 3, 2, "id-of-the-topic")) for p in range(3)
    }
    assert group.set == {}


@pytest.mark.parametrize("metadata", FOREIGN)
def test_where_somebody_else_set_the_offset_a_new_epoch_begins_and_the_log_says_so(
    metadata: str, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group({0: Committed(30, metadata), 1: Committed(40, OURS), 2: Committed(50, OURS)})
    with caplog.at_level(logging.WARNING):
        found = find(group)
    assert [found[p].offset for p in range(3)] == [30, 40, 50]
    assert found[0].noted.epoch > 1_700_000_000_000, "a new one"
    assert (found[0].noted.partitions, found[0].noted.term) == (3, 0)
    assert [found[p].noted.epoch for p in (1, 2)] == [7, 7]
    assert group.set == {0: found[0].noted}
    (line,) = caplog.messages
    assert line.startswith("request-events[0]: the group's offset was set to 30 by somebody else")


def test_an_offset_of_somebody_else_with_no_records_there_is_moved_to_the_nearest_ones() -> None:
    found = find(Group({0: Committed(3, ""), 1: Committed(95, ""), 2: Committed(90, "")}))
    assert [found[p].offset for p in range(3)] == [10, 90, 90]


def test_what_the_group_does_not_tell_any_more_the_state_tells() -> None:
    """How many partitions there were at the first start: a later one begins at its first record, not at the
    end."""
    found = find(Group({0: Committed(30, ""), 1: Committed(30, "")}), {0: None, 1: None})
    assert [(found[p].offset, found[p].noted.partitions) for p in range(3)] == [(30, 2), (30, 2), (10, 2)]


@pytest.mark.parametrize("is_first_start", [True, False])
def test_of_two_hundred_partitions_the_beginnings_are_found_at_once(is_first_start: bool) -> None:
    """Each question takes its time; one after the other the group would not wait for the end of it."""
    count, asked = 200, [0]

    class Distant(Group):
        def partition_count(self, topic: str) -> int:
            return count

        async def committed_offset(self, tp: TP) -> Committed | None:
            await asyncio.sleep(0.05)
            return await super().committed_offset(tp)

        async def commit_offset(self, tp: TP, offset: int, metadata: str, *, generation: int) -> None:
            await asyncio.sleep(0.05)
            await super().commit_offset(tp, offset, metadata, generation=generation)

    async def remember() -> Mapping[int, Resumption | None]:
        asked[0] += 1
        await asyncio.sleep(0.05)
        return {}

    group = Distant({} if is_first_start else {p: Committed(30, OURS) for p in range(count)})
    tps = [TP(TOPIC, partition) for partition in range(count)]

    async def life() -> None:
        async with asyncio.timeout(2):
            found = await Beginnings(TOPIC, "latest", remember).find(group, tps, 4)
        assert {begun.offset for begun in found.values()} == ({90} if is_first_start else {30})

    asyncio.run(life())
    assert len(group.set) == (count if is_first_start else 0)
    assert {noted.partitions for noted in group.set.values()} <= {count}
    assert asked[0] == int(is_first_start), "the state of all partitions is read once"
