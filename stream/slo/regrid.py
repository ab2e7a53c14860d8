"""Panes that were held into the windows that there are now, whatever grids both lie on.

A row's longest window on each grid tells what it held there. For each stretch of time the finest grid counts,
and nothing counts twice: of a coarse pane that fine ones cover in part, what they do not hold is taken. Each
such *piece* has one place, its last fine pane, in all windows alike: so what is put back now is found again
the next time, and windows that stayed the same are as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S
from stream.slo.windows import Windows
from stream.window.limbs import WIDTH, Sums
from stream.window.panes import GRIDS, grid_s, window_start_s

Rows = NDArray[np.intp]
Seconds = NDArray[np.int64]

_FAR = 2**62
_ALL_GRIDS = tuple(grid for _, grid in GRIDS)


class Regrid:
    """Takes panes from fine grids to coarse ones, each grid's in the order of time."""

    def __init__(self, windows: Windows, decided_s: int, held: Sequence[Iterable[int]]) -> None:
        """``held``, by row: lengths of the longest rolling window on each grid, as the state had them."""
        self._windows = windows
        self._decided_s = decided_s
        rows = len(held)
        self._start_s = {grid: np.full(rows, _FAR, np.int64) for grid in _ALL_GRIDS}
        """By grid and row: from where on the row held it."""
        for row, lengths_s in enumerate(held):
            for length_s in lengths_s:
                self._start_s[grid_s(length_s)][row] = window_start_s(decided_s, length_s)
        self._finer_s = self._starts_of_finer()
        self._in_split = {grid: np.zeros((rows, WIDTH), np.int64) for grid in _ALL_GRIDS}
        """By grid and row: what finer panes hold of the one pane that they cover in part."""
        self._buffers = {grid: _Buffer(windows, grid, rows) for grid in windows.grids()}
        self._since_s = np.full(rows, _FAR, np.int64)
        self._since: Sums = np.zeros((rows, WIDTH), np.int64)

    def _starts_of_finer(self) -> dict[int, Seconds]:
        """By grid and row: from where on it held a finer grid."""
        found: dict[int, Seconds] = {}
        finer = np.full_like(self._start_s[_ALL_GRIDS[0]], _FAR)
        for grid in _ALL_GRIDS:
            found[grid] = finer
            finer = np.minimum(finer, self._start_s[grid])
        self._longest_start_s = finer
        return found

    def longest_start_s(self, row: int) -> int | None:
        """Where the row's longest rolling window began; None if it had none."""
        start_s = int(self._longest_start_s[row])
        return None if start_s == _FAR else start_s

    def sum_up_since(self, starts_s: Mapping[int, int]) -> None:
        """Rows of which :meth:`since` will be asked."""
        for row, start_s in starts_s.items():
            self._since_s[row] = start_s

    def since(self, row: int) -> Sums:
        """All that was put for a row at or after its moment."""
        sums: Sums = self._since[row]
        return sums

    def put(self, grid: int, start_s: int, rows: Rows, sums: Sums) -> None:
        """A pane with the counts of distinct rows."""
        held = start_s >= self._start_s[grid][rows]
        rows, sums = rows[held], sums[held]
        finer_s, end_s = self._finer_s[grid][rows], start_s + grid
        whole = finer_s >= end_s
        if whole.any():
            self._place(grid, min(end_s, self._decided_s) - PANE_S, rows[whole], sums[whole])
        split = (finer_s > start_s) & ~whole
        for moment_s in np.unique(finer_s[split]).tolist():
            mine = split & (finer_s == moment_s)
            rest = sums[mine] - self._in_split[grid][rows[mine]]
            self._place(grid, moment_s - PANE_S, rows[mine], rest)

    def _place(self, grid: int, at_s: int, rows: Rows, sums: Sums) -> None:
        """A piece that came from a grid, into the fine pane that begins there."""
        for coarser, finer_s in self._finer_s.items():
            if coarser > grid:
                inside = (finer_s[rows] // coarser == at_s // coarser) & (finer_s[rows] <= at_s)
                self._in_split[coarser][rows[inside]] += sums[inside]
        for target, buffer in self._buffers.items():
            if target > grid:
                buffer.add(at_s, rows, sums)
            else:
                self._windows.put_pane(target, at_s, rows, sums)
        self._windows.put_in_periods(at_s, rows, sums)
        after = at_s + PANE_S > self._since_s[rows]
        self._since[rows[after]] += sums[after]

    def finish(self) -> None:
        for buffer in self._buffers.values():
            buffer.flush()


class _Buffer:
    """Fine panes on the way to one coarser grid: added up before they are put into its windows."""

    def __init__(self, windows: Windows, grid: int, rows: int) -> None:
        self._windows, self._grid = windows, grid
        self._pane: int | None = None
        self._sums = np.zeros((rows, WIDTH), np.int64)

    def add(self, at_s: int, rows: Rows, sums: Sums) -> None:
        if at_s // self._grid != self._pane:
            self.flush()
            self._pane = at_s // self._grid
        self._sums[rows] += sums

    def flush(self) -> None:
        if self._pane is None:
            return
        rows = np.flatnonzero(self._sums.any(axis=1))
        self._windows.put_pane(self._grid, self._pane * self._grid, rows, self._sums[rows])
        self._sums[rows] = 0
        self._pane = None
