"""One stream, one app, many faults: feed at a steady rate, strike, let it end, compare with replay."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from against_replay import Records, replayed
from fault_kinds import Fault
from fleet import Fleet
from recorded_stream import Stream, objectives
from steady_feed import SteadyFeed
from verdict import Toll, Totals, differences, published, tolls, totals_of
from workers import WorkerProcess

from stream.kafka.local import LocalBroker
from stream.kafka.topics import Admin, declare_topics

T = TypeVar("T")

PARTITIONS = 4
_END_LIMIT_S = 240.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Outcome:
    tolls: dict[str, Toll]
    differences: list[str]
    seconds: float
    events: int
    aborted: int
    restarts: int
    """Workers that ended, by a fault or because one made them give up, and were started again."""


class FaultRun:
    """``faults`` strike in their order, spread over the stream, ``at_once`` of them at a time."""

    def __init__(
        self,
        broker: LocalBroker,
        app: str,
        stream: Stream,
        rate: float,
        faults: Sequence[Fault],
        seed: int,
        directory: Path,
        say: Callable[[str], None],
        at_once: int = 1,
    ) -> None:
        self.broker, self.app, self.stream, self.say = broker, app, stream, say
        self.rng = random.Random(seed)
        self.faults = list(faults)
        self.directory = directory
        self.slos = objectives(directory)
        topics = declare_topics(app, PARTITIONS, f"{app}-")
        self.topics = topics
        self.feed = SteadyFeed(
            broker.bootstrap, topics.requests.name, PARTITIONS, stream, rate, random.Random(seed + 1)
        )
        self.fleet = Fleet(broker.bootstrap, app, self.slos, directory, PARTITIONS)
        self.struck: list[tuple[int, str]] = []
        self._at_once = at_once

    def some_slot(self) -> int:
        if not self.fleet.workers:  # another fault has just taken the last one away
            self.fleet.start(0)
        return self.rng.choice(sorted(self.fleet.workers))

    def some_worker(self) -> WorkerProcess:
        return self.fleet.workers[self.some_slot()]

    async def run(self) -> Outcome:
        started_s = time.monotonic()
        expected, last = await asyncio.to_thread(replayed, self.slos, self.stream.lines, self.directory)
        async with Admin([self.broker.bootstrap]) as admin:
            await admin.ensure(self.topics)
        self.begin()
        try:
            await self._live()
            totals, wrong = await self._with_supervisor(self.compared(expected, last))
            await asyncio.to_thread(self.fleet.stop)
        finally:
            self.fleet.kill()
        return Outcome(
            tolls(self.struck, totals_of(expected["slo-budgets"]), totals),
            wrong,
            time.monotonic() - started_s,
            len(self.stream.lines),
            self.feed.aborted,
            len(self.fleet.ended),
        )

    def begin(self) -> None:
        """Start the first workers."""
        for slot in (0, 1):
            self.fleet.start(slot)

    async def compared(self, expected: Records, last: str) -> tuple[Totals, list[str]]:
        """The totals that were published, and what is not as replay has it."""
        found = await published(self.broker.bootstrap, f"{self.app}-", expected, last, _END_LIMIT_S)
        return found.totals, differences(expected, found)

    async def _live(self) -> None:
        feeding = asyncio.create_task(self.feed.run())
        try:
            await self._with_supervisor(self._strike_all(feeding))
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _strike_all(self, feeding: asyncio.Task[None]) -> None:
        """Each fault when its place in the stream is reached; the feed waits for it at the next gap."""
        share = self.stream.gaps[-1] / len(self.faults)
        dues = [share * (number + 0.5 * self.rng.random()) for number in range(len(self.faults))]
        left = list(dues)
        self.feed.may_pass = lambda: not left or self.feed.sent <= left[0]
        striking: set[asyncio.Task[None]] = set()
        try:
            for fault, due in zip(self.faults, dues, strict=True):
                while self.feed.sent < due and not feeding.done():  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
                striking = await self._room_among(striking, 0 if fault.needs_gap else self._at_once - 1)
                striking.add(asyncio.create_task(self._strike(fault, feeding)))
                if fault.needs_gap:
                    striking = await self._room_among(striking, 0)
                left.pop(0)
            await self._room_among(striking, 0)
            await feeding
        finally:
            for task in striking:
                task.cancel()
            await asyncio.gather(*striking, return_exceptions=True)

    @staticmethod
    async def _room_among(striking: set[asyncio.Task[None]], most: int) -> set[asyncio.Task[None]]:
        """Those that go on, once they are not more than ``most``. Raises what one of the others raised."""
        while len(striking) > most:
            done, striking = await asyncio.wait(striking, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return striking

    async def _strike(self, fault: Fault, feeding: asyncio.Task[None]) -> None:
        if feeding.done() or (fault.needs_gap and not await self.feed.hold()):
            self.say(f"the stream ended before: {fault.name}")
            return
        self.say(f"{self.feed.sent:>9,} events  {fault.name}")
        self.struck.append((self.feed.now_ms, fault.name))
        try:
            await fault.strike(self)
        finally:
            if fault.needs_gap:
                self.feed.release()

    async def _with_supervisor(self, work: Awaitable[T]) -> T:
        """The work's result, or the fault of a worker that ended as none may."""
        supervising = asyncio.create_task(self.fleet.supervise())
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait([supervising, working], return_when=asyncio.FIRST_COMPLETED)
            if supervising.done():
                supervising.result()
            return await working
        finally:
            for task in (supervising, working):
                task.cancel()
            await asyncio.gather(supervising, working, return_exceptions=True)
