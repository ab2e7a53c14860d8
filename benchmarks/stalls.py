"""How long one step of the worker holds an event loop, which heartbeats and other partitions then wait for.

The worker runs in ``benchmarks.probed``, which times every callback of its loops while it works off a
backlog as fast as it can: events of 1,000 series on a month of state (``benchmarks.aged``), over a full
hour, so that all that ticks, minutes and hours bring with them is there. What counts is from joining the
group on; before it nobody waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import aged, job
from benchmarks.lab import Lab
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic

_SHOWN = 8
VARIABLE = "BENCH_PROBE"


def measure(lab: Lab) -> Measured:
    traffic = Traffic(minutes=2 if lab.quick else 3, start_ms=aged.END_MS, bad=0.0002)
    documents = aged.objectives(traffic.services)
    slos = lab.slos("stalls", documents)
    lab.clear()
    lab.fill("request-events", traffic)
    longest: list[float] = []
    for number in range(lab.rounds):
        lab.clear("request-events")
        app = f"stalls-{number}"
        asyncio.run(aged.write(lab.broker, app, slos, traffic.services))
        path = lab.directory / f"stalls-{number}.json"
        os.environ[VARIABLE] = str(path)
        with lab.worker(slos, app=app, module="benchmarks.probed") as worker:
            while worker.readiness() is None:
                worker.check()
                time.sleep(0.01)
            from_s = time.perf_counter()
            job.run(worker, lab.broker, traffic, len(documents))
            worker.stop()
        holds = holds_in(path, from_s)
        longest.append(max((hold["held_ms"] for hold in holds), default=0.0))
        show(lab, holds)
    return {"stall": longest}


def holds_in(path: Path, from_s: float) -> list[dict[str, Any]]:
    """The long holds of a probed worker since then, longest first; all processes share the clock."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["holds"]
    since = [hold | {"at_s": hold["at_s"] - from_s} for hold in found if hold["at_s"] >= from_s]
    return sorted(since, key=lambda hold: -hold["held_ms"])


def show(lab: Lab, holds: list[dict[str, Any]]) -> None:
    table = Table("held, ms", "of it CPU", "at, s", "thread", "what", title=f"{len(holds)} long holds")
    for hold in holds[:_SHOWN]:
        times = (f"{hold[name]:.1f}" for name in ("held_ms", "cpu_ms", "at_s"))
        table.add_row(*times, hold["thread"], hold["what"])
    lab.show(table)
