"""What another version cut by another rule is counted once: its epoch ends, a new one begins behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from recorded import recording
from recorded.recording import FLOOD_RULES, FLOOD_SERIES

from stream.agents.fence import Fences
from stream.config import load_rules
from stream.errors import InvariantError
from stream.kafka.failures import StateError
from stream.kafka.sender import Sender
from stream.pipeline import catalog_of
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.window.upsert import Verdict
from stream.wire.partial import RULE, Report, decode_message, encode_fences, encode_reports

FULL = recording.version_3().full_numbering
LOG = recording.flood()
LOG += [(len(LOG) + i, *LOG[i][1:]) for i in range(5_000)]
"""What was there, and what has come since."""
STAMP_MS = LOG[0][1] + 5_000


@pytest.fixture
def catalog(tmp_path: Any) -> Catalog:
    path = tmp_path / "rules.yaml"
    path.write_text(FLOOD_RULES)
    return catalog_of(load_rules([path]))


def keeper_of(catalog: Catalog, records: dict[bytes, bytes] | None = None) -> Keeper:
    return Keeper(catalog, FLOOD_SERIES, dict(FULL["state"] if records is None else records))


def checkpoint(keeper: Keeper, records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found = records | keeper.changes()
    return {name: value for name, value in found.items() if value is not None}


def read_from(start: int, epoch: int, catalog: Catalog) -> list[bytes]:
    """What a reader of this version sends."""
    lexicon = Lexicon(catalog, 1, FLOOD_SERIES)
    intake, rest = Intake(0, epoch, start, 9, lexicon, 5_000), LOG[start:]
    columns = zip(*rest, strict=True) if rest else ((), (), ())
    sendings = [*intake.feed(start, len(LOG), *columns, lexicon), intake.flush()]
    return [m for s in sendings if isinstance(s, Sending) for m in s.messages.values()]


def counted(keeper: Keeper) -> int:
    pending = keeper.shard.ledger.pending
    return sum(int(sums[:, 0].sum()) for parts in pending.values() for _, sums in parts)


def epoch_before() -> int:
    (source,) = (s for s in decode_state(FULL["state"]).sources if s.number == 0)
    return int(source.reach[0])


def decode_state(records: dict[bytes, bytes]) -> Any:
    from stream.wire.state import decode_shard, key

    return decode_shard(records[key("shard")])


def test_the_records_that_were_cut_otherwise_would_overlap(catalog: Catalog) -> None:
    """Read again in the same epoch, from where the group's offset is."""
    keeper, messages = keeper_of(catalog), read_from(FULL["committed"], epoch_before(), catalog)

    def apply_all() -> None:
        for message in messages:
            keeper.apply(message, keeper.position, STAMP_MS)

    with pytest.raises(InvariantError, match="overlaps"):
        apply_all()


def test_an_open_chunk_of_a_full_numbering_is_counted_once_through_the_upgrade(catalog: Catalog) -> None:
    keeper, epoch = keeper_of(catalog), epoch_before() + 1
    before = counted(keeper)
    assert before == FULL["end"] > 0
    keeper.apply(encode_fences([(0, epoch)]), keeper.position, STAMP_MS)
    keeper = keeper_of(catalog, checkpoint(keeper, FULL["state"]))
    for message in read_from(FULL["end"], epoch, catalog):
        keeper.apply(message, keeper.position, STAMP_MS)
    assert counted(keeper) == len(LOG)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_paused_reader_of_the_version_before_still_sends_counts_no_more(
    catalog: Catalog, restarted: bool
) -> None:
    keeper, epoch = keeper_of(catalog), epoch_before() + 1
    before = counted(keeper)
    keeper.apply(encode_fences([(0, epoch), (7, 3)]), keeper.position, STAMP_MS)
    if restarted:
        keeper = keeper_of(catalog, checkpoint(keeper, FULL["state"]))
    assert keeper.changes() is not None
    for message in read_from(FULL["end"], epoch - 1, catalog):
        assert keeper.apply(message, keeper.position, STAMP_MS) is Verdict.IGNORE
    late = Report(0, epoch - 1, 10**6, 1, 4 * STAMP_MS, STAMP_MS)
    keeper.apply(encode_reports([late]), keeper.position, STAMP_MS)
    assert counted(keeper) == before
    assert keeper.clock.sources[0].reach.epoch < epoch
    assert keeper.clock.sources[0].reach.end < 10**6
    source_7 = [Report(7, 2, 5, 1, None), Report(7, 3, 5, 1, None)]
    keeper.apply(encode_reports(source_7), keeper.position, STAMP_MS)
    assert keeper.clock.sources[7].reach.epoch == 3


# where an epoch ended


@dataclass
class Partials:
    """The topic of partials, and the states; of two service partitions."""

    states: list[dict[bytes, bytes]]
    logs: list[list[bytes]]
    oldest: int = 0
    looks: int = 0
    sent: list[bytes] = field(default_factory=list)

    async def send(self, topic: str, partition: int, key: None, value: bytes) -> asyncio.Future[Any]:
        self.logs[partition].append(value)
        self.sent.append(value)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(SimpleNamespace(offset=len(self.logs[partition]) - 1))
        return sent

    async def look(self, partition: int) -> dict[bytes, bytes]:
        self.looks += 1
        if self.looks > 2:
            self.oldest = 0
        return self.states[partition]

    async def read(self, partition: int, begin: int, end: int) -> AsyncIterator[bytes]:
        if begin < self.oldest:
            raise StateError("gone")
        for value in self.logs[partition][begin:end]:
            yield value

    def fences(self) -> Fences:
        return Fences(cast(Sender, self), "partials", 2, self.look, self.read)


def reports(*ends: tuple[int, int, int]) -> bytes:
    return encode_reports([Report(source, epoch, end, 1, None) for source, epoch, end in ends])


def test_an_epoch_ends_where_the_furthest_partial_before_the_fence_does() -> None:
    first = [reports((0, 5, 10), (1, 5, 7)), reports((0, 5, 30)), reports((0, 4, 90), (1, 6, 99))]
    topic = Partials([{}, {}], [first, [reports((0, 5, 25))]])
    assert asyncio.run(topic.fences().put_up({0: 5, 1: 5, 2: 5}, 8)) == {0: 30, 1: 7}
    assert [decode_message(message).fences for message in topic.sent] == [[(0, 8), (1, 8), (2, 8)]] * 2
    topic.logs[0].append(reports((0, 5, 40)))  # a paused reader: it does not count
    assert asyncio.run(topic.fences().put_up({0: 5}, 9))[0] == 40, "but after another start it is passed over"


def test_an_epoch_ends_no_earlier_than_the_state_knows() -> None:
    position = decode_state(FULL["state"]).position
    topic = Partials([FULL["state"], {}], [[b"never read"] * position, []])
    assert asyncio.run(topic.fences().put_up({0: epoch_before()}, 2**60)) == {0: FULL["end"]}


def test_partials_that_are_deleted_meanwhile_are_in_a_newer_state() -> None:
    topic = Partials([{}, {}], [[reports((0, 5, 10))], []], oldest=1)
    assert asyncio.run(topic.fences().put_up({0: 5}, 8)) == {0: 10}
    gone = Partials([{}, {}], [[reports((0, 5, 10))], []], oldest=1, looks=-10)
    with pytest.raises(StateError, match="gone"):
        asyncio.run(gone.fences().put_up({0: 5}, 8))


def test_a_source_says_by_which_rule_it_is_cut(catalog: Catalog) -> None:
    assert [s.rule for s in decode_state(FULL["state"]).sources] == [1]
    keeper = keeper_of(catalog)
    assert [s.rule for s in decode_state(checkpoint(keeper, FULL["state"])).sources] == [1]
    keeper.apply(reports((0, epoch_before(), FULL["end"])), keeper.position, STAMP_MS)
    assert [s.rule for s in decode_state(checkpoint(keeper, FULL["state"])).sources] == [RULE]
