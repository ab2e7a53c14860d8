"""Random jobs: random valid SLO files, random events; each through replay twice, some through both stages.

Prints the seeds that fail, and what is wrong with each; ends with 1 if there is one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the suite's own helpers are
sys.path.insert(0, str(Path(__file__).parents[2]))  # and the measuring programs'

from random_jobs.job import faults
from rich.console import Console

from benchmarks.options import Parser, at_least

A_TASK = 20
"""Jobs that one process is given at a time."""


def of_one(seed: int) -> tuple[int, float, list[str]]:
    """(seed, seconds of CPU, what is wrong)."""
    started = time.process_time()
    with tempfile.TemporaryDirectory(prefix="burngate-job-") as directory:
        found = faults(seed, Path(directory))
    return seed, time.process_time() - started, found


def run(seeds: range, processes: int) -> Iterator[tuple[int, float, list[str]]]:
    """In the order in which they end."""
    if processes == 1:
        yield from map(of_one, seeds)
        return
    with get_context("spawn").Pool(processes, maxtasksperchild=50) as pool:
        yield from pool.imap_unordered(of_one, seeds, A_TASK)


def main() -> None:
    options = Parser("make random-jobs", __doc__)
    options.add_argument("--seed", type=int, default=1, help="of the first job; the others follow")
    options.add_argument("--count", type=at_least(1), default=2_000, help="how many")
    options.add_argument("--jobs", type=at_least(1), default=os.cpu_count() or 1, help="processes")
    chosen = options.parse_args()
    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False)

    failed, cpu_s, slowest, started = [], 0.0, (0.0, 0), time.monotonic()
    done, seeds = 0, range(chosen.seed, chosen.seed + chosen.count)
    for done, (seed, took_s, found) in enumerate(run(seeds, chosen.jobs), 1):
        cpu_s, slowest = cpu_s + took_s, max(slowest, (took_s, seed))
        if found:
            failed.append(seed)
            say("\n  ".join([f"seed {seed}:", *found]))
        if done % 500 == 0 or done == chosen.count:
            say(f"{done:,} of {chosen.count:,} jobs, {len(failed)} failed")
    say(
        f"{done:,} jobs in {time.monotonic() - started:.0f} s, {cpu_s / done:.2f} s of CPU each; "
        f"seed {slowest[1]} took {slowest[0]:.1f} s"
    )
    if failed:
        say(f"seeds that fail: {', '.join(map(str, sorted(failed)))}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
