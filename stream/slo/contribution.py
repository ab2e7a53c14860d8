"""A tally in the terms of one shard: rows of SLOs, numbered pairs, versions; to be added or taken back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream.slo.places import Places
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


VersionInPane = tuple[str, str, str, int]
"""(namespace, service, version, pane)."""


@dataclass(slots=True)
class Contribution:
    """What a source partition's open chunk adds to the counts."""

    rows: Counts
    pairs: Counts
    versions: dict[VersionInPane, int]
    """Events of each version in each pane, but for those of the track ``shadow``."""
    events: list[tuple[int, int]]
    """(pane, events), to count late ones."""


def contribution(tally: Tally, registry: Registry, known: Places) -> Contribution:
    """Resolve a tally's own dictionaries into the shard's numbers."""
    places = known.of(tally.series)
    pair = _pairs(tally, places, known)
    pane = tally.entry_pane[tally.cell_entry]
    counts = np.column_stack([tally.cell_events, tally.cell_weight, tally.cell_bad, tally.cell_bad_weight])
    at, row = registry.expand(pair)
    panes, where = np.unique(tally.entry_pane, return_inverse=True)
    events = np.zeros(len(panes), np.int64)
    np.add.at(events, where, tally.entry_events)
    return Contribution(
        rows=Counts.grouped(row, pane[at], counts[at]),
        pairs=Counts.grouped(pair, pane, counts),
        versions=version_events(tally, places, known),
        events=list(zip(panes.tolist(), events.tolist(), strict=True)),
    )


def _pairs(tally: Tally, places: Ints, known: Places) -> Ints:
    """The shard's number of each cell's (series, column); ``places`` are those of the tally's series."""
    series = tally.entry_series[tally.cell_entry]
    number_of = np.empty(len(places), np.int64)
    pair = np.empty(len(series), np.int64)
    for column in np.unique(tally.cell_column).tolist():
        cells = np.flatnonzero(tally.cell_column == column)
        used = np.unique(series[cells])
        number_of[used] = known.pairs(places[used], tally.columns[column])
        pair[cells] = number_of[series[cells]]
    return pair


def version_events(tally: Tally, places: Ints, known: Places) -> dict[VersionInPane, int]:
    """Events of each version in each pane; ``places`` are those of the tally's series."""
    version = known.version_numbers(places)[tally.entry_series]
    some = np.flatnonzero(version >= 0)
    found = Counts.grouped(version[some], tally.entry_pane[some], tally.entry_events[some, None])
    columns = zip(found.id.tolist(), found.pane.tolist(), found.counts[:, 0].tolist(), strict=True)
    return {(*known.version(number), pane): events for number, pane, events in columns}
