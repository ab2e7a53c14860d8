"""Counts of cohorts: whole numbers that may be added in any order, and taken back.

A cohort is one version on one track at one endpoint of a service; here it is a number (``cohorts.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch import whole
from stream.sketch.histogram import HistogramSet
from stream.sketch.whole import Whole

Ints = NDArray[np.int64]

PANE_BITS = 35
"""Keys of contributions are ``cohort << PANE_BITS | pane``: the last pane of the year 9999 fits."""
_PANE = (1 << PANE_BITS) - 1
EVENTS, WEIGHT, SQUARES = range(3)
"""Columns of ``sums``."""
CELL_EVENTS, CELL_WEIGHT, CELL_BAD, CELL_BAD_WEIGHT = range(4)
"""Columns of ``cells``."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """k keys, ascending and distinct, and c cells: (key, SLI column), ascending and distinct."""

    keys: Ints
    sums: Whole
    """[k, 3] requests, Σw in millionths, Σw² in sixteenths."""
    cell_keys: Ints
    cell_columns: Ints
    cells: Whole
    """[c, 4] requests that count for the column, their Σw, bad ones, their Σw; in millionths."""
    histograms: HistogramSet
    """Latencies by key."""

    @classmethod
    def empty(cls) -> Counts:
        none = np.empty(0, np.int64)
        return cls(none, np.empty((0, 3), np.int64), none, none, none.reshape(0, 4), HistogramSet.empty())

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def merge(cls, several: Sequence[Counts]) -> Counts:
        """The sum; the order does not matter."""
        several = [one for one in several if len(one)]
        if len(several) <= 1:
            return several[0] if several else cls.empty()
        return cls.summed(
            np.concatenate([one.keys for one in several]),
            np.concatenate([one.sums for one in several]),
            np.concatenate([one.cell_keys for one in several]),
            np.concatenate([one.cell_columns for one in several]),
            np.concatenate([one.cells for one in several]),
            HistogramSet.merge([one.histograms for one in several]),
        )

    @classmethod
    def summed(
        cls,
        keys: Ints,
        sums: Whole,
        cell_keys: Ints,
        cell_columns: Ints,
        cells: Whole,
        histograms: HistogramSet,
    ) -> Counts:
        """Columns in any order, with repeats."""
        (keys,), sums = _grouped((keys,), sums)
        (cell_keys, cell_columns), cells = _grouped((cell_keys, cell_columns), cells)
        return cls(keys, sums, cell_keys, cell_columns, cells, histograms)

    def minus(self, part: Counts) -> Counts:
        """Without ``part``, an earlier sending of the same. Raises ValueError if it is not part of it."""
        if not len(part):
            return self
        left = self.summed(
            np.concatenate([self.keys, part.keys]),
            np.concatenate([self.sums, -part.sums]),
            np.concatenate([self.cell_keys, part.cell_keys]),
            np.concatenate([self.cell_columns, part.cell_columns]),
            np.concatenate([self.cells, -part.cells]),
            self.histograms.minus(part.histograms),
        )
        if (left.sums < 0).any() or (left.cells < 0).any():
            raise ValueError("a chunk is less than an earlier sending of it")
        return left

    def select(self, which: NDArray[np.bool_]) -> Counts:
        """The keys of a mask."""
        if which.all():
            return self
        keys = self.keys[which]
        cells = np.isin(self.cell_keys, keys)
        histograms = self.histograms.of(keys)
        return Counts(
            keys,
            self.sums[which],
            self.cell_keys[cells],
            self.cell_columns[cells],
            self.cells[cells],
            histograms,
        )

    def cells_of(self, place: int, column: int) -> Whole:
        """[4] the cell of a key, by its place, and a column; zeros if there is none."""
        a, b = np.searchsorted(self.cell_keys, [self.keys[place], self.keys[place] + 1])
        mine = np.flatnonzero(self.cell_columns[a:b] == column)
        return self.cells[a + mine[0]] if len(mine) else np.zeros(4, np.int64)

    def take(self, places: Ints) -> Counts:
        """The keys at ascending places."""
        which = np.zeros(len(self.keys), np.bool_)
        which[places] = True
        return self.select(which)

    def remap(self, new_keys: Ints) -> Counts:
        """Under other keys, one for each; those that share a key are added up."""
        place = np.searchsorted(self.keys, self.cell_keys)
        of_histograms = np.searchsorted(self.keys, self.histograms.keys)
        return self.summed(
            new_keys, self.sums, new_keys[place], self.cell_columns, self.cells,
            self.histograms.remap(new_keys[of_histograms]),
        )  # fmt: skip

    def recolumned(self, new: Ints) -> Counts:
        """With other numbers of columns; −1: that column is left out."""
        columns = new[self.cell_columns]
        kept = columns >= 0
        return self.summed(
            *(self.keys, self.sums, self.cell_keys[kept], columns[kept], self.cells[kept], self.histograms)
        )

    def by_pane(self) -> Iterator[tuple[int, Counts]]:
        """(pane, counts by cohort), of keys that hold a pane."""
        panes = self.keys & _PANE
        for pane in np.unique(panes).tolist():
            one = self.select(panes == pane)
            yield pane, one.remap(one.keys >> PANE_BITS)

    def within(self, panes: range) -> Counts:
        """What falls in these panes."""
        pane = self.keys & _PANE
        return self.select((pane >= panes.start) & (pane < panes.stop)) if len(self) else self


def _grouped(keys: tuple[Ints, ...], values: Whole) -> tuple[tuple[Ints, ...], Whole]:
    """Sum what has equal keys, ascending by the first; drop what comes to nothing."""
    if not len(values):
        return keys, values
    order = np.lexsort(keys[::-1])
    keys = tuple(key[order] for key in keys)
    new = np.ones(len(order), np.bool_)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    starts = np.flatnonzero(new)
    sums = whole.runs(values[order], starts)
    some = (sums != 0).any(axis=1)
    return tuple(key[starts[some]] for key in keys), sums[some]
