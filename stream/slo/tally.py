"""Frame to tally: a few passes over a whole chunk, whatever the number of SLOs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch import DigestSet
from stream.slo.judge import Feeds, Judge
from stream.slo.sli import BAD, GOOD, UNCOUNTED
from stream.window.limbs import MILLION
from stream.window.panes import PANE_MS
from stream.wire.frame import Frame
from stream.wire.numbering import numbered
from stream.wire.tally import MINUTE_BITS, EndpointKey, Ints, Tally, Targets

MINUTE_MS = 60_000


def tally(frame: Frame, judge: Judge) -> tuple[Tally, Targets]:
    """Count a frame's events. Returns the tally, and where what is in it goes.

    A pure function of the frame's events and the rules: their order and how they were batched do not matter.
    Events of services that have no SLO are left out.
    """
    frame = followed(frame, judge)
    entries, feeds = Entries.of(frame), judge.feeds()
    digests, endpoint_ids = _digests(frame, feeds)
    endpoints = [judge.endpoints[i] for i in endpoint_ids.tolist()]
    targets = Targets(feeds.target[entries.used], judge.target_of_endpoint(endpoint_ids))
    return counts(frame, entries, judge, endpoints, digests), targets


def followed(frame: Frame, judge: Judge) -> Frame:
    """The events of the services that the judge's rules look at."""
    assert frame.interner is judge.interner, "frame and judge must number the series alike"
    is_followed = judge.feeds().endpoint[frame.series] >= 0
    return frame if is_followed.all() else frame.take(is_followed)


def counts(
    frame: Frame, entries: Entries, judge: Judge, endpoints: list[EndpointKey], digests: DigestSet
) -> Tally:
    """What the judge's columns count of a frame's entries."""
    return Tally(
        series=frame.interner.packed(entries.used.tolist()),
        columns=judge.names,
        endpoints=endpoints,
        entry_series=entries.place,
        entry_pane=entries.pane,
        entry_events=entries.count(None),
        entry_first_ms=entries.least(frame.ts_ms),
        digests=digests,
        **_cells(frame, entries, judge, judge.feeds()),
    )


@dataclass(slots=True)
class Entries:
    """Distinct (series, pane) pairs of a frame, and sums over the events of each."""

    of_event: Ints
    used: Ints
    """The interner's numbers of the series that there are."""
    place: Ints
    """Of each entry's series in ``used``."""
    pane: Ints

    @classmethod
    def of(cls, frame: Frame) -> Entries:
        used, local = numbered(frame.series.astype(np.int64))
        pane = frame.ts_ms // PANE_MS
        first_pane = int(pane.min()) if len(pane) else 0
        span = int(pane.max()) - first_pane + 1 if len(pane) else 1
        codes, entry = numbered(local * span + (pane - first_pane))
        return cls(entry, used, codes // span, codes % span + first_pane)

    @property
    def series(self) -> Ints:
        """The interner's number of each entry's series."""
        return self.used[self.place]

    def count(self, which: NDArray[np.bool_] | None) -> Ints:
        """Events of each entry, or those of a mask."""
        of_event = self.of_event if which is None or which.all() else self.of_event[which]
        return np.bincount(of_event, minlength=len(self.place)).astype(np.int64)

    def total(self, weight: Ints, which: NDArray[np.bool_] | None = None) -> Ints:
        """Sums of integer weights, exactly."""
        sums = np.zeros(len(self.place), np.int64)
        if which is None:
            np.add.at(sums, self.of_event, weight)
        else:
            np.add.at(sums, self.of_event[which], weight[which])
        return sums

    def least(self, values: Ints) -> Ints:
        found = np.full(len(self.place), np.iinfo(np.int64).max)
        np.minimum.at(found, self.of_event, values)
        return found


def _cells(frame: Frame, entries: Entries, judge: Judge, feeds: Feeds) -> dict[str, Ints]:
    """What each column counts of each entry: one pass per rank of column that the series have."""
    parts: list[tuple[Ints, ...]] = []
    series = entries.series
    for rank in range(feeds.availability.shape[1]):
        column = feeds.availability[frame.series, rank]
        if (column >= 0).any():
            verdict = np.where(column >= 0, judge.tables[column, frame.outcome], UNCOUNTED)
            parts.append(_count(frame, entries, feeds.availability[series, rank], verdict))
    known = ~np.isnan(frame.latency_ms)
    for rank in range(feeds.latency.shape[1] if known.any() else 0):
        column = feeds.latency[frame.series, rank]
        if (column >= 0).any():
            slow = frame.latency_ms > feeds.threshold_ms[frame.series, rank]
            verdict = np.where(known & (column >= 0), np.where(slow, BAD, GOOD), UNCOUNTED)
            parts.append(_count(frame, entries, feeds.latency[series, rank], verdict))
    names = ("cell_entry", "cell_column", "cell_events", "cell_weight", "cell_bad", "cell_bad_weight")
    if not parts:
        return {name: np.empty(0, np.int64) for name in names}
    return {name: np.concatenate(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}


def _count(frame: Frame, entries: Entries, column: Ints, verdict: NDArray[np.int8]) -> tuple[Ints, ...]:
    """``column`` is that of each entry, ``verdict`` that on each event."""
    counted, bad = verdict != UNCOUNTED, verdict == BAD
    events, bad_events = entries.count(counted), entries.count(bad)
    if (frame.weight == MILLION).all():
        weight, bad_weight = events * MILLION, bad_events * MILLION
    else:
        weight, bad_weight = entries.total(frame.weight, counted), entries.total(frame.weight, bad)
    entry = np.flatnonzero(events)
    return entry, column[entry], events[entry], weight[entry], bad_events[entry], bad_weight[entry]


def _digests(frame: Frame, feeds: Feeds) -> tuple[DigestSet, Ints]:
    """One digest per (endpoint, minute), and the judge's ids of the endpoints that have one."""
    known = ~np.isnan(frame.latency_ms)
    if not known.all():
        frame = frame.take(known)
    ids, local = numbered(feeds.endpoint[frame.series].astype(np.int64))
    keys = local << MINUTE_BITS | frame.ts_ms // MINUTE_MS
    weights = None if (frame.weight == MILLION).all() else frame.weight / MILLION
    return DigestSet.from_values(keys, frame.latency_ms, weights), ids
