"""A partition with a gap to decide is worked on in turns: others go on, and it can be given up meanwhile."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from stream.agents import owner as turns
from stream.agents.rules import Rules
from stream.agents.watchdog import Turns, Watchdog
from stream.agents.windows import Windows
from stream.config import load_rules
from stream.errors import StalledError
from stream.kafka.batches import RecordBatch
from stream.kafka.fetching import Progress
from stream.kafka.state import Signal
from stream.model.stats import Stats
from stream.pipeline import Feed
from stream.slo.catalog import partition_of
from stream.slo.intake import Intake, Sending
from stream.wire.partial import encode_reports
from stream.wire.signal import encode

PARTITIONS = 2
BY_PARTITION = {partition_of("default", name, PARTITIONS): name for name in map("s{}".format, range(9))}
GAP, NEAR = (TP("app-partials", number) for number in range(PARTITIONS))
"""The partition with the gap, and its neighbour."""
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: NAME}
spec:
  service: NAME
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1d}
"""
START_MS = 1_790_000_040_000
HOURS = 4
MOST = 40
"""Records in a turn."""


@dataclass
class Store:
    """What is committed, by partition, one transaction after the other."""

    state: dict[int, dict[bytes, bytes]] = field(default_factory=lambda: {0: {}, 1: {}})
    published: list[list[Signal]] = field(default_factory=list)

    async def acquire(self, partition: int) -> Held:
        return Held(self, partition, dict(self.state[partition]))

    @property
    def budgets(self) -> list[bytes]:
        return [s.value or b"" for signals in self.published for s in signals if s.topic == "slo-budgets"]


@dataclass
class Held:
    store: Store
    partition: int
    records: dict[bytes, bytes]
    restored: Any = field(default_factory=lambda: SimpleNamespace(record_count=0))
    is_released: bool = False

    async def checkpoint(self, changes: Mapping[bytes, bytes | None], due: list[Signal], *_: object) -> None:
        assert not self.is_released
        await asyncio.sleep(0.001)
        state = self.store.state[self.partition] | changes
        self.store.state[self.partition] = {k: v for k, v in state.items() if v is not None}
        self.store.published.append(due)

    async def release(self) -> None:
        self.is_released = True


class Consumer:
    async def pause(self, tp: TP) -> None:
        pass

    async def beginning_offsets(self, tps: list[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def seek_offset(self, tp: TP, offset: int) -> int:
        return 1

    def partition_count(self, topic: str) -> int:
        return 1

    def progress(self, tp: TP) -> Progress:
        return Progress(0, 100, 100, 0.0)


@dataclass
class Worker:
    windows: Windows
    messages: dict[TP, list[bytes]]
    lines: dict[TP, list[bytes]]
    store: Store
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    consumer: Consumer = field(default_factory=Consumer)

    async def own(self, tp: TP) -> None:
        await self.windows.acquire(self.consumer, tp, 1)

    def batch(self, tp: TP, begin: int, end: int) -> RecordBatch:
        offsets = array("q", range(begin, end))
        stamps = array("q", [START_MS + (HOURS + 2) * 3_600_000] * len(offsets))
        values: list[bytes | None] = list(self.messages[tp][begin:end])
        return RecordBatch(begin, end, offsets, values, stamps, len(self.messages[tp]), 1)

    async def process(self, tp: TP, begin: int, end: int) -> None:
        await self.windows.process(self.consumer, tp, self.batch(tp, begin, end))

    async def done(self, tp: TP) -> None:
        async with asyncio.timeout(60):
            while tp in self.windows.held_back():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
def worker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Worker]:
    """Makes workers, one after the other, of one app."""
    monkeypatch.setattr(turns, "MOST_DUE", MOST)
    path = tmp_path / "slos.yaml"
    path.write_text("---".join(SLO.replace("NAME", name) for name in sorted(BY_PARTITION.values())))
    store = Store()

    def make() -> Worker:
        async def nothing(*_: object) -> None:
            pass

        def start(work: Coroutine[Any, Any, None]) -> None:
            made.tasks.add(asyncio.create_task(work))

        rules = Rules(load_rules([path]), PARTITIONS)
        windows = Windows(
            "app", "", "request-events", cast(Any, store), rules, Stats(), 1_000, nothing, start
        )
        lines = {tp: gap_of(BY_PARTITION[tp.partition]) for tp in (GAP, NEAR)}
        made = Worker(windows, {tp: sent(rules, tp, lines[tp]) for tp in lines}, lines, store)
        return made

    return make


def gap_of(service: str) -> list[bytes]:
    """Two events, then hours later more."""
    times = [0, 10_000, *(HOURS * 3_600_000 + i * 60_000 for i in range(3))]
    return [json.dumps({"service": service, "status": 200, "ts": START_MS + at}).encode() for at in times]


def sent(rules: Rules, tp: TP, lines: list[bytes]) -> list[bytes]:
    """What a reader sends to the partition for these events, a message for each."""
    intake, found = Intake(0, 1, 0, 1, rules.lexicon, 5_000), []
    for offset, line in enumerate(lines):
        stamp_ms = START_MS + (HOURS + 1) * 3_600_000
        for out in intake.feed(offset, offset + 1, [offset], [stamp_ms], [line], rules.lexicon):
            if isinstance(out, Sending):
                found.append(out.messages.get(tp.partition) or encode_reports([out.report]))
    return found


def replayed(lines: list[bytes], worker: Worker) -> list[bytes]:
    feed = Feed(worker.windows.rules.ruleset.objectives)
    frame, _ = feed.decode(lines)
    return [encode(signal) for signal in feed.push(frame)]


def test_others_go_on_while_a_gap_is_decided(worker: Callable[[], Worker]) -> None:
    async def life() -> None:
        one = worker()
        await asyncio.gather(one.own(GAP), one.own(NEAR))
        await one.process(GAP, 0, 3)
        assert one.windows.held_back() == {GAP}
        owner = one.windows.owners[GAP]
        assert (owner.keeper.position, owner.keeper.has_rest) == (3, True)
        await one.process(NEAR, 0, 2)
        assert one.windows.owners[NEAR].keeper.position == 2
        await one.process(GAP, 3, len(one.messages[GAP]))  # was on its way
        assert owner.keeper.position == 3, "something was applied before the gap was decided"
        assert owner.keeper.has_rest, "the neighbour waited for the whole gap"
        await one.done(GAP)
        assert owner.keeper.position == len(one.messages[GAP])
        await one.windows.give_up([GAP])
        assert one.store.budgets == replayed(one.lines[GAP], one)

    asyncio.run(life())


def test_what_is_due_at_a_time_is_bounded(worker: Callable[[], Worker]) -> None:
    async def life() -> None:
        one = worker()
        await one.own(GAP)
        await one.process(GAP, 0, 3)
        await one.done(GAP)
        sizes = [len(signals) for signals in one.store.published]
        assert max(sizes) == MOST
        assert len(sizes) >= HOURS * 60 // MOST - 1

    asyncio.run(life())


def test_bytes_bound_it_too(worker: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_DUE", 10**9)
    monkeypatch.setattr(turns, "MOST_DUE_BYTES", 10_000)

    async def life() -> None:
        one = worker()
        await one.own(GAP)
        await one.process(GAP, 0, 3)
        await one.done(GAP)
        assert max(sum(len(s.value or b"") for s in signals) for signals in one.store.published) < 11_000

    asyncio.run(life())


def test_a_gap_is_given_up_at_once_and_taken_up_where_it_was_left(worker: Callable[[], Worker]) -> None:
    async def life() -> None:
        for death in range(6):
            one = worker()
            await one.own(GAP)
            keeper = one.windows.owners[GAP].keeper
            assert keeper.has_rest == (death > 0)
            if death == 0:
                await one.process(GAP, 0, 3)
            decided_s = keeper.shard.ledger.decided_s
            async with asyncio.timeout(20):
                while keeper.shard.ledger.decided_s == decided_s:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            if death % 2 == 0:
                await one.windows.give_up([GAP])  # a stop
            for task in one.tasks:  # the others are killed where they are
                task.cancel()
            await asyncio.gather(*one.tasks, return_exceptions=True)
        one = worker()
        await one.own(GAP)
        await one.done(GAP)
        await one.process(GAP, 3, len(one.messages[GAP]))
        await one.done(GAP)
        await one.windows.give_up([GAP])
        assert one.store.budgets == replayed(one.lines[GAP], one)

    asyncio.run(life())


def test_one_that_waits_for_its_turn_is_not_stuck_and_one_that_hangs_in_it_is(
    worker: Callable[[], Worker],
) -> None:
    """Both have a gap; of the neighbour some is decided now and then, and then nothing more."""

    async def life() -> None:
        one, clock = worker(), [0.0]
        turns = one.windows.turns_beside = Turns(lambda: clock[0])
        await asyncio.gather(one.own(GAP), one.own(NEAR))
        async with one.windows._beside:
            await one.process(GAP, 0, 3)
            await one.process(NEAR, 0, 3)
            assert one.windows.held_back() == {GAP, NEAR}
            watchdog, near = Watchdog(), one.windows.owners[NEAR]

            def look(seconds: range, moves: int) -> None:
                for clock[0] in seconds:
                    near.made += moves
                    watchdog.check(one.windows.work(one.consumer), clock[0])

            with turns.turn(NEAR):
                look(range(0, 120, 2), 1)
                with pytest.raises(StalledError, match=r"app-partials\[1\] has not moved"):
                    look(range(120, 180, 2), 0)
        await asyncio.gather(one.done(GAP), one.done(NEAR))

    asyncio.run(life())
