"""What a margin makes of a value, in whole buckets: "worse than Q by more than the margin" begins where?

A quantile somewhere in bucket j may be exceeded up to a value somewhere between the buckets ``low(j)`` and
``high(j)``. Tests take the end that speaks against them, so that buckets cost no error. Buckets are numbered
from 0 (the bucket of zero) here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.sketch.buckets import HIGHEST, ZERO, buckets_of, shift_of_ratio, upper_edges

Ints = NDArray[np.int64]

LAST = HIGHEST - ZERO
_WIDTH = LAST + 1
_APART = 2 * _WIDTH


class MarginMap(Protocol):
    """For each row a pair of maps from bucket to bucket; neither ever falls."""

    def high(self, rows: Ints, j: Ints) -> Ints:
        """The last bucket in which a value within the margin of one in bucket ``j`` can lie."""
        ...

    def low(self, rows: Ints, j: Ints) -> Ints:
        """The first bucket in which a value at the margin's end from one in bucket ``j`` can lie."""
        ...

    def first_reaching(self, rows: Ints, bucket: Ints) -> Ints:
        """The least j with high(j) ≥ bucket."""
        ...

    def last_within(self, rows: Ints, bucket: Ints) -> Ints:
        """The largest j with low(j) ≤ bucket; 0 if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Shifted:
    """Values may grow by a factor of so many whole buckets, by row; negative: they must shrink."""

    shift: Ints

    def high(self, rows: Ints, j: Ints) -> Ints:
        moved = np.clip(j + self.shift[rows], 1, LAST)
        return np.where((j == 0) | (j == LAST), j, moved)

    def low(self, rows: Ints, j: Ints) -> Ints:
        return np.where(j <= 1, j, np.clip(j + self.shift[rows], 1, LAST))

    def first_reaching(self, rows: Ints, bucket: Ints) -> Ints:
        return np.where(bucket <= 1, bucket, np.clip(bucket - self.shift[rows], 1, LAST))

    def last_within(self, rows: Ints, bucket: Ints) -> Ints:
        inner = np.clip(bucket - self.shift[rows], 1, LAST)
        return np.where(bucket == 0, 0, np.where(bucket == LAST, LAST, inner))


@dataclass(frozen=True, slots=True, eq=False)
class Allowance:
    """Values may grow by a ratio, or by so many ms where that is more; the same for all rows.

    The ratio is rounded up to whole buckets, to where less is called a harm.
    """

    highs: Ints
    lows: Ints

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, ratio: float, floor_ms: float) -> Allowance:
        assert ratio >= 1, "a margin that asks for an improvement"
        assert floor_ms >= 0, "a negative margin"
        shifted = Shifted(np.array([shift_of_ratio(ratio)]))
        j = np.arange(LAST + 1)
        row = np.zeros_like(j)
        edges = upper_edges(j + ZERO)
        highs = _bucket(edges + floor_ms)
        lows = np.concatenate(([int(highs[0])], _bucket(np.nextafter(edges[:-1], np.inf) + floor_ms)))
        highs[LAST] = LAST
        return cls(np.maximum(highs, shifted.high(row, j)), np.maximum(lows, shifted.low(row, j)))

    def high(self, rows: Ints, j: Ints) -> Ints:
        return self.highs[j]

    def low(self, rows: Ints, j: Ints) -> Ints:
        return self.lows[j]

    def first_reaching(self, rows: Ints, bucket: Ints) -> Ints:
        return np.searchsorted(self.highs, bucket, "left")

    def last_within(self, rows: Ints, bucket: Ints) -> Ints:
        return np.maximum(np.searchsorted(self.lows, bucket, "right") - 1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Allowances:
    """Several allowances; each row has the one that ``which`` says."""

    highs: Ints
    """All of them, one after the other, each in its own range of numbers: ascending as a whole."""
    lows: Ints
    which: Ints

    @classmethod
    def of(cls, several: Sequence[Allowance], which: Ints) -> Allowances:
        """``several`` may be none, where no metric is a latency."""
        highs = [one.highs + i * _APART for i, one in enumerate(several)]
        lows = [one.lows + i * _APART for i, one in enumerate(several)]
        none = np.empty(0, np.int64)
        return cls(np.concatenate([none, *highs]), np.concatenate([none, *lows]), which)

    def high(self, rows: Ints, j: Ints) -> Ints:
        which = self.which[rows]
        return np.asarray(self.highs[which * _WIDTH + j] - which * _APART)

    def low(self, rows: Ints, j: Ints) -> Ints:
        which = self.which[rows]
        return np.asarray(self.lows[which * _WIDTH + j] - which * _APART)

    def first_reaching(self, rows: Ints, bucket: Ints) -> Ints:
        which = self.which[rows]
        return np.searchsorted(self.highs, which * _APART + bucket, "left") - which * _WIDTH

    def last_within(self, rows: Ints, bucket: Ints) -> Ints:
        which = self.which[rows]
        found = np.searchsorted(self.lows, which * _APART + bucket, "right") - 1 - which * _WIDTH
        return np.asarray(np.maximum(found, 0))

    def take(self, rows: Ints) -> Allowances:
        return Allowances(self.highs, self.lows, self.which[rows])


def _bucket(values: NDArray[np.float64]) -> Ints:
    return buckets_of(values).astype(np.int64) - ZERO
