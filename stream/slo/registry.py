"""Series and their columns as small numbers, bounded: over the limit a series is folded into ``__other__``.

Folding costs only names: an SLO's counts go by the real series, so they stay exact; contributors and
percentiles then show ``__other__`` where the endpoint was.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stream.slo.catalog import Catalog
from stream.wire.frame import SeriesKey

OTHER = "__other__"

Rows = tuple[int, ...]


class Registry:
    """Numbers of (series, column) pairs, and the SLO rows that each of them feeds."""

    def __init__(self, catalog: Catalog, max_series: int) -> None:
        self.catalog = catalog
        self.max_series = max_series
        self.overflowed = 0
        """Look-ups that were folded."""
        self._series: set[SeriesKey] = set()
        self._pairs: dict[tuple[SeriesKey, str], int] = {}
        self._folded: dict[tuple[SeriesKey, str, Rows], int] = {}
        self._twins: dict[int, tuple[SeriesKey, str, Rows]] = {}
        """Folded pairs that a change of the SLO files made equal to another: they keep their numbers."""
        self._free: list[int] = []
        self._name: list[tuple[SeriesKey, str]] = []
        self._rows: list[Rows] = []
        self._first_row = np.empty(0, np.int64)
        self.pairs_of_row: dict[int, set[int]] = {}

    def __len__(self) -> int:
        """Series that are kept apart."""
        return len(self._series)

    def pair(self, series: SeriesKey, column: str) -> int:
        """Number of the pair; a new one if it is unknown and there is room."""
        known = self._pairs.get((series, column))
        if known is not None:
            return known
        rows = tuple(self.catalog.rows_of_column(series, column))
        if series not in self._series and len(self._series) >= self.max_series:
            self.overflowed += 1
            other = fold(series)
            number = self._folded.get((other, column, rows))
            if number is None:
                number = self._folded[other, column, rows] = self._number(other, column, rows)
            return number
        self._series.add(series)
        number = self._pairs[series, column] = self._number(series, column, rows)
        return number

    def is_folded(self, pair: int) -> bool:
        """Whether the number stands for series that there was no room for."""
        return self._pairs.get(self._name[pair]) != pair

    def _number(self, series: SeriesKey, column: str, rows: Rows) -> int:
        if self._free:
            number = self._free.pop()
        else:
            number = len(self._name)
            self._name.append((series, column))
            self._rows.append(rows)
        self._assign(number, series, column, rows)
        return number

    def _assign(self, number: int, series: SeriesKey, column: str, rows: Rows) -> None:
        self._name[number], self._rows[number] = (series, column), rows
        if number >= len(self._first_row):
            grown = np.full(max(1024, 2 * number), -1, np.int64)
            grown[: len(self._first_row)] = self._first_row
            self._first_row = grown
        self._first_row[number] = rows[0] if len(rows) == 1 else -1
        for row in rows:
            self.pairs_of_row.setdefault(row, set()).add(number)

    def named(self) -> Iterator[tuple[int, tuple[SeriesKey, str, Rows | None]]]:
        """(number, (series, column, rows of a folded pair)) of every pair in use."""
        for (series, column), number in self._pairs.items():
            yield number, (series, column, None)
        for (series, column, rows), number in self._folded.items():
            yield number, (series, column, rows)
        yield from self._twins.items()

    def restore(self, number: int, series: SeriesKey, column: str, folded: Rows | None) -> None:
        """Number a pair as state records have it; numbers come in any order. ``folded``: its rows, for the
        name ``__other__`` does not tell which objectives look at it."""
        while len(self._name) <= number:
            self._free.append(len(self._name))
            self._name.append((series, column))
            self._rows.append(())
        self._free.remove(number)
        rows = tuple(self.catalog.rows_of_column(series, column)) if folded is None else folded
        self._assign(number, series, column, rows)
        if folded is not None:
            if self._folded.setdefault((series, column, rows), number) != number:
                self._twins[number] = series, column, rows
        else:
            self._series.add(series)
            self._pairs[series, column] = number

    def name(self, pair: int) -> tuple[SeriesKey, str]:
        return self._name[pair]

    def expand(self, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(place, row): for each place in ``pairs``, every row that its pair feeds."""
        row = self._first_row[pairs] if len(pairs) else np.empty(0, np.int64)
        single = np.flatnonzero(row >= 0)
        if len(single) == len(pairs):
            return single, row
        several = [(int(p), r) for p in np.flatnonzero(row < 0) for r in self._rows[pairs[p]]]
        extra = np.array(several, np.int64).reshape(-1, 2)
        return np.concatenate([single, extra[:, 0]]), np.concatenate([row[single], extra[:, 1]])

    def forget_all_but(self, alive: set[int]) -> None:
        """Give the numbers of pairs that no pane holds any more free for others."""
        gone = {*self._pairs.values(), *self._folded.values(), *self._twins} - alive
        self._pairs = {key: number for key, number in self._pairs.items() if number not in gone}
        self._folded = {key: number for key, number in self._folded.items() if number not in gone}
        self._twins = {number: key for number, key in self._twins.items() if number not in gone}
        for number in gone:
            for row in self._rows[number]:
                self.pairs_of_row[row].discard(number)
        self._free += gone
        self._series = {series for series, _ in self._pairs}


def fold(series: SeriesKey) -> SeriesKey:
    """The series that stands for all those there was no room for: service and track are kept."""
    namespace, service, _, _, _, track = series
    return namespace, service, OTHER, "", "", track
