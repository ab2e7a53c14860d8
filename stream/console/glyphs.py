"""Bars and sparklines, in Unicode where the terminal can show it, in ASCII where it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

FULL_BURN = 20.0
"""The burn rate that fills a sparkline's cell; the scale is logarithmic and the same in every row."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """``levels``: a sparkline's cells from low to high; ``partial``: a bar's last cell in equal steps."""

    levels: str
    nothing: str
    filled: str
    partial: str
    empty: str
    dot: str
    marks: dict[str, str]

    def spark(self, burn: float | None) -> str:
        """One cell for one burn rate; an empty window shows none."""
        if burn is None:
            return self.nothing
        height = math.log1p(max(0.0, burn)) / math.log1p(FULL_BURN)
        return self.levels[min(len(self.levels) - 1, int(height * len(self.levels)))]

    def sparkline(self, burns: Iterable[float | None], width: int) -> list[tuple[str, float | None]]:
        """The newest ``width`` burns as (cell, burn), the newest last."""
        newest = list(burns)[-width:] if width > 0 else []
        return [(self.spark(burn), burn) for burn in newest]

    def bar(self, percent: float, width: int) -> tuple[str, str]:
        """(filled, empty) parts that are ``width`` cells together; out of range counts as empty or full."""
        steps = len(self.partial) + 1
        units = round(min(100.0, max(0.0, percent)) / 100 * width * steps)
        whole, rest = divmod(units, steps)
        filled = self.filled * whole + (self.partial[rest - 1] if rest else "")
        return filled, self.empty * (width - len(filled))


UNICODE = Glyphs(
    levels="▁▂▃▄▅▆▇█",
    nothing=" ",
    filled="█",
    partial="▏▎▍▌▋▊▉",
    empty="░",
    dot="·",
    marks={
        "firing": "●",
        "resolved": "○",
        "frozen": "■",
        "open": "□",
        "rollback": "◀",
        "trial": "◇",
        "failed": "✗",
        "passed": "✓",
        "paused": "◆",
        "note": "›",
    },
)
ASCII = Glyphs(
    levels="_.-=+*%#",
    nothing=" ",
    filled="#",
    partial="",
    empty=".",
    dot="-",
    marks={
        "firing": "!",
        "resolved": "o",
        "frozen": "#",
        "open": "=",
        "rollback": "<",
        "trial": "?",
        "failed": "x",
        "passed": "v",
        "paused": "/",
        "note": ">",
    },
)
