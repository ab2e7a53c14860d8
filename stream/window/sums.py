"""Sums over windows: exact counts that a tick moves forward by adding one pane and dropping what left.

A row of sums is six int64: events, bad events, and the two weighted counts in two limbs each (whole units
and millionths). Weights are integers of millionths up to 10¹² (contract, section 1), so one int64 of
millionths would overflow after 9.2 million such events; limbs overflow after 9·10¹² events of any weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S
from stream.window.panes import grid_s, window_start_s

EVENTS, BAD, WHOLE, MICRO, BAD_WHOLE, BAD_MICRO = range(6)
WIDTH = 6
MILLION = 1_000_000
_SAFE_WHOLE, _SAFE_MICRO = 4 * 10**12, 4 * 10**18
"""Limbs up to these make a number that fits int64."""

Sums = NDArray[np.int64]
"""Shape [n, 6], or [6] for one row."""


def limbs(events: Sums, weight: Sums, bad: Sums, bad_weight: Sums) -> Sums:
    """Rows of sums, shape [n, 6], from counts and weights in millionths, shape [n] each."""
    rows = np.empty((len(events), WIDTH), np.int64)
    rows[:, EVENTS] = events
    rows[:, BAD] = bad
    np.divmod(weight, MILLION, rows[:, WHOLE], rows[:, MICRO])
    np.divmod(bad_weight, MILLION, rows[:, BAD_WHOLE], rows[:, BAD_MICRO])
    return rows


def total(row: Sums) -> int:
    """N of one row, exactly, in millionths."""
    return int(row[WHOLE]) * MILLION + int(row[MICRO])


def total_bad(row: Sums) -> int:
    """B of one row, exactly, in millionths."""
    return int(row[BAD_WHOLE]) * MILLION + int(row[BAD_MICRO])


def totals(rows: Sums) -> tuple[NDArray[Any], NDArray[Any]]:
    """B and N of many rows at once, exactly, in millionths: of shape [..., 6] to [...] each. Python's own
    integers where int64 does not hold them."""
    far = np.abs(rows[..., WHOLE:]).max(axis=tuple(range(rows.ndim - 1)), initial=0)
    if (far[::2] > _SAFE_WHOLE).any() or (far[1::2] > _SAFE_MICRO).any():
        rows = rows.astype(object)
    return (
        rows[..., BAD_WHOLE] * MILLION + rows[..., BAD_MICRO],
        rows[..., WHOLE] * MILLION + rows[..., MICRO],
    )


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
        self.ring = np.zeros((self.span, len(sums), WIDTH), np.int64)
        self._start: int | None = None

    def move_to(self, tick_s: int) -> None:
        """Drop the panes that the window ending at ``tick_s`` no longer covers."""
        start = window_start_s(tick_s, self.window_s) // self.grid_s
        if self._start is None:
            self._start = start
        if start - self._start >= self.span:
            self.ring[:] = 0
            self.sums[:] = 0
            self._start = start
        while self._start < start:
            leaving = self.ring[self._start % self.span]
            self.sums -= leaving
            leaving[:] = 0
            self._start += 1

    def add(self, pane: int, rows: NDArray[np.intp], counts: Sums) -> None:
        """Add counts of distinct rows to a fine pane; what lies before the window is dropped."""
        coarse = pane * PANE_S // self.grid_s
        if self._start is None or coarse < self._start:
            return
        self.ring[coarse % self.span, rows] += counts
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
        pane: Sums = self.ring[coarse % self.span]
        return pane


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
