"""The whole job: one worker process from request events to signals, checkpoints and commits on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.traffic import EVENTS_PER_S, PARTITIONS, SERVICES, START_MS
from stream.kafka.tail import Tail
from stream.wire.rfc3339 import format_ms

_LATENESS_MS = 5_000
_PORT = 19_117
_LIMIT_S = 600.0
_CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Taken:
    """What ``events`` took, from the first counted one to the last minute's budgets on their topic."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(broker: str, app: str, slos: Path, count: int, log: Path) -> Taken:
    """A fresh worker over a topic of ``count`` events. Raises RuntimeError if it ends before it is done."""
    command = [sys.executable, "-m", "stream", "worker", "--brokers", broker, "--slos", str(slos)]
    command += ["--app", app, "--partitions", str(PARTITIONS)]
    command += ["--metrics-port", str(_PORT), "--metrics-host", "127.0.0.1"]
    with log.open("wb") as output:
        worker = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        first = 0
        while first == 0:
            _check(worker, log)
            first = _events()
            time.sleep(0.02)
        started_s, started_cpu_s = time.perf_counter(), _cpu_s(worker.pid)
        asyncio.run(_wait_for_budgets(broker, count, worker, log))
        taken = Taken(
            count - first,
            time.perf_counter() - started_s,
            _cpu_s(worker.pid) - started_cpu_s,
            _peak_mb(worker.pid),
        )
        worker.terminate()
        worker.wait(60)
        return taken
    finally:
        worker.kill()
        worker.wait()


async def _wait_for_budgets(broker: str, count: int, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Until every SLO's budget of the last whole minute is there: all before it has been decided."""
    end_ms = START_MS + (count - 1) * 1000 // EVENTS_PER_S - _LATENESS_MS
    last = format_ms(end_ms // 60_000 * 60_000)
    missing = SERVICES
    async with Tail([broker], {"budgets": "slo-budgets"}) as tail, asyncio.timeout(_LIMIT_S):
        while missing:
            _check(worker, log)
            missing -= sum(1 for signal in await tail.read(0.5) if signal.record["evaluated_at"] == last)


def _check(worker: subprocess.Popen[bytes], log: Path) -> None:
    if worker.poll() is not None:
        raise RuntimeError(f"the worker ended with {worker.returncode}:\n{log.read_text()[-2000:]}")


def _events() -> int:
    url = f"http://127.0.0.1:{_PORT}/metrics"
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("burngate_events_total "):
                return int(float(line.split()[1]))
    return 0


def _cpu_s(pid: int) -> float:
    """User and system time of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_HZ


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
