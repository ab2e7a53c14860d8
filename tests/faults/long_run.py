"""Many faults over millions of events, and a table of what they cost.

Prints the table; ends with 1 unless nothing was lost and nothing counted twice. A run of all kinds, a hundred
faults and two million events or more also writes docs/faults.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the suite's own helpers are
sys.path.insert(0, str(Path(__file__).parents[2]))  # and the measuring programs'

from fault_kinds import Fault, kinds
from fault_report import markdown, table
from fault_run import FaultRun, Outcome
from older_version import unpacked
from recorded_stream import recorded
from rich.console import Console
from upgrade import NAME, UpgradeRun

from benchmarks.options import Parser, at_least
from stream.kafka.local import LocalBroker

LONG_STOP_S = 60.0
RATE = 4_000.0
GAPS = 60
UPGRADE_EVENTS, UPGRADE_RATE, UPGRADE_GAPS = 100_000, 2_000.0, 6
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


def drawn(known: list[Fault], count: int, rng: random.Random) -> list[Fault]:
    """Each kind once, then any; the ones that take long more seldom."""
    once = rng.sample(known, len(known))[:count]
    rare = ("partition added", "broker gone", "all partitions idle")
    weights = [0.25 if fault.name.startswith(rare) else 1.0 for fault in known]
    faults = once + rng.choices(known, weights, k=max(0, count - len(once)))
    rng.shuffle(faults)
    return faults


def main() -> None:
    options = Parser("make faults", __doc__)
    options.add_argument("--seed", type=int, default=1, help="of events, faults and their times")
    options.add_argument("--faults", type=at_least(1), default=110, help="how many")
    options.add_argument("--events", type=at_least(10_000), default=2_400_000, help="how many")
    options.add_argument("--rate", type=at_least(1), default=int(RATE), help="events a second")
    options.add_argument("--at-once", type=at_least(1), default=2, help="faults that may overlap")
    options.add_argument("--only", default="", help="kinds whose name contains this")
    options.add_argument("--keep", type=Path, metavar="DIR", help="keep the workers' logs there")
    options.add_argument("--no-docs", action="store_true", help="leave docs/faults.md as it is")
    chosen = options.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    known = [fault for fault in kinds(LONG_STOP_S) if chosen.only in fault.name]
    if not known and chosen.only not in NAME:
        options.error(f"no kind of fault has {chosen.only!r} in its name")
    faults = drawn(known, chosen.faults, random.Random(chosen.seed))
    console = Console()
    directory = chosen.keep or Path(tempfile.mkdtemp(prefix="burngate-faults-"))
    directory.mkdir(parents=True, exist_ok=True)
    outcome = asyncio.run(_run(console, directory, faults, chosen))
    console.print(table(outcome))
    for line in outcome.differences:
        console.print(line, markup=False, style="red")
    if outcome.differences:
        console.print(f"seed {chosen.seed}; logs are in {directory}", markup=False)
    is_whole = not chosen.only and chosen.faults >= 100 and chosen.events >= 2_000_000
    if is_whole and not chosen.no_docs:
        DOCS.write_text(markdown(outcome, chosen.seed))
    if not outcome.differences and chosen.keep is None:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(bool(outcome.differences))


async def _run(console: Console, directory: Path, faults: list[Fault], chosen: argparse.Namespace) -> Outcome:
    started_s = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - started_s:6.0f} s  {text}", highlight=False, markup=False)

    say(f"recording {chosen.events:,} events")
    stream = recorded(chosen.seed, chosen.events, chosen.rate, GAPS)
    outcomes = []
    with LocalBroker() as broker:
        if faults:
            run = FaultRun(
                broker, "faults", stream, chosen.rate, faults, chosen.seed, directory, say, chosen.at_once
            )
            outcomes.append(await run.run())
        if chosen.only in NAME:
            outcomes += await _upgrade(broker, directory, chosen.seed, say)
    return _together(outcomes)


async def _upgrade(
    broker: LocalBroker, directory: Path, seed: int, say: Callable[[str], None]
) -> list[Outcome]:
    """An app of its own, for the version before decides by its own rules."""
    place = directory / "upgrade"
    place.mkdir()
    older = await asyncio.to_thread(unpacked, place / "older")
    if older is None:
        say(f"without the repository's history there is no {NAME}")
        return []
    say(f"recording {UPGRADE_EVENTS:,} events for another app")
    stream = recorded(seed, UPGRADE_EVENTS, UPGRADE_RATE, UPGRADE_GAPS)
    faults = [UpgradeRun.fault()]
    run = UpgradeRun(older, broker, "upgrade", stream, UPGRADE_RATE, faults, seed, place, say)
    return [await run.run()]


def _together(outcomes: list[Outcome]) -> Outcome:
    return Outcome(
        {name: toll for one in outcomes for name, toll in one.tolls.items()},
        [line for one in outcomes for line in one.differences],
        sum(one.seconds for one in outcomes),
        sum(one.events for one in outcomes),
        sum(one.aborted for one in outcomes),
        sum(one.restarts for one in outcomes),
    )


if __name__ == "__main__":
    main()
