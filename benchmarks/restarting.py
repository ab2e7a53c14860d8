"""A worker comes back to a month of state: how soon it is ready to decide, and how much memory it then takes.

Ready is what /readyz says: every partition of services fenced, restored and sought. The time is from the
start of the process and so includes Python's imports, the SLO files, and joining the group; the split is
taken by watching the same port. The former worker had left the group; after a SIGKILL the group first waits
for its session (10 s by default), whatever is done about restoring.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from benchmarks import aged, job
from benchmarks.lab import Lab, spread
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic
from benchmarks.worker import Worker

_LIMIT_S = 120.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds since the process was started."""

    answers_s: float
    """Imports, SLO files and topics are done: the port is open."""
    assigned_s: float
    """The group has been joined."""
    ready_s: float
    memory_mb: float
    peak_mb: float


def measure(lab: Lab) -> Measured:
    measured = _one(lab, "recovery_small", 100)
    if not lab.quick:
        measured.update(_one(lab, "recovery_large", 1_000))
    return measured


def _one(lab: Lab, row: str, services: int) -> Measured:
    name = f"aged-{services}"
    slos = lab.slos(name, aged.objectives(services))
    lab.clear()
    lab.say(f"writing a month of {services * aged.ENDPOINTS:,} series")
    size = asyncio.run(aged.write(lab.broker, name, slos, services))
    restarts = []
    for _ in range(lab.rounds):
        with lab.worker(slos, app=name) as worker:
            restarts.append(_until_ready(worker))
            worker.stop()
    _show(lab, restarts)
    _show_restore(lab, lab.child("restoring", lab.broker, name, str(slos)), size)
    measured = {row: [one.ready_s for one in restarts]}
    if services == 1_000:
        measured["memory"] = [_memory_at_work(lab, name, services)]
    return measured


def _until_ready(worker: Worker) -> Restart:
    seen: dict[str, float] = {}
    deadline_s = time.perf_counter() + _LIMIT_S
    while "ready" not in seen:
        worker.check()
        assert time.perf_counter() < deadline_s, "it does not get ready"
        time.sleep(_POLL_S)
        found = worker.readiness()
        passed_s = time.perf_counter() - worker.started_s
        if found is not None:
            seen.setdefault("answers", passed_s)
            if not found[1].startswith("waiting"):
                seen.setdefault("assigned", passed_s)
            if found[0] == 200:
                seen["ready"] = passed_s
    return Restart(seen["answers"], seen["assigned"], seen["ready"], worker.memory_mb(), worker.peak_mb())


def _show(lab: Lab, restarts: list[Restart]) -> None:
    table = Table("restart", "min", "median", "max")
    table.add_row("the port answers, s", *spread([one.answers_s for one in restarts]))
    table.add_row("joined the group, s later", *spread([one.assigned_s - one.answers_s for one in restarts]))
    table.add_row("restored, s later", *spread([one.ready_s - one.assigned_s for one in restarts]))
    table.add_row("ready, s in all", *spread([one.ready_s for one in restarts]))
    table.add_row("memory then, MB", *spread([one.memory_mb for one in restarts], "{:,.0f}"))
    table.add_row("peak, MB", *spread([one.peak_mb for one in restarts], "{:,.0f}"))
    lab.show(table)


def _show_restore(lab: Lab, taken: dict[str, float], size: aged.Size) -> None:
    megabytes = taken["bytes"] / 1e6
    lab.say(
        f"one partition after the other: SLO files {taken['slo_files_s']:.2f} s, fencing "
        f"{taken['fence_s']:.2f} s, reading {taken['read_s']:.2f} s ({taken['records']:,.0f} records, "
        f"{megabytes:.1f} MB: {taken['records'] / taken['read_s']:,.0f} records/s, "
        f"{megabytes / taken['read_s']:.0f} MB/s), rebuilding {taken['rebuild_s']:.2f} s; "
        f"of {size.records:,} records and {size.size_bytes / 1e6:.1f} MB that were written"
    )


def _memory_at_work(lab: Lab, app: str, services: int) -> float:
    """Peak memory of a worker that restores the state and goes on with events of the same series."""
    traffic = Traffic(services, aged.ENDPOINTS, minutes=2, start_ms=aged.END_MS, bad=0.0002)
    lab.clear_input_for(app)
    lab.fill("request-events", traffic)
    slos = lab.slos(app, aged.objectives(services))
    memory: list[float] = []
    with lab.worker(slos, app=app) as worker:
        taken = job.run(
            worker, lab.broker, traffic, 3 * services, watch=lambda w: memory.append(w.memory_mb())
        )
        worker.stop()
    lab.say(
        f"at work on {taken.events:,} events: {taken.rate:,.0f} events/s, {taken.cpu_per_million:.2f} CPU s "
        f"per million, {median(memory):,.0f} MB in the middle, {taken.peak_mb:,.0f} MB at the peak"
    )
    return taken.peak_mb
