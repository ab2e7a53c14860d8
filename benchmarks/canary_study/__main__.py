"""``make canary-study``: how often each method is wrong, what it finds and when, in simulated rollouts.

A rollout is an hour with one look a minute and four metrics (p50, p95, p99, errors) that share α = 5 %.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console

from benchmarks.canary_study.report import missed, table, write_into
from benchmarks.canary_study.rows import ALL, Row
from benchmarks.canary_study.running import Found, run

PAGE = Path(__file__).parents[2] / "docs" / "canary.md"
QUICK_ROLLOUTS = 100


def main() -> None:
    options = argparse.ArgumentParser(prog="make canary-study", description=__doc__)
    options.add_argument("--rollouts", type=int, default=2000, help="of each row")
    options.add_argument("--only", metavar="PART,…", default=",".join(ALL), help=", ".join(ALL))
    options.add_argument("--row", metavar="TEXT", default="", help="only rows with this in their name")
    options.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROLLOUTS} rollouts a row, to see that it works"
    )
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}")
    chosen = options.parse_args()
    parts = chosen.only.split(",")
    if unknown := [name for name in parts if name not in ALL]:
        options.error(f"no such part: {', '.join(unknown)}; there are {', '.join(ALL)}")
    rows = [row for part in parts for row in ALL[part]() if chosen.row in row.what]
    rollouts = QUICK_ROLLOUTS if chosen.quick else chosen.rollouts
    results = _all(rows, rollouts, chosen.processes, Console(stderr=True))
    Console(width=None if os.isatty(1) else 160).print(table(results))
    for what in missed(results):
        print(f"missed: {what}")
    if chosen.write:
        text = io.StringIO()
        Console(file=text, width=200).print(table(results, markdown=True))
        lines = "\n".join(line.strip() for line in text.getvalue().splitlines() if line.strip())
        write_into(PAGE, f"{rollouts:,} rollouts a row.\n\n{lines}")


def _all(rows: list[Row], rollouts: int, processes: int, console: Console) -> list[tuple[Row, Found]]:
    started_s = time.perf_counter()
    results = []
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(run, row, rollouts) for row in rows]
        for row, one in zip(rows, running, strict=True):
            results.append((row, one.result()))
            console.print(f"{time.perf_counter() - started_s:6.0f} s  {row.group}: {row.what}")
    return results


if __name__ == "__main__":
    main()
