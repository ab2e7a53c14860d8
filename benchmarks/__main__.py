"""``make bench``: the yardstick, the whole job and the plain Faust job on one local Kafka, in one run.

Rounds alternate, so that what disturbs the machine disturbs all of them; every figure is the minimum, median
and maximum of its rounds. Ratios within a run are what can be compared, seconds are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import job, traffic
from stream.kafka.local import LocalBroker

TOPIC = "request-events"
PLAIN_EVENTS = 20_000


def main() -> None:
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--events", type=int, default=4_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--no-plain", action="store_true", help="leave the plain Faust job out")
    chosen = options.parse_args()
    console = Console()
    yardsticks: list[dict[str, float]] = []
    jobs: list[job.Taken] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory(prefix="burngate-bench-") as name, LocalBroker() as broker:
        directory = Path(name)
        slos = traffic.write_slos(directory / "slos")
        console.print(f"producing {chosen.events:,} events", style="dim")
        asyncio.run(traffic.fill(broker.bootstrap, TOPIC, chosen.events))
        for number in range(chosen.rounds):
            console.print(f"round {number + 1} of {chosen.rounds}", style="dim")
            yardsticks.append(_child("yardstick", broker.bootstrap, TOPIC, str(chosen.events)))
            asyncio.run(traffic.clear(broker.bootstrap, TOPIC))
            log = directory / f"worker-{number}.log"
            jobs.append(job.run(broker.bootstrap, f"bench-{number}", slos, chosen.events, log))
            if not chosen.no_plain:
                seconds = _child("plain_faust", broker.bootstrap, TOPIC, str(PLAIN_EVENTS), name)["seconds"]
                plain.append(PLAIN_EVENTS / seconds)
    _report(console, chosen.events, yardsticks, jobs, plain)


def _child(module: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _report(
    console: Console,
    count: int,
    yardsticks: list[dict[str, float]],
    jobs: list[job.Taken],
    plain: list[float],
) -> None:
    table = Table("figure", "min", "median", "max", title=f"{count:,} events, 1,000 series, 100 SLOs, LZ4")
    reading = [count / one["seconds"] for one in yardsticks]
    whole = [one.events / one.seconds for one in jobs]
    _row(table, "yardstick, events/s", reading, "{:,.0f}")
    _row(table, "yardstick, CPU s per million", [one["cpu_seconds"] / count * 1e6 for one in yardsticks])
    _row(table, "whole job, events/s", whole, "{:,.0f}")
    _row(table, "whole job, CPU s per million", [one.cpu_seconds / one.events * 1e6 for one in jobs])
    _row(table, "whole job, peak memory, MB", [one.peak_mb for one in jobs], "{:,.0f}")
    _row(table, "whole job / yardstick", [w / r for w, r in zip(whole, reading, strict=True)])
    if plain:
        _row(table, "plain Faust, events/s", plain, "{:,.0f}")
        _row(table, "whole job / plain Faust", [w / p for w, p in zip(whole, plain, strict=True)], "{:,.0f}")
    console.print(table)


def _row(table: Table, name: str, values: list[float], form: str = "{:.2f}") -> None:
    table.add_row(name, *(form.format(value) for value in (min(values), median(values), max(values))))


if __name__ == "__main__":
    main()
