"""Lines of a file whose time is far above all before them, and what came late because of them.

A file has no clock beside it that would tell a stray from a stream that goes on after a pause. What comes
behind it does: events of the time in between, which would not be late without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.window.panes import PANE_MS

FAR_MS = 600_000
MAX_JUMPS = 1_000
"""Remembered at a time; without a late event the oldest are forgotten first."""

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Jump:
    """A line that is more than ``FAR_MS`` above all before it."""

    name: str
    before_ms: int
    """The largest time before it."""
    ts_ms: int
    late: int = 0
    """Events behind it that came late because of it."""


class Strays:
    """Of one feed."""

    def __init__(self, lateness_ms: int) -> None:
        self._lateness_ms = lateness_ms
        self._jumps: list[Jump] = []
        """Ascending: each is above all before it."""

    def look(self, ts_ms: Ints, before_ms: Ints, named: Callable[[int], str]) -> None:
        """Events in their order, and the largest time before each. ``named``: the line of an event."""
        for i in np.flatnonzero((ts_ms - before_ms > FAR_MS) & (before_ms >= 0)).tolist():
            self._jumps.append(Jump(named(i), int(before_ms[i]), int(ts_ms[i])))
        if self._jumps:
            self._blame(ts_ms[self._is_late(ts_ms, before_ms)])
            if len(self._jumps) > MAX_JUMPS:
                self._forget()

    def _is_late(self, ts_ms: Ints, largest_ms: Ints) -> NDArray[np.bool_]:
        """Whether their ticks are decided when so large a time was seen."""
        decided: NDArray[np.bool_] = ts_ms // PANE_MS < (largest_ms - self._lateness_ms) // PANE_MS
        return decided

    def _blame(self, late_ms: Ints) -> None:
        """Each late event is due to the one line that passed over its time, if it was in time before that."""
        jumps = np.array([(jump.before_ms, jump.ts_ms) for jump in self._jumps], np.int64)
        place = np.searchsorted(jumps[:, 1], late_ms, "right")
        late_ms, place = late_ms[place < len(jumps)], place[place < len(jumps)]
        due = place[~self._is_late(late_ms, jumps[place, 0])]
        for i, count in enumerate(np.bincount(due, minlength=len(jumps)).tolist()):
            self._jumps[i].late += count

    def _forget(self) -> None:
        spare = len(self._jumps) - MAX_JUMPS // 2
        idle = [i for i, jump in enumerate(self._jumps) if not jump.late][:spare]
        kept = set(range(len(self._jumps))) - set(idle)
        self._jumps = [self._jumps[i] for i in sorted(kept)][-MAX_JUMPS:]

    def found(self) -> list[Jump]:
        """Those behind which something came late because of them."""
        return [jump for jump in self._jumps if jump.late]
