"""A tally in the terms of one shard: rows of SLOs, numbered pairs, versions; to be added or taken back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream.slo.registry import Registry
from stream.wire.tally import Tally

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Counts:
    """Distinct (id, pane) in ascending order of pane, with counts: shape [n, 4] events, weight, bad events,
    bad weight; weights in millionths. An id is an SLO row or a pair."""

    id: Ints
    pane: Ints
    counts: Ints

    @classmethod
    def grouped(cls, ids: Ints, pane: Ints, counts: Ints) -> Counts:
        """Sum what falls on the same (id, pane); drop what comes to nothing."""
        order = np.lexsort((ids, pane))
        ids, pane, counts = ids[order], pane[order], counts[order]
        new = np.ones(len(ids), bool)
        new[1:] = (ids[1:] != ids[:-1]) | (pane[1:] != pane[:-1])
        starts = np.flatnonzero(new)
        if len(starts) < len(ids):
            ids, pane, counts = ids[starts], pane[starts], np.add.reduceat(counts, starts, axis=0)
        some = counts.any(axis=1)
        return cls(ids, pane, counts) if some.all() else cls(ids[some], pane[some], counts[some])

    def minus(self, other: Counts) -> Counts:
        if not len(other.id):
            return self
        return Counts.grouped(
            np.concatenate([self.id, other.id]),
            np.concatenate([self.pane, other.pane]),
            np.concatenate([self.counts, -other.counts]),
        )

    def between(self, first: int, last: int) -> Counts:
        """The panes in [first, last)."""
        a, b = np.searchsorted(self.pane, (first, last))
        return Counts(self.id[a:b], self.pane[a:b], self.counts[a:b])

    def by_pane(self) -> list[tuple[int, Ints, Ints]]:
        """(pane, ids, counts) of each pane."""
        if not len(self.pane):
            return []
        edges = [0, *(np.flatnonzero(self.pane[1:] != self.pane[:-1]) + 1), len(self.pane)]
        return [(int(self.pane[a]), self.id[a:b], self.counts[a:b]) for a, b in pairwise(edges)]


NOTHING = Counts(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4), np.int64))


@dataclass(frozen=True, slots=True)
class VersionSeen:
    namespace: str
    service: str
    version: str
    pane: int
    first_ms: int


@dataclass(slots=True)
class Contribution:
    """What a source partition's open chunk adds to the counts."""

    rows: Counts
    pairs: Counts
    versions: frozenset[VersionSeen]
    events: list[tuple[int, int]]
    """(pane, events), to count late ones."""


def contribution(tally: Tally, registry: Registry) -> Contribution:
    """Resolve a tally's own dictionaries into the shard's numbers."""
    series = tally.entry_series[tally.cell_entry]
    code, place = np.unique(series * len(tally.columns) + tally.cell_column, return_inverse=True)
    names, columns = tally.series, tally.columns
    numbers = np.array(
        [registry.pair(names[c // len(columns)], columns[c % len(columns)]) for c in code.tolist()], np.int64
    )
    pair = numbers[place] if len(numbers) else np.empty(0, np.int64)
    pane = tally.entry_pane[tally.cell_entry]
    counts = np.column_stack([tally.cell_events, tally.cell_weight, tally.cell_bad, tally.cell_bad_weight])
    at, row = registry.expand(pair)
    panes, where = np.unique(tally.entry_pane, return_inverse=True)
    events = np.zeros(len(panes), np.int64)
    np.add.at(events, where, tally.entry_events)
    return Contribution(
        rows=Counts.grouped(row, pane[at], counts[at]),
        pairs=Counts.grouped(pair, pane, counts),
        versions=_versions(tally),
        events=list(zip(panes.tolist(), events.tolist(), strict=True)),
    )


def _versions(tally: Tally) -> frozenset[VersionSeen]:
    found: dict[tuple[str, str, str, int], int] = {}
    entries = zip(
        tally.entry_series.tolist(), tally.entry_pane.tolist(), tally.entry_first_ms.tolist(), strict=True
    )
    for i, pane, first_ms in entries:
        namespace, service, _, _, version, _ = tally.series[i]
        if version:
            key = (namespace, service, version, pane)
            found[key] = min(found.get(key, first_ms), first_ms)
    return frozenset(VersionSeen(*key, first_ms) for key, first_ms in found.items())
