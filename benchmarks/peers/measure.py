"""The three runs of a peer: its speed, what it loses while it catches up, what it counts after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.peers import load as loads
from benchmarks.peers import traffic, watch
from benchmarks.peers.ledger import Ledger, Step
from benchmarks.peers.load import Cells, Load
from benchmarks.peers.peer import Job, Peer, Run
from benchmarks.peers.process import JobProcess
from benchmarks.peers.watch import Watch

LIMIT_S = 900.0
_FEWER = 10
_WARM_MS = 60_000
"""Of event time: speed is measured from there on, where there is that much."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Between two points of event time, both far from the ends of the topic."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    start_s: float
    """From the process' start to its first word."""
    start_cpu_seconds: float

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_seconds / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Count:
    """What a job had counted when it had nothing more to say."""

    expected: int
    counted: int
    lost: int
    doubled: int
    errors: int
    records: int

    @classmethod
    def of(cls, ledger: Ledger) -> Count:
        return cls(
            ledger.expected, ledger.counted, ledger.lost, ledger.doubled, ledger.errors, ledger.records
        )


def span(steps: list[Step], load: Load) -> tuple[Step, Step]:
    """The two steps that speed is measured between.

    The last ones do not count: the events that close the topic end them sooner than those before. Raises
    ValueError if too few were said.
    """
    natural = [step for step in steps if step.end_ms + loads.LATENESS_MS <= load.end_ms]
    warm = [step for step in natural if step.end_ms >= traffic.START_MS + _WARM_MS]
    chosen = warm if len(warm) > 1 else natural
    if len(chosen) < 2:
        raise ValueError("it said too little to measure its speed by")
    return chosen[0], chosen[-1]


def beyond(speed: Speed, start: Speed) -> Speed:
    """What a run took more than one of fewer events; the start is what is on the line at no events."""
    events = speed.events - start.events
    seconds, cpu_seconds = speed.seconds - start.seconds, speed.cpu_seconds - start.cpu_seconds
    before = start.events / events
    return Speed(
        events,
        seconds,
        cpu_seconds,
        speed.peak_mb,
        max(0.0, start.seconds - before * seconds),
        max(0.0, start.cpu_seconds - before * cpu_seconds),
    )


class Bench:
    """Runs jobs on one broker, each in a directory of its own."""

    def __init__(self, broker: str, directory: Path) -> None:
        self._broker, self._directory = broker, directory
        self._panes: dict[Load, Cells] = {}
        self._starts: dict[str, Speed] = {}

    def fill(self, load: Load) -> None:
        """Produce the load's topic, once."""
        if load not in self._panes:
            asyncio.run(loads.fill(self._broker, load))
            self._panes[load] = loads.panes(load)

    def speed(self, peer: Peer, job: Callable[[Run], Job], load: Load) -> tuple[Speed, Count]:
        """How fast it is when it has started; and what it counted meanwhile."""
        if peer.whole and peer.name not in self._starts:
            few = replace(load, count=load.count // _FEWER)
            with self._run(peer, few) as (run, ledger):
                self._starts[peer.name] = asyncio.run(self._speed(peer, job(run), run, few, ledger))
        with self._run(peer, load) as (run, ledger):
            speed = asyncio.run(self._speed(peer, job(run), run, load, ledger))
            start = self._starts.get(peer.name)
            return (speed if start is None else beyond(speed, start)), Count.of(ledger)

    def catch_up(self, peer: Peer, job: Callable[[Run], Job], load: Load) -> Count:
        with self._run(peer, load) as (run, ledger):
            asyncio.run(self._settle(peer, job(run), run, load, ledger))
            return Count.of(ledger)

    def crash(self, peer: Peer, job: Callable[[Run], Job], load: Load) -> Count:
        """SIGKILL once it has spoken of half the event time, and the same command again."""
        with self._run(peer, load) as (run, ledger):
            asyncio.run(self._crash(peer, job(run), run, load, ledger))
            return Count.of(ledger)

    @contextmanager
    def _run(self, peer: Peer, load: Load) -> Iterator[tuple[Run, Ledger]]:
        self.fill(load)
        expected = self._panes[load]
        app = f"{peer.name}-{uuid4().hex[:8]}"
        run = Run(self._broker, app, load.prefix, self._directory / app)
        run.state.mkdir(parents=True)
        if not peer.creates_output:
            asyncio.run(watch.create(self._broker, run.prefix + peer.output))
        ledger = Ledger(loads.minutes(expected, load) if peer.cumulative else expected, peer.cumulative)
        try:
            yield run, ledger
        finally:
            asyncio.run(watch.clear(self._broker))

    def _start(self, job: Job, run: Run) -> JobProcess:
        return JobProcess(job.command, {**run.variables(), **job.environment}, run.state / "job.log")

    async def _speed(self, peer: Peer, job: Job, run: Run, load: Load, ledger: Ledger) -> Speed:
        process = self._start(job, run)
        with process:
            async with Watch(peer, run, load, ledger, process.check) as outputs:
                await outputs.until(lambda said: said.complete, LIMIT_S)
            process.stop()
        usage = process.usage
        if peer.whole:
            begin, end = Step(traffic.START_MS, usage.began_s, 0), ledger.steps()[-1]
        else:
            begin, end = span(ledger.steps(), load)
        assert ledger.first_at_s is not None
        return Speed(
            end.events - begin.events,
            end.at_s - begin.at_s,
            usage.cpu_s_at(end.at_s) - usage.cpu_s_at(begin.at_s),
            usage.peak_mb,
            ledger.first_at_s - usage.began_s,
            usage.cpu_s_at(ledger.first_at_s),
        )

    async def _settle(self, peer: Peer, job: Job, run: Run, load: Load, ledger: Ledger) -> None:
        with self._start(job, run) as process:
            async with Watch(peer, run, load, ledger, process.check) as outputs:
                await outputs.until(lambda said: False, LIMIT_S)
            process.stop()

    async def _crash(self, peer: Peer, job: Job, run: Run, load: Load, ledger: Ledger) -> None:
        first = self._start(job, run)
        with first:
            async with Watch(peer, run, load, ledger, first.check) as outputs:
                await outputs.until(lambda said: said.reached(0.5), LIMIT_S)
                first.kill()
                await outputs.drain()
                with self._start(job, run) as second:
                    outputs.check = second.check
                    await outputs.until(lambda said: False, LIMIT_S)
                    second.stop()


@dataclass(slots=True)
class Row:
    """All that was found about one peer."""

    name: str
    title: str
    version: str = ""
    speeds: list[Speed] = field(default_factory=list)
    caught_up: Count | None = None
    crashed: Count | None = None
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
