"""The outcome of a run of faults, as a table on the terminal and as a page."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from fault_run import Outcome
from rich.table import Table

_PAGE = """\
# Faults

`make faults` feeds a recorded stream into a local Kafka at a steady rate, runs two workers (one to three
while they are scaled), lets faults strike at seeded random times, and compares every record on every
output topic with `burngate replay` of the same events: alerts, budgets, freezes, rollbacks and
percentiles' counts as multisets, dead letters by source. *Lost* and *counted twice* are weighted events,
from the totals of SLOs whose window holds the whole stream; each is put down to the last fault before the
minute in which a total went wrong.

The stream has disorder within the allowed lateness, producers whose clocks differ by up to 2 s, sampled
events, events of a service without SLO, poison of seven kinds (a record over 1 MiB among them), and
committed and aborted transactions. Where a fault stops the feed (`all partitions idle`, the broker's),
event time jumps by ten minutes: nothing is late after the pause.

{table}

{events:,} events, {aborted:,} aborted transactions, {faults} faults, {restarts} starts of workers that
had ended, in {minutes:.0f} minutes; seed {seed}, {date}. Records on the output topics that differ from
replay's: {differences}.

{machine}. Apache Kafka {kafka} on the same machine, Python {python}, faust-streaming {faust}, aiokafka
{aiokafka}, Burngate {burngate}.

The upgrade has an app of its own, in which workers of the version before read the first part of a
shorter stream. That version decides by its own rules, so counts alone are compared: those of every budget.

`make test` lets every kind of fault strike once, and has tests of their own for what changes the
expectation:

- **Records deleted before they were read** (retention): they are lost, which is logged; nothing else is,
  and nothing counts twice.
- **The input topic deleted and made again**: what was read before counts, and all of the new topic does.
- **Committed offsets expired**: the group's memory is gone, the state is not; reading goes on where the
  state ends.
"""


def table(outcome: Outcome) -> Table:
    shown = Table("Fault", "Times", "Lost", "Counted twice")
    for row in _rows(outcome):
        shown.add_row(*row)
    return shown


def markdown(outcome: Outcome, seed: int) -> str:
    lines = ["| Fault | Times | Lost | Counted twice |", "|---|---:|---:|---:|"]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(outcome)]
    return _PAGE.format(
        table="\n".join(lines),
        events=outcome.events,
        aborted=outcome.aborted,
        faults=sum(toll.times for toll in outcome.tolls.values()),
        restarts=outcome.restarts,
        minutes=outcome.seconds / 60,
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        differences=len(outcome.differences) or "none",
        machine=_machine(),
        kafka=_kafka_version(),
        python=platform.python_version(),
        faust=version("faust-streaming"),
        aiokafka=version("aiokafka"),
        burngate=version("burngate"),
    )


def _rows(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    rows = [
        (name, str(toll.times), f"{toll.lost:g}", f"{toll.doubled:g}")
        for name, toll in sorted(outcome.tolls.items())
    ]
    times, lost, doubled = (
        sum(getattr(toll, name) for toll in outcome.tolls.values()) for name in ("times", "lost", "doubled")
    )
    return [*rows, ("**all**", str(times), f"{lost:g}", f"{doubled:g}")]


def _kafka_version() -> str:
    found = re.search(r"kafka-clients:(\S+)", files("stream.kafka").joinpath("jars.txt").read_text())
    assert found is not None
    return found[1]


def _machine() -> str:
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    name = model[1] if model else platform.machine()
    return f"A machine with {os.cpu_count()} cores ({name}) and {memory_gb:.0f} GB of memory"
