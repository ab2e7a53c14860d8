"""``burngate replay`` of an NDJSON file on one core: its process held to one, start-up taken off."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.lab import Lab, spread
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each


def measure(lab: Lab) -> Measured:
    traffic = Traffic(minutes=1 if lab.quick else 3)
    slos = lab.slos("replay", one_each(traffic.services))
    whole, single = lab.directory / "events.ndjson", lab.directory / "one.ndjson"
    lab.say(f"writing {traffic.count:,} events")
    with whole.open("wb") as file:
        file.writelines(event + b"\n" for event in traffic.events())
    single.write_bytes(traffic.closing_event() + b"\n")
    rates = []
    for _ in range(lab.rounds):
        start_s = _replay(slos, single, lab.directory / "replayed")
        rates.append(traffic.count / (_replay(slos, whole, lab.directory / "replayed") - start_s))
    whole.unlink()
    lab.say(f"events/s: {' / '.join(spread(rates, '{:,.0f}'))}")
    return {"replay": rates}


def _replay(slos: Path, events: Path, output: Path) -> float:
    """Seconds that it takes, start and end of the process included."""
    command = [sys.executable, "-m", "stream", "replay", "--slos", str(slos), "--input", str(events)]
    core = min(os.sched_getaffinity(0))
    started_s = time.perf_counter()
    subprocess.run(
        [*command, "--output", str(output)],
        check=True,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return time.perf_counter() - started_s
