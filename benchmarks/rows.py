"""The table that the product is held to: what each row must reach, what it aims at, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One claim. ``at_most``: smaller is better."""

    what: str
    must: float
    aim: float
    form: str = "{:.2f}"
    at_most: bool = True

    def reaches(self, value: float, limit: float) -> bool:
        return value <= limit if self.at_most else value >= limit

    def limit(self, value: float) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.form.format(value)}"


_GROWTH = "{:+.1f} %"
_SECONDS = "{:.2f} s"
_MS = "{:.0f} ms"
_PERCENT = "{:.0f} %"

ROWS = {
    "yardstick": Row("whole job / yardstick, one worker", 0.6, 1.0, at_most=False),
    "cpu": Row("CPU-seconds per million events, all threads", 2.5, 1.6),
    "plain": Row("whole job / plain Faust with a digest in a table", 100, 200, "{:.0f}×", at_most=False),
    "slos": Row("cost per event, 10 → 10,000 SLOs", 15, 0, _GROWTH),
    "series": Row("cost per event, 100 → 100,000 series", 60, 30, _GROWTH),
    "memory": Row("memory: 10,000 series, 30-day windows, full history (peak)", 600, 300, "{:.0f} MB"),
    "bomb_speed": Row("a new endpoint in every event: speed / normal", 0.5, 1.0, at_most=False),
    "bomb_memory": Row("the same: growth of memory behind max_series", 10, 0, _GROWTH),
    "latency": Row("decision after the event that allows it, 50,000/s, p99", 1000, 300, _MS),
    "catching_up": Row("catching up / full speed", 70, 100, _PERCENT, at_most=False),
    "replay": Row("replay of NDJSON on one core, events/s", 300_000, 600_000, "{:,.0f}", at_most=False),
    "stall": Row("longest stall of the event loop", 100, 30, _MS),
    "recovery_large": Row("restart with 10,000 series × 30 days, 3,000 SLOs", 10, 10, _SECONDS),
    "recovery_small": Row("restart with 1,000 series × 30 days, 300 SLOs", 2, 2, _SECONDS),
    "state": Row("bytes of a checkpoint with four times the events", 25, 10, _GROWTH),
}

Measured = dict[str, list[float]]
"""Values of the rounds, by row."""


def report(measured: Measured, *, markdown: bool = False) -> Table:
    """Must, aim and what was measured; a row is met by the median of its rounds."""
    style = box.MARKDOWN if markdown else box.HEAVY_HEAD
    table = Table("what", "must", "aim", "min", "median", "max", "met", box=style)
    for name, row in ROWS.items():
        if name in measured:
            table.add_row(row.what, row.limit(row.must), row.limit(row.aim), *_cells(row, measured[name]))
    return table


def missed(measured: Measured) -> list[str]:
    """What does not reach its must."""
    return [
        ROWS[name].what
        for name, values in measured.items()
        if not ROWS[name].reaches(median(values), ROWS[name].must)
    ]


def _cells(row: Row, values: Sequence[float]) -> list[str]:
    middle = median(values)
    met = "no" if not row.reaches(middle, row.must) else "aim" if row.reaches(middle, row.aim) else "must"
    return [*(row.form.format(value) for value in (min(values), middle, max(values))), met]
