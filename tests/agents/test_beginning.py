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
from stream.wire.partial import RULE

TOPIC = "request-events"
OURS = Noted(7, 3, 2, "id-of-the-topic", rule=RULE).encode()
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
    fenced: list[tuple[dict[int, int], int]] = field(default_factory=list)
    """Epochs that were ended, by source, and the one that follows."""

    async def offset_at(self, tp: TP, time_ms: int) -> int | None:
        return None

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


def find(
    group: Group,
    known: Mapping[int, Resumption | None] | None = None,
    counted: Mapping[int, int] | None = None,
) -> dict[int, Beginning]:
    """``counted``: where former epochs end, by source."""

    async def remember() -> Mapping[int, Resumption | None]:
        return known or {}

    async def fence(epochs: Mapping[int, int], epoch: int) -> Mapping[int, int]:
        group.fenced.append((dict(epochs), epoch))
        return {source: end for source, end in (counted or {}).items() if source in epochs}

    tps = [TP(TOPIC, partition) for partition in range(3)]
    found = asyncio.run(Beginnings(TOPIC, "latest", remember, fence).find(group, tps, 4))
    return {tp.partition: beginning for tp, beginning in found.items()}


def test_a_note_comes_back_as_it_was_written() -> None:
    for noted in (Noted(0, 1), Noted(7, 3, 2, "id", 55)):
        assert Noted.decode(noted.encode()) == noted


def test_of_an_unknown_field_the_rest_is_read() -> None:
    """A later version may note more."""
    assert Noted.decode('{"epoch": 7, "partitions": 3, "more": [1]}') == Noted(7, 3)


@pytest.mark.parametrize("epoch", ["-1", "99999999999999999999999", "1e400", "null"])
def test_numbers_that_no_report_can_hold_are_no_note(epoch: str) -> None:
    assert Noted.decode(f'{{"epoch": {epoch}, "partitions": 3}}') is None


def test_beside_its_own_note_a_reader_goes_on_in_its_epoch() -> None:
    group = Group({p: Committed(30 + p, OURS) for p in range(3)})
    assert {p: (b.offset, b.noted) for p, b in find(group).items()} == {
        p: (30 + p, Noted(7, 3, 2, "id-of-the-topic", rule=RULE)) for p in range(3)
    }
    assert group.set == {}
    assert group.fenced == []


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

    async def fence(epochs: Mapping[int, int], epoch: int) -> Mapping[int, int]:
        raise AssertionError("nothing was cut by another rule")

    async def remember() -> Mapping[int, Resumption | None]:
        asked[0] += 1
        await asyncio.sleep(0.05)
        return {}

    group = Distant({} if is_first_start else {p: Committed(30, OURS) for p in range(count)})
    tps = [TP(TOPIC, partition) for partition in range(count)]

    async def life() -> None:
        async with asyncio.timeout(2):
            found = await Beginnings(TOPIC, "latest", remember, fence).find(group, tps, 4)
        assert {begun.offset for begun in found.values()} == ({90} if is_first_start else {30})

    asyncio.run(life())
    assert len(group.set) == (count if is_first_start else 0)
    assert {noted.partitions for noted in group.set.values()} <= {count}
    assert asked[0] == int(is_first_start), "the state of all partitions is read once"


def test_behind_all_that_was_counted_by_another_rule_a_new_epoch_begins() -> None:
    """Source 0 was sent up to 47 of its open chunk; of source 1 nobody has heard; source 2 is cut by our
    rule. What the version before noted names no rule."""
    before = Noted(7, 3, 2, "id-of-the-topic").encode().replace(', "rule": 1', "")
    assert "rule" not in before
    group = Group({0: Committed(30, before), 1: Committed(40, before), 2: Committed(50, OURS)})
    found = find(group, counted={0: 47})
    ((epochs, epoch),) = group.fenced
    assert epochs == {0: 7, 1: 7}
    assert {p: (b.offset, b.noted.epoch, b.noted.rule) for p, b in found.items()} == {
        0: (47, epoch, RULE),
        1: (40, epoch, RULE),
        2: (50, 7, RULE),
    }
    assert group.set == {p: found[p].noted for p in (0, 1)}
    assert (found[0].noted.term, found[0].noted.partitions) == (2, 3)
    assert find(group) == found, "and the next start goes on there"


def test_records_that_are_gone_are_not_read_and_an_epoch_is_newer_than_the_one_before() -> None:
    other = Noted(2**60, 3, 2, "id-of-the-topic", rule=RULE + 1).encode()
    group = Group({0: Committed(3, other), 1: Committed(30, other), 2: Committed(50, OURS)})
    found = find(group, counted={1: 95})
    assert [found[p].offset for p in range(3)] == [10, 90, 50]
    assert [found[p].noted.epoch for p in (0, 1)] == [2**60 + 1] * 2


def test_another_rule_is_known_by_the_state_where_the_group_has_no_offset() -> None:
    left = Resumption(7, 30, 40, 1_000, 40, 5, rule=1)
    found = find(group := Group({}), {0: left, 1: left, 2: None}, counted={0: 44})
    assert [found[p].offset for p in range(3)] == [44, 30, 10]
    assert [epochs for epochs, _ in group.fenced] == [{0: 7}, {1: 7}]
    assert found[0].noted.term == 5


def test_a_topic_that_was_made_again_is_read_from_its_beginning_whatever_cut_the_old_one() -> None:
    before = Noted(7, 3, 2, "another-id").encode()
    group = Group({p: Committed(30, before) for p in range(3)})
    assert [find(group, counted={0: 60})[p].offset for p in range(3)] == [10, 10, 10]
    assert group.fenced == []
