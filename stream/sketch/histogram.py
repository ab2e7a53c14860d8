"""Log histograms of latencies, many in one struct of arrays, that merge exactly in any order.

Digests show percentiles; histograms compare tracks: as everybody's buckets are the same, a test on counts in
buckets is exact, and nothing depends on how events were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch import whole
from stream.sketch.buckets import SPAN_BITS, ZERO, Floats, Ints, buckets_of, middles
from stream.sketch.digest_set import gathered, places_of
from stream.sketch.whole import Whole

ONE = 1_000_000
"""The weight of a request that stands for itself: weights are whole millionths, as in the contract."""
SQUARE = 16
"""Squares of weights are kept in sixteenths: exact for whole weights, within 3 % for all others."""
_MOST_KEY = 1 << (63 - SPAN_BITS)


@dataclass(frozen=True, slots=True, eq=False)
class HistogramSet:
    """k histograms, one for each key, with n filled buckets in all."""

    keys: Ints
    """[k], ascending, distinct, 0 ≤ key < 2^52."""
    count: Ints
    """[k] number of values, unweighted."""
    squares: Whole
    """[k] Σw² in sixteenths."""
    offsets: Ints
    """[k+1] where each histogram's buckets lie in ``buckets`` and ``weights``."""
    buckets: NDArray[np.int32]
    """[n], ascending within a histogram."""
    weights: Whole
    """[n] Σw in millionths, > 0."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def sizes(self) -> Ints:
        """[k] filled buckets of each."""
        return np.diff(self.offsets)

    @classmethod
    def empty(cls) -> HistogramSet:
        i = np.empty(0, np.int64)
        return cls(i, i, i, np.zeros(1, np.int64), np.empty(0, np.int32), i)

    @classmethod
    def from_values(cls, keys: Ints, values: Floats, weights: Ints | None = None) -> HistogramSet:
        """Histograms of finite values ≥ 0 by key; weights in millionths, > 0 (None: all of them ``ONE``)."""
        if not len(keys):
            return cls.empty()
        words = _words(keys, buckets_of(values))
        if weights is None or (weights == weights[0]).all():
            each = ONE if weights is None else int(weights[0])
            words.sort()
            starts = _starts(words)
            counts = np.diff(starts, append=len(words))
            return cls._grouped(words, starts, whole.times(counts, each), squares_of(each))
        order = np.argsort(words, kind="stable")
        words, weights = words[order], weights[order]
        starts = _starts(words)
        return cls._grouped(words, starts, whole.runs(weights, starts), squares_of(weights))

    @classmethod
    def _grouped(cls, words: Ints, starts: Ints, weights: Whole, squares: Ints) -> HistogramSet:
        """Of sorted words; ``starts`` of the equal ones; squares of each word, or of every one."""
        distinct = words[starts]
        firsts = _starts(distinct >> SPAN_BITS)
        of_keys = starts[firsts]
        count = np.diff(of_keys, append=len(words))
        return cls(
            distinct[firsts] >> SPAN_BITS,
            count,
            whole.runs(squares, of_keys) if squares.ndim else whole.times(count, int(squares)),
            np.append(firsts, len(distinct)),
            _bucket(distinct),
            weights,
        )

    @classmethod
    def merge(cls, sets: Sequence[HistogramSet]) -> HistogramSet:
        """The union of keys, equal keys added up; the order of ``sets`` does not matter."""
        sets = [one for one in sets if len(one)]
        if len(sets) <= 1:
            return sets[0] if sets else cls.empty()
        keys = np.concatenate([one.keys for one in sets])
        words = np.concatenate([one._all_words() for one in sets])
        weights = np.concatenate([one.weights for one in sets])
        # Sorted runs, one after the other, are what a stable sort is quick at.
        order, by_key = np.argsort(words, kind="stable"), np.argsort(keys, kind="stable")
        starts = _starts(words[order])
        distinct = words[order][starts]
        firsts = _starts(keys[by_key])
        merged = keys[by_key][firsts]
        return cls(
            merged,
            np.add.reduceat(np.concatenate([one.count for one in sets])[by_key], firsts),
            whole.runs(np.concatenate([one.squares for one in sets])[by_key], firsts),
            # Not where the words' keys change: a histogram may be empty.
            np.append(np.searchsorted(distinct >> SPAN_BITS, merged), len(distinct)),
            _bucket(distinct),
            whole.runs(weights[order], starts),
        )

    def minus(self, part: HistogramSet) -> HistogramSet:
        """Without ``part``, which must have been merged into this. Raises ValueError when something in it is
        not."""
        if not len(part):
            return self
        words = np.concatenate([self._all_words(), part._all_words()])
        order = np.argsort(words, kind="stable")
        starts = _starts(words[order])
        weights = whole.runs(np.concatenate([self.weights, -part.weights])[order], starts)
        if (weights < 0).any() or not np.isin(part.keys, self.keys).all():
            raise ValueError("a histogram is less than a part of it")
        rows = np.searchsorted(self.keys, part.keys)
        count = self.count.copy()
        count[rows] -= part.count
        # State of format 3 has no squares beyond 2⁶², and so less than a part that came later may have.
        taken = whole.placed(self.squares.shape, rows, -part.squares)
        squares = np.maximum(whole.added(self.squares, taken), 0)
        left = words[order][starts][weights > 0]
        sizes = np.bincount(np.searchsorted(self.keys, left >> SPAN_BITS), minlength=len(self.keys))
        kept = sizes > 0
        if ((count > 0) != kept).any() or (count < 0).any():
            raise ValueError("a histogram is less than a part of it")
        offsets = np.concatenate(([0], np.cumsum(sizes[kept])))
        weights = weights[weights > 0]
        return HistogramSet(self.keys[kept], count[kept], squares[kept], offsets, _bucket(left), weights)

    def _all_words(self) -> Ints:
        return _words(np.repeat(self.keys, self.sizes), self.buckets)

    def remap(self, new_keys: Ints) -> HistogramSet:
        """The same histograms under other keys, one for each; those that share a key are added up."""
        order = np.argsort(new_keys, kind="stable")
        offsets, mine = gathered(self.offsets[order], self.sizes[order])
        moved = HistogramSet(
            new_keys[order].astype(np.int64),
            self.count[order],
            self.squares[order],
            offsets,
            self.buckets[mine],
            self.weights[mine],
        )
        if (np.diff(moved.keys) > 0).all():
            return moved
        # Equal keys are never in one set: take each key's first, second, … apart.
        firsts = _starts(moved.keys)
        nth = np.arange(len(moved)) - np.repeat(firsts, np.diff(firsts, append=len(moved)))
        return HistogramSet.merge([moved.select(nth == n) for n in range(int(nth.max()) + 1)])

    def of(self, keys: Ints) -> HistogramSet:
        """The histograms of those of the ascending ``keys`` that there are."""
        return self._take(places_of(keys, self.keys))

    def select(self, which: NDArray[np.bool_]) -> HistogramSet:
        """The histograms of a mask over keys."""
        return self if which.all() else self._take(np.flatnonzero(which))

    def aligned(self, keys: Ints) -> HistogramSet:
        """One histogram for each of the ascending ``keys``, empty where there is none."""
        rows = np.searchsorted(keys, self.keys)
        there = rows < len(keys)
        there[there] = keys[rows[there]] == self.keys[there]
        found, rows = self.select(there), rows[there]
        columns = np.zeros((2, len(keys)), np.int64)
        columns[:, rows] = found.count, found.sizes
        squares = whole.placed(keys.shape, rows, found.squares)
        offsets = np.concatenate(([0], np.cumsum(columns[1])))
        return HistogramSet(keys, columns[0], squares, offsets, found.buckets, found.weights)

    def numbered(self) -> HistogramSet:
        """The same histograms under the keys 0, 1, …"""
        keys = np.arange(len(self))
        return HistogramSet(keys, self.count, self.squares, self.offsets, self.buckets, self.weights)

    def _take(self, places: Ints) -> HistogramSet:
        offsets, mine = gathered(self.offsets[places], self.sizes[places])
        return HistogramSet(
            self.keys[places],
            self.count[places],
            self.squares[places],
            offsets,
            self.buckets[mine],
            self.weights[mine],
        )

    def totals(self) -> Whole:
        """[k] Σw in millionths."""
        return whole.narrowed(np.diff(whole.running(self.weights)[self.offsets]))

    def effective_sizes(self) -> Floats:
        """[k] Kish's effective size (Σw)²/Σw²: as many unweighted values say as much; at most the count."""
        totals = whole.floats(self.totals()) / ONE
        squares = np.maximum(whole.floats(self.squares), 1) / SQUARE
        return np.minimum(totals * totals / squares, self.count)

    def quantile_buckets(self, p: float) -> NDArray[np.int32]:
        """[k] the first bucket up to which at least a share ``p`` of the weight lies; ZERO of nothing."""
        if not len(self.weights):
            return np.full(len(self), ZERO, np.int32)
        sums = whole.running(self.weights)
        below, above = sums[self.offsets[:-1]], sums[self.offsets[1:]]
        places = whole.least_from(sums, below, np.maximum(p * whole.floats(above - below), 1)) - 1
        places = np.clip(places, self.offsets[:-1], np.maximum(self.offsets[1:] - 1, self.offsets[:-1]))
        found = self.buckets[np.minimum(places, len(self.buckets) - 1)]
        return np.where(self.sizes > 0, found, ZERO).astype(np.int32)

    def quantiles(self, p: float) -> Floats:
        """[k] the middle of the bucket of each p-quantile: within 0.6 % of the inverse of the empirical
        distribution; 0 of nothing."""
        return middles(self.quantile_buckets(p))

    def one(self, key: int) -> LogHistogram:
        found = self.of(np.array([key], np.int64))
        return LogHistogram(found.remap(np.zeros(len(found), np.int64)))

    def __iter__(self) -> Iterator[tuple[int, LogHistogram]]:
        return ((key, self.one(key)) for key in self.keys.tolist())


@dataclass(frozen=True, slots=True, eq=False)
class LogHistogram:
    """One histogram: a set of at most one key, 0."""

    alone: HistogramSet

    @classmethod
    def empty(cls) -> LogHistogram:
        return cls(HistogramSet.empty())

    def add(self, values: Floats, weights: Ints | None = None) -> LogHistogram:
        """With these values in it as well."""
        more = HistogramSet.from_values(np.zeros(len(values), np.int64), values, weights)
        return LogHistogram(HistogramSet.merge([self.alone, more]))

    def merge(self, other: LogHistogram) -> LogHistogram:
        return LogHistogram(HistogramSet.merge([self.alone, other.alone]))

    @property
    def count(self) -> int:
        return int(self.alone.count.sum())

    @property
    def buckets(self) -> NDArray[np.int32]:
        return self.alone.buckets

    @property
    def weights(self) -> Whole:
        return self.alone.weights

    @property
    def effective_size(self) -> float:
        return float(self.alone.effective_sizes().sum())

    def quantile(self, p: float) -> float | None:
        """As :meth:`HistogramSet.quantiles`; None of nothing."""
        return float(self.alone.quantiles(p)[0]) if self.count else None


def _words(keys: Ints, buckets: NDArray[np.int32]) -> Ints:
    """Key and bucket in one word that sorts as both do."""
    assert not len(keys) or int(keys.min()) >= 0, "a negative key"
    assert not len(keys) or int(keys.max()) < _MOST_KEY, "a key of more than 52 bits"
    return (keys << SPAN_BITS) | (buckets.astype(np.int64) - ZERO)


def _bucket(words: Ints) -> NDArray[np.int32]:
    return ((words & ((1 << SPAN_BITS) - 1)) + ZERO).astype(np.int32)


def _starts(ordered: Ints) -> Ints:
    """Where runs of equal numbers begin; of no numbers none does."""
    begins = np.ones(len(ordered), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(begins)


def squares_of(weights: Ints | int) -> Ints:
    """w² in sixteenths, of weights in millionths."""
    share = np.asarray(weights, np.float64) / ONE
    return np.asarray(np.rint(share * share * SQUARE), np.int64)
