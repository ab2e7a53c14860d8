"""Weighted counts per series column over the longest alerting window: whom an alert can name.

Panes hold sparse columns (pair, weight, bad weight), fine ones for the last hour, coarser ones behind it, on
the grids that window starts lie on; so every window still sums exactly what it covers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S
from stream.sketch import whole
from stream.sketch.whole import Whole
from stream.window.limbs import MILLION
from stream.window.panes import GRIDS, HOUR_S, MINUTE_S, window_start_s

Ints = NDArray[np.int64]

_LEVELS = tuple((longest_s, coarser_s) for (longest_s, _), (_, coarser_s) in pairwise(GRIDS))
"""(age, grid): a pane older than the age is merged into the grid's pane."""


@dataclass(slots=True)
class Cells:
    """Distinct pairs in ascending order, with their counts in units of so many millionths."""

    pair: NDArray[np.signedinteger[Any]]
    weight: Whole
    bad_weight: Whole
    unit: int = 1
    is_narrow: bool = False
    """Each column has the narrowest type that holds it: nearly all of a worker's history is at rest."""

    @classmethod
    def summed(cls, parts: Iterable[Cells]) -> Cells:
        parts = [part.wide() for part in parts]
        pair, place = np.unique(np.concatenate([p.pair for p in parts]), return_inverse=True)
        weight = whole.placed(pair.shape, place, np.concatenate([p.weight for p in parts]))
        bad_weight = whole.placed(pair.shape, place, np.concatenate([p.bad_weight for p in parts]))
        return cls(pair, weight, bad_weight)

    def wide(self) -> Cells:
        """In millionths."""
        if self.unit == 1 and not self.is_narrow:
            return self
        return Cells(
            self.pair.astype(np.int64),
            whole.times(_widened(self.weight), self.unit),
            whole.times(_widened(self.bad_weight), self.unit),
        )

    def narrowed(self) -> Cells:
        """A fifth of the room, where nothing was sampled."""
        if self.is_narrow:
            return self
        weight, bad_weight, unit = self.weight, self.bad_weight, self.unit
        if unit == 1 and not (weight % MILLION).any() and not (bad_weight % MILLION).any():
            weight, bad_weight, unit = whole.narrowed(weight // MILLION), bad_weight // MILLION, MILLION
            bad_weight = whole.narrowed(bad_weight)
        return Cells(_narrow(self.pair), _narrow(weight), _narrow(bad_weight), unit, True)


def _widened(column: Whole) -> Whole:
    return column if whole.is_wide(column) else column.astype(np.int64)


def _narrow(column: Whole) -> Whole:
    if whole.is_wide(column):
        return column
    low, high = int(column.min(initial=0)), int(column.max(initial=0))
    return column.astype(np.result_type(np.min_scalar_type(min(low, -1)), np.min_scalar_type(-high - 1)))


class History:
    """Counts by pair and time. A pair is a (series, SLI column), numbered by the caller."""

    def __init__(self, longest_s: int) -> None:
        self.longest_s = longest_s
        self.dirty: set[tuple[int, int]] = set()
        self._panes: dict[tuple[int, int], list[Cells]] = {}
        """(grid, start) in seconds → parts not yet summed."""
        self._now_s: int | None = None

    def add(self, pane: int, cells: Cells) -> None:
        start = pane * PANE_S
        if self._now_s is not None and start < self._oldest_s(self._now_s):
            return
        self._append((self._grid_at(start), start), cells)

    def _append(self, place: tuple[int, int], cells: Cells) -> None:
        grid, start = place
        place = (grid, start // grid * grid)
        parts = self._panes.setdefault(place, [])
        parts.append(cells)
        self.dirty.add(place)
        if len(parts) > 16:
            self._panes[place] = [Cells.summed(parts).narrowed()]

    def totals(self, pairs: Ints, tick_s: int, window_s: int) -> tuple[list[int], list[int]]:
        """(weight, bad weight) of each of the sorted pairs over the window ending at the tick."""
        start_s = window_start_s(tick_s, window_s)
        weight, bad_weight = [0] * len(pairs), [0] * len(pairs)
        for (_, start), parts in self._panes.items():
            if start_s <= start < tick_s:
                cells = self._summed(parts)
                at = np.searchsorted(cells.pair, pairs)
                at[at == len(cells.pair)] = 0
                for i in np.flatnonzero(cells.pair[at] == pairs):
                    weight[i] += int(cells.weight[at[i]]) * cells.unit
                    bad_weight[i] += int(cells.bad_weight[at[i]]) * cells.unit
        return weight, bad_weight

    def move_to(self, tick_s: int) -> None:
        """Merge panes that grew old into coarser ones, forget what no window reaches."""
        self._now_s = tick_s
        if tick_s % MINUTE_S:
            return
        oldest_s = self._oldest_s(tick_s)
        for place in [p for p in self._panes if p[1] < tick_s - HOUR_S - MINUTE_S]:
            grid, start = place
            if start + grid <= oldest_s:
                del self._panes[place]
                self.dirty.add(place)
            elif (coarser := self._grid_at(start)) > grid:
                parts = self._panes.pop(place)
                self.dirty.add(place)
                self._append((coarser, start), self._summed(parts))

    def _grid_at(self, start_s: int) -> int:
        """The grid of the pane that holds this second: what windows reaching back so far need."""
        if self._now_s is None:
            return PANE_S
        age_s, grid = self._now_s - start_s, PANE_S
        for longest_s, coarser in _LEVELS:
            if age_s > longest_s + coarser:
                grid = coarser
        return grid

    def _oldest_s(self, tick_s: int) -> int:
        return window_start_s(tick_s, self.longest_s)

    def _summed(self, parts: list[Cells]) -> Cells:
        if len(parts) > 1 or not parts[0].is_narrow:
            parts[:] = [(Cells.summed(parts) if len(parts) > 1 else parts[0]).narrowed()]
        return parts[0]

    def get(self, place: tuple[int, int]) -> Cells | None:
        """The cells of one pane, summed; None when it is gone."""
        parts = self._panes.get(place)
        return self._summed(parts) if parts else None

    def restore(self, place: tuple[int, int], cells: Cells) -> None:
        self._panes[place] = [cells.narrowed()]

    def places(self) -> list[tuple[int, int]]:
        """(grid, start) of every pane."""
        return list(self._panes)

    def pairs(self) -> set[int]:
        """Every pair that some pane still holds."""
        held = [cells.pair.astype(np.int64) for parts in self._panes.values() for cells in parts]
        return set(np.unique(np.concatenate(held)).tolist()) if held else set()
