"""The whole job: one worker process from request events to signals, checkpoints and commits on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.traffic import Traffic
from benchmarks.worker import Worker
from stream.kafka.tail import Tail
from stream.wire.rfc3339 import format_ms

_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What ``events`` took, from the first one to the last minute's budgets on their topic."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_per_million(self) -> float:
        return self.cpu_seconds / self.events * 1e6


def run(
    worker: Worker,
    broker: str,
    traffic: Traffic,
    slos: int,
    *,
    prefix: str = "",
    warm_up: int = 0,
    watch: Callable[[Worker], None] = lambda worker: None,
) -> Taken:
    """Let a worker read a load to its end. The last minute's budgets wait for the last event of every
    partition, so nothing is left to do when they are there. What the first ``warm_up`` events take is not
    counted. ``watch`` is called about twice a second."""
    deadline_s = time.perf_counter() + _LIMIT_S
    while (first := worker.events()) <= warm_up:
        worker.check()
        if time.perf_counter() > deadline_s:
            raise RuntimeError(f"the worker has counted {first:,} events and no more")
        time.sleep(0.25 if first else 0.02)
    started_s, started_cpu_s = time.perf_counter(), worker.cpu_s()
    asyncio.run(_wait_for_budgets(worker, broker, traffic, slos, prefix, watch))
    taken_s, cpu_s, peak_mb = (
        time.perf_counter() - started_s,
        worker.cpu_s() - started_cpu_s,
        worker.peak_mb(),
    )
    return Taken(worker.events() - first, taken_s, cpu_s, peak_mb)


async def _wait_for_budgets(
    worker: Worker, broker: str, traffic: Traffic, slos: int, prefix: str, watch: Callable[[Worker], None]
) -> None:
    last, missing = format_ms(traffic.end_ms), slos
    async with Tail([broker], {"budgets": f"{prefix}slo-budgets"}) as tail, asyncio.timeout(_LIMIT_S):
        while missing:
            worker.check()
            missing -= sum(1 for signal in await tail.read(0.5) if signal.record["evaluated_at"] == last)
            watch(worker)
