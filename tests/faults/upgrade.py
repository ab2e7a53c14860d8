"""Stop, upgrade, start: workers of the version before, and in the middle of the stream those of this one.

Rules may differ between two versions, counts must not: what budgets are made of is held against replay.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
from against_replay import Records
from fault_kinds import Fault
from fault_run import FaultRun
from older_version import __file__ as OLDER
from verdict import Totals

from stream.kafka.tail import Tail

NAME = "stop, upgrade from the recorded version, start"
_LIMIT_S = 240.0
_COUNTS = ("good", "bad", "total")

Counts = dict[tuple[str, str], tuple[float, ...]]
"""(SLO, evaluated_at) → what was counted."""


async def upgraded(run: FaultRun) -> None:
    """One worker is stopped and one killed; then both are started, as what they are from now on."""
    first, *others = sorted(run.fleet.workers)
    for slot in others:
        run.fleet.remove(slot, kill=True)
    await asyncio.to_thread(run.fleet.remove, first, kill=False)
    for slot in (first, *others):
        run.fleet.start(slot)


class UpgradeRun(FaultRun):
    """As other runs, but that it begins with the version whose code is in ``older``."""

    def __init__(self, older: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.older = older

    @staticmethod
    def fault() -> Fault:
        return Fault(NAME, upgraded)

    def begin(self) -> None:
        for slot in (0, 1):
            self.fleet.start(slot, (OLDER, str(self.older)))

    async def compared(self, expected: Records, last: str) -> tuple[Totals, list[str]]:
        wanted = dict(_counts(record) for record in map(orjson.loads, expected["slo-budgets"]))
        found: Counts = {}
        async with Tail([self.broker.bootstrap], {"slo-budgets": f"{self.app}-slo-budgets"}) as tail:
            deadline_s = time.monotonic() + _LIMIT_S
            while wanted.keys() - found.keys() and time.monotonic() < deadline_s:
                found.update(_counts(signal.record) for signal in await tail.read(1.0))
        wrong = sorted(name for name, counted in wanted.items() if found.get(name) != counted)
        lines = [f"{name}: {found.get(name)} instead of {wanted[name]}" for name in wrong[:5]]
        totals = {name: counted[-1] for name, counted in found.items()}
        return totals, [f"{len(wrong)} of {len(wanted)} budgets count otherwise", *lines] if wrong else []


def _counts(record: dict[str, Any]) -> tuple[tuple[str, str], tuple[float, ...]]:
    return (record["slo"], record["evaluated_at"]), tuple(float(record[name]) for name in _COUNTS)
