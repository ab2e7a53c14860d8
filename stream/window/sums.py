"""Sums over windows: exact counts that a tick moves forward by adding one pane and dropping what left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S
from stream.window.limbs import Sums
from stream.window.panes import grid_s, window_start_s
from stream.window.ring import Ring


class RollingSums:
    """Sums over one window length for many rows; ``sums`` is a view of shape [rows, 6] owned by the caller.

    The ring holds the window's panes on the window's own grid, so that a late event finds its place and a
    pane that leaves takes along exactly what it brought.
    """

    def __init__(self, window_s: int, sums: Sums) -> None:
        self.window_s = window_s
        self.grid_s = grid_s(window_s)
        self.sums = sums
        self.span = window_s // self.grid_s + 2
        self._ring = Ring(self.span, len(sums))
        self._start: int | None = None

    def move_to(self, tick_s: int) -> None:
        """Drop the panes that the window ending at ``tick_s`` no longer covers."""
        start = window_start_s(tick_s, self.window_s) // self.grid_s
        if self._start is None:
            self._start = start
        if start - self._start >= self.span:
            self._ring.clear()
            self.sums[:] = 0
            self._start = start
        while self._start < start:
            leaving = self._ring.take(self._start % self.span)
            if leaving is not None:
                self.sums -= leaving
            self._start += 1

    def add(self, pane: int, rows: NDArray[np.intp], counts: Sums) -> None:
        """Add counts of distinct rows to a fine pane; what lies before the window is dropped."""
        coarse = pane * PANE_S // self.grid_s
        if self._start is None or coarse < self._start:
            return
        self._ring.add(coarse % self.span, rows, counts)
        self.sums[rows] += counts

    @property
    def start_s(self) -> int:
        """Start of the window as of the last move."""
        return 0 if self._start is None else self._start * self.grid_s

    def get(self, start_s: int) -> Sums | None:
        """The ring's pane that starts there, shape [rows, 6]; None when the window does not cover it."""
        coarse = start_s // self.grid_s
        if self._start is None or not self._start <= coarse < self._start + self.span:
            return None
        return self._ring.get(coarse % self.span)


class PeriodSums:
    """Sums over the current calendar period for many rows; starts anew when a tick enters the next one.

    ``bounds(tick_s)`` gives start and end, in seconds, of the period that the tick belongs to.
    """

    def __init__(self, bounds: Callable[[int], tuple[int, int]], sums: Sums) -> None:
        self.bounds = bounds
        self.sums = sums
        self.start_s: int | None = None
        self.end_s = 0

    def move_to(self, tick_s: int) -> None:
        if self.start_s is not None and self.start_s < tick_s <= self.end_s:
            return
        self.start_s, self.end_s = self.bounds(tick_s)
        self.sums[:] = 0

    def add(self, pane: int, rows: NDArray[np.intp], counts: Sums) -> None:
        if self.start_s is not None and (pane + 1) * PANE_S > self.start_s:
            self.sums[rows] += counts
