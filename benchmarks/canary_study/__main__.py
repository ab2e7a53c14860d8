"""``make canary-study``: how often each method is wrong, what it finds and when, in simulated rollouts.

A rollout is an hour with one look a minute and four metrics (p50, p95, p99, errors) that share α = 5 %.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from benchmarks.canary_study.kept import Kept
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
    options.add_argument(
        "--keep", type=Path, metavar="FILE", help="keep rows here, and take up where it ends"
    )
    options.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}")
    chosen = options.parse_args()
    parts = chosen.only.split(",")
    if unknown := [name for name in parts if name not in ALL]:
        options.error(f"no such part: {', '.join(unknown)}; there are {', '.join(ALL)}")
    rows = [row for part in parts for row in ALL[part]() if chosen.row in row.what]
    rollouts = QUICK_ROLLOUTS if chosen.quick else chosen.rollouts
    results = _all(rows, rollouts, chosen.processes, Kept(chosen.keep), Console(stderr=True))
    Console(width=None if os.isatty(1) else 160).print(table(results))
    for what in missed(results):
        print(f"missed: {what}")
    if chosen.write:
        text = io.StringIO()
        Console(file=text, width=400).print(table(results, markdown=True))
        lines = "\n".join(line.strip() for line in text.getvalue().splitlines() if line.strip())
        write_into(PAGE, f"{rollouts:,} rollouts a row.\n\n{lines}")


def _all(
    rows: list[Row], rollouts: int, processes: int, kept: Kept, console: Console
) -> list[tuple[Row, Found]]:
    started_s = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(run, row, rollouts): row for row in rows if kept.of(row, rollouts) is None}
        for done in as_completed(running):
            row = running[done]
            kept.add(row, rollouts, done.result())
            elapsed_s = time.perf_counter() - started_s
            console.print(f"{elapsed_s:6.0f} s  {row.group}: {row.what}", soft_wrap=True)
    return [(row, found) for row in rows if (found := kept.of(row, rollouts)) is not None]


if __name__ == "__main__":
    main()
