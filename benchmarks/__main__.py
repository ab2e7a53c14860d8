"""Every limit that the product is held to, measured on one local Kafka, in one run.

Ratios within a run are what can be compared, seconds are not. Every figure is the minimum, median and
maximum of its rounds, where it has several.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    bomb,
    catching_up,
    decision_latency,
    many_series,
    many_slos,
    replaying,
    restarting,
    stalls,
    state_growth,
    whole,
)
from benchmarks.lab import Lab
from benchmarks.options import Parser, at_least
from benchmarks.rows import Measured, missed, report
from stream.kafka.local import LocalBroker

PARTS: dict[str, Callable[[Lab], Measured]] = {
    "whole": whole.measure,
    "slos": many_slos.measure,
    "series": many_series.measure,
    "restarting": restarting.measure,
    "bomb": bomb.measure,
    "latency": decision_latency.measure,
    "catching-up": catching_up.measure,
    "replay": replaying.measure,
    "stalls": stalls.measure,
    "state": state_growth.measure,
}


def main() -> None:
    options = Parser("make bench", __doc__)
    options.add_argument("--only", metavar="PART,…", default=",".join(PARTS), help=", ".join(PARTS))
    options.add_argument("--rounds", type=at_least(1), default=3, help="of each figure that varies")
    options.add_argument("--quick", action="store_true", help="smaller loads, to see that it works")
    options.add_argument("--markdown", action="store_true", help="the last table as Markdown")
    options.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and profiles in this directory")
    chosen = options.parse_args()
    parts = chosen.only.split(",")
    if unknown := [name for name in parts if name not in PARTS]:
        options.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries, while topics come and go
    console = Console()
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="burngate-bench-") as name, LocalBroker() as broker:
        directory = chosen.keep or Path(name)
        directory.mkdir(parents=True, exist_ok=True)
        lab = Lab(broker.bootstrap, directory, chosen.rounds, chosen.quick, console)
        for part in parts:
            started_s = time.perf_counter()
            console.rule(part)
            measured.update(PARTS[part](lab))
            lab.say(f"{part} took {time.perf_counter() - started_s:.0f} s")
    console.print(report(measured, markdown=chosen.markdown), soft_wrap=chosen.markdown)
    for what in missed(measured):
        console.print(f"missed: {what}", style="bold")


if __name__ == "__main__":
    main()
