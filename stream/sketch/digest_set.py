"""Many t-digests in one struct of arrays: every operation is one numpy pass over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.sketch.compress import cluster_starts, is_atom, ranks, rounded
from stream.sketch.order import segmented_order

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


_AT_ONCE = 50_000
"""Centroids that are merged in one go: more of them take more memory than a merge is worth, and leave the
processor's caches."""


class Mergeable(Protocol):
    """A set of digests of which some can be had: a DigestSet, or one at rest."""

    def __len__(self) -> int: ...

    @property
    def keys(self) -> Ints: ...

    @property
    def centroids(self) -> int: ...

    @property
    def sizes(self) -> Ints:
        """[k] centroids of each."""
        ...

    def between(self, low: float, high: float) -> DigestSet:
        """The digests with low < key ≤ high."""
        ...

    def of(self, keys: Ints) -> DigestSet:
        """The digests of those of the ascending ``keys`` that there are."""
        ...


def places_of(wanted: Ints, keys: Ints) -> Ints:
    """Where in the ascending ``keys`` those of the ascending ``wanted`` are that are among them."""
    places = np.searchsorted(keys, wanted)
    there = places < len(keys)
    there[there] = keys[places[there]] == wanted[there]
    return places[there]


def gathered(starts: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Runs of centroids, one after the other: their offsets, and where each centroid comes from."""
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)


def _sums(values: Floats, weights: Floats | None, starts: Ints) -> Floats:
    """Weighted sums of runs; at most the largest number there is, as of latencies around it."""
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(values if weights is None else values * weights, starts)
    return np.asarray(np.minimum(sums, np.finfo(np.float64).max))


@dataclass(slots=True, eq=False)
class DigestSet:
    """k digests, one for each key, with n centroids in all.

    Quantiles follow Hazen: of n values the i-th smallest (from 1) sits at rank (i − ½)/n, with straight lines
    between neighbours; many equal values (an atom) span their ranks as a step.
    """

    keys: Ints
    """[k], ascending, distinct."""
    count: Ints
    """[k] number of values, unweighted."""
    weight: Floats
    """[k] Σw."""
    total: Floats
    """[k] Σw·x."""
    low: Floats
    """[k] smallest value, exact; ``high`` the largest."""
    high: Floats
    offsets: Ints
    """[k+1] where each digest's centroids lie in ``means`` and ``weights``."""
    means: Floats
    """[n], ascending within a digest."""
    weights: Floats

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def centroids(self) -> int:
        return len(self.means)

    @property
    def sizes(self) -> Ints:
        """[k] centroids of each."""
        return np.diff(self.offsets).astype(np.int64)

    @classmethod
    def empty(cls) -> DigestSet:
        i, f = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(i, i, f, f, f, f, np.zeros(1, np.int64), f, f)

    @classmethod
    def from_values(cls, keys: Ints, values: Floats, weights: Floats | None = None) -> DigestSet:
        """Digests of values by key; int64[n], finite float64[n] ≥ 0, weights > 0 (None: all 1).

        A function of the set of (key, value, weight): their order does not matter.
        """
        if not len(keys):
            return cls.empty()
        weights = np.ones(len(values)) if weights is None else weights
        distinct, segment = np.unique(keys, return_inverse=True)
        # Adding zero turns −0.0 into 0.0, whose bits sort as its value does.
        order = segmented_order(segment.astype(np.int64), values + 0.0)
        segment, values, weights = segment[order], values[order] + 0.0, weights[order]
        offsets = np.searchsorted(segment, np.arange(len(distinct) + 1))
        return cls._compressed(
            distinct,
            np.diff(offsets),
            _sums(values, weights, offsets[:-1]),
            values[offsets[:-1]],
            values[offsets[1:] - 1],
            segment,
            values,
            weights,
        )

    @classmethod
    def merge(cls, sets: Sequence[Mergeable]) -> DigestSet:
        """The union of keys, digests of equal keys merged; the order of ``sets`` does not matter."""
        sets = [one for one in sets if len(one)]
        shares = sum(one.centroids for one in sets) // _AT_ONCE + 1
        edges: list[float] = []
        if len(sets) > 1 and shares > 1:
            keys = np.concatenate([one.keys for one in sets])
            edges = np.unique(np.quantile(keys, np.arange(1, shares) / shares)).tolist()
        spans = pairwise([-np.inf, *edges, np.inf])
        parts = [cls._merge_at_once([one.between(*span) for one in sets]) for span in spans]
        return parts[0] if len(parts) == 1 else cls._joined(parts)

    @classmethod
    def _merge_at_once(cls, sets: Sequence[DigestSet]) -> DigestSet:
        sets = [one for one in sets if len(one.keys)]
        if len(sets) <= 1:
            return sets[0] if sets else cls.empty()
        keys = np.concatenate([one.keys for one in sets])
        return cls._merged(
            keys,
            np.concatenate([one.count for one in sets]),
            np.concatenate([one.total for one in sets]),
            np.concatenate([one.low for one in sets]),
            np.concatenate([one.high for one in sets]),
            np.concatenate([one.sizes for one in sets]),
            np.concatenate([one.means for one in sets]),
            np.concatenate([one.weights for one in sets]),
        )

    def between(self, low: float, high: float) -> DigestSet:
        """The digests with low < key ≤ high, as views."""
        a, b = np.searchsorted(self.keys, (low, high), "right")
        first, last = self.offsets[a], self.offsets[b]
        return DigestSet(
            self.keys[a:b],
            self.count[a:b],
            self.weight[a:b],
            self.total[a:b],
            self.low[a:b],
            self.high[a:b],
            self.offsets[a : b + 1] - first,
            self.means[first:last],
            self.weights[first:last],
        )

    @classmethod
    def _joined(cls, parts: Sequence[DigestSet]) -> DigestSet:
        """Sets one after the other, keys ascending over all of them."""
        names = ("keys", "count", "weight", "total", "low", "high", "means", "weights")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        sizes = np.concatenate([part.sizes for part in parts])
        return cls(**columns, offsets=np.concatenate(([0], np.cumsum(sizes))))

    @classmethod
    def _merged(
        cls,
        keys: Ints,
        count: Ints,
        total: Floats,
        low: Floats,
        high: Floats,
        sizes: Ints,
        means: Floats,
        weights: Floats,
    ) -> DigestSet:
        """Digests whose keys may repeat, in any order, merged by key."""
        distinct, place = np.unique(keys, return_inverse=True)
        # Sums of floats depend on their order: fix it by value.
        rank = np.lexsort((total, place))
        starts = np.searchsorted(place[rank], np.arange(len(distinct)))
        segment = np.repeat(place, sizes).astype(np.int64)
        order = segmented_order(segment, means, weights.astype(np.float32))
        return cls._compressed(
            distinct,
            np.add.reduceat(count[rank], starts),
            _sums(total[rank], None, starts),
            np.minimum.reduceat(low[rank], starts),
            np.maximum.reduceat(high[rank], starts),
            segment[order],
            means[order],
            weights[order],
        )

    @classmethod
    def _compressed(
        cls,
        keys: Ints,
        count: Ints,
        total: Floats,
        low: Floats,
        high: Floats,
        segment: Ints,
        means: Floats,
        weights: Floats,
    ) -> DigestSet:
        """Digests from sorted centroids: equal values become one first, then clusters are formed."""
        new = np.ones(len(means), np.bool_)
        new[1:] = (means[1:] != means[:-1]) | (segment[1:] != segment[:-1])
        if not new.all():
            starts = np.flatnonzero(new)
            segment, means, weights = segment[starts], means[starts], np.add.reduceat(weights, starts)
        offsets = np.searchsorted(segment, np.arange(len(keys) + 1))
        starts = np.flatnonzero(cluster_starts(offsets, weights))
        if len(starts) < len(means):
            ends = np.append(starts[1:], len(means)) - 1
            heavier = np.add.reduceat(weights, starts)
            # Rounding must not carry a mean past the values it stands for.
            least, most = means[starts], means[ends]
            averages = np.clip(_sums(means, weights, starts) / heavier, least, most)
            means = rounded(averages, least, most)
            segment, weights = segment[starts], heavier
            offsets = np.searchsorted(segment, np.arange(len(keys) + 1))
        weight = np.add.reduceat(weights, offsets[:-1])
        return cls(keys, count, weight, total, low, high, offsets, means, weights)

    def remap(self, new_keys: Ints) -> DigestSet:
        """The same digests under other keys, one for each digest; those that share a key merge."""
        if not len(self.keys):
            return self
        if (new_keys[1:] > new_keys[:-1]).all():
            return DigestSet(
                new_keys.astype(np.int64),
                self.count,
                self.weight,
                self.total,
                self.low,
                self.high,
                self.offsets,
                self.means,
                self.weights,
            )
        return DigestSet._merged(
            new_keys.astype(np.int64),
            self.count,
            self.total,
            self.low,
            self.high,
            self.sizes,
            self.means,
            self.weights,
        )

    def of(self, keys: Ints) -> DigestSet:
        """The digests of those of the ascending ``keys`` that there are."""
        return self._take(places_of(keys, self.keys))

    def select(self, which: NDArray[np.bool_]) -> DigestSet:
        """The digests of a mask over keys."""
        return self if which.all() else self._take(np.flatnonzero(which))

    def _take(self, places: Ints) -> DigestSet:
        """The digests at ascending places."""
        starts = self.offsets[places]
        offsets, mine = gathered(starts, self.offsets[places + 1] - starts)
        return DigestSet(
            self.keys[places],
            self.count[places],
            self.weight[places],
            self.total[places],
            self.low[places],
            self.high[places],
            offsets,
            self.means[mine],
            self.weights[mine],
        )

    def averages(self) -> Floats:
        """[k] weighted mean of all values, within [low, high]."""
        return np.clip(self.total / self.weight, self.low, self.high)

    def quantiles(self, qs: Sequence[float]) -> Floats:
        """float64[k, len(qs)], ascending where ``qs`` are, within [low, high]; ``qs`` in [0, 1]."""
        if not len(self.keys):
            return np.empty((0, len(qs)))
        sizes = self.sizes
        lower, upper, whole = ranks(self.offsets, self.weights)
        below, above = lower / whole, upper / whole
        middle = (below + above) / 2
        step = is_atom(middle, whole, self.weights)
        step &= self.weights > np.repeat(self.weight / self.count, sizes)
        knot = np.empty(2 * len(self.means))
        knot[0::2], knot[1::2] = np.where(step, below, middle), np.where(step, above, middle)
        value = np.repeat(self.means, 2)
        number = np.repeat(np.arange(len(self.keys)), 2 * sizes)
        wanted = np.asarray(qs, np.float64)
        found = np.searchsorted(number + knot, (np.arange(len(self.keys))[:, None] + wanted).ravel(), "right")
        first, last = np.repeat(2 * self.offsets[:-1], len(qs)), np.repeat(2 * self.offsets[1:] - 1, len(qs))
        right = np.clip(found, first, last)
        left = np.clip(found - 1, first, last)
        width = knot[right] - knot[left]
        q = np.tile(wanted, len(self.keys))
        share = np.clip((q - knot[left]) / np.where(width > 0, width, 1), 0, 1)
        result = (value[left] + share * (value[right] - value[left])).reshape(len(self.keys), len(qs))
        return np.clip(result, self.low[:, None], self.high[:, None])
