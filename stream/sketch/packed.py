"""Digests at rest: a DigestSet in a third to a fifth of its bytes, and back to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch.digest_set import DigestSet, gathered, places_of
from stream.sketch.narrow import Column, Ints, narrow_ints


@dataclass(frozen=True, slots=True, eq=False)
class PackedDigests:
    """The columns of a :class:`DigestSet`; weights of whole digests follow from those of their centroids."""

    held_keys: NDArray[np.generic]
    counts: NDArray[np.generic]
    ends: NDArray[np.uint32]
    """[k] where each digest's centroids end."""
    total: Column
    low: Column
    high: Column
    means: Column
    weights: Column

    @classmethod
    def pack(cls, digests: DigestSet) -> PackedDigests:
        return cls(
            narrow_ints(digests.keys),
            narrow_ints(digests.count),
            digests.offsets[1:].astype(np.uint32),
            Column.plain(digests.total),
            *(Column.of(c) for c in (digests.low, digests.high, digests.means, digests.weights)),
        )

    def __len__(self) -> int:
        return len(self.held_keys)

    @property
    def keys(self) -> Ints:
        return self.held_keys.astype(np.int64)

    @property
    def centroids(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def sizes(self) -> Ints:
        """[k] centroids of each."""
        return np.diff(self.ends.astype(np.int64), prepend=0).astype(np.int64)

    @property
    def nbytes(self) -> int:
        columns = (self.total, self.low, self.high, self.means, self.weights)
        return sum(c.nbytes for c in (self.held_keys, self.counts, self.ends, *columns))

    def between(self, low: float, high: float) -> DigestSet:
        """The digests with low < key ≤ high."""
        a, b = (int(place) for place in np.searchsorted(self.held_keys, (low, high), "right"))
        return self._run(a, b)

    def of(self, keys: Ints) -> DigestSet:
        """The digests of those of the ascending ``keys`` that there are."""
        rows = places_of(keys, self.keys)
        ends = self.ends.astype(np.int64)
        starts = np.concatenate(([0], ends[:-1]))[rows]
        offsets, mine = gathered(starts, ends[rows] - starts)
        weights = self.weights.at(mine)
        return DigestSet(
            self.held_keys[rows].astype(np.int64),
            self.counts[rows].astype(np.int64),
            np.add.reduceat(weights, offsets[:-1]) if len(rows) else np.empty(0),
            self.total.at(rows),
            self.low.at(rows),
            self.high.at(rows),
            offsets,
            self.means.at(mine),
            weights,
        )

    def unpacked(self) -> DigestSet:
        return self._run(0, len(self))

    def _run(self, a: int, b: int) -> DigestSet:
        if a >= b:
            return DigestSet.empty()
        first, last = int(self.ends[a - 1]) if a else 0, int(self.ends[b - 1])
        offsets = np.concatenate(([0], self.ends[a:b].astype(np.int64) - first))
        weights = self.weights.numbers(first, last)
        return DigestSet(
            self.held_keys[a:b].astype(np.int64),
            self.counts[a:b].astype(np.int64),
            np.add.reduceat(weights, offsets[:-1]),
            self.total.numbers(a, b),
            self.low.numbers(a, b),
            self.high.numbers(a, b),
            offsets,
            self.means.numbers(first, last),
            weights,
        )
