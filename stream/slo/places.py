"""Series as partials name them, to what a shard knows of them: one look-up each, the rest by arrays.

With 100,000 series nearly every event is an entry of its own, and what is done for each entry's series is
what stage two costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.slo.registry import Registry
from stream.wire.frame import SeriesKey, unpack_series

Ints = NDArray[np.int64]
Version = tuple[str, str, str]
"""(namespace, service, version)."""

_UNKNOWN = -1
_SPARE = 2
"""Forgotten as a whole when it holds so many times the series that the registry keeps apart."""


class Places:
    """Packed series, numbered as they come; a memory only: it can be emptied at any time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.clear()

    def clear(self) -> None:
        """Forget everything: numbers given before mean nothing any more."""
        self._place: dict[bytes, int] = {}
        self._keys: list[SeriesKey] = []
        self._version = np.empty(0, np.int64)
        self._versions: list[Version] = []
        self._version_ids: dict[Version, int] = {}
        self._pairs: dict[str, Ints] = {}

    def of(self, series: Sequence[bytes]) -> Ints:
        """Places of packed series, for the other methods."""
        if len(self._place) > _SPARE * self._registry.max_series:
            self.clear()
        known = self._place
        found = [known.get(packed, _UNKNOWN) for packed in series]
        if _UNKNOWN in found:
            first = len(self._keys)
            for i, packed in enumerate(series):
                if found[i] == _UNKNOWN:
                    found[i] = known[packed] = len(self._keys)
                    self._keys.append(unpack_series(packed))
            self._learn(first)
        return np.array(found, np.int64)

    def _learn(self, first: int) -> None:
        versions = [self._version_number(key) for key in self._keys[first:]]
        self._version = _grown(self._version, len(self._keys))
        self._version[first : len(self._keys)] = versions
        for column, pairs in self._pairs.items():
            self._pairs[column] = _grown(pairs, len(self._keys))

    def _version_number(self, key: SeriesKey) -> int:
        namespace, service, _, _, version, track = key
        if not version or track == "shadow":  # it serves nobody
            return _UNKNOWN
        number = self._version_ids.setdefault((namespace, service, version), len(self._versions))
        if number == len(self._versions):
            self._versions.append((namespace, service, version))
        return number

    def version_numbers(self, places: Ints) -> Ints:
        """Numbers for :meth:`version`; negative where a series has none."""
        return self._version[places]

    def version(self, number: int) -> Version:
        return self._versions[number]

    def pairs(self, places: Ints, column: str) -> Ints:
        """The registry's numbers of distinct series' pairs with a column. Those of series that are folded are
        asked for each time: they are counted."""
        if column not in self._pairs:
            self._pairs[column] = _grown(np.empty(0, np.int64), len(self._keys))
        known = self._pairs[column]
        numbers = known[places]
        for i in np.flatnonzero(numbers == _UNKNOWN).tolist():
            place = int(places[i])
            numbers[i] = pair = self._registry.pair(self._keys[place], column)
            if not self._registry.is_folded(pair):
                known[place] = pair
        return numbers


def _grown(array: Ints, length: int) -> Ints:
    """A copy with room for so many, what is new unknown; the array itself if it is large enough."""
    if length <= len(array):
        return array
    grown = np.full(max(1024, 2 * length), _UNKNOWN, np.int64)
    grown[: len(array)] = array
    return grown
