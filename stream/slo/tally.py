"""Frame to tally: one sort and a few segmented sums over a whole chunk, whatever the number of SLOs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.sketch import DigestSet
from stream.slo.judge import Feeds, Judge
from stream.slo.sli import BAD, GOOD, UNCOUNTED
from stream.window.panes import PANE_MS
from stream.window.sums import MILLION
from stream.wire.frame import Frame
from stream.wire.tally import MINUTE_BITS, Ints, Tally

MINUTE_MS = 60_000


def tally(frame: Frame, judge: Judge) -> tuple[Tally, NDArray[np.intp]]:
    """Count a frame's events. Returns the tally and, per series of it, the target partition.

    A pure function of the frame's events and the rules: their order and how they were batched do not matter.
    Events of services that have no SLO are left out.
    """
    assert frame.interner is judge.interner, "frame and judge must number the series alike"
    feeds = judge.feeds()
    followed = feeds.endpoint[frame.series] >= 0
    if not followed.all():
        frame = frame.take(followed)
    used, local = np.unique(frame.series, return_inverse=True)
    pane = frame.ts_ms // PANE_MS
    first_pane = int(pane.min()) if len(pane) else 0
    span = int(pane.max()) - first_pane + 1 if len(pane) else 1
    code = local * span + (pane - first_pane)
    order = np.argsort(code, kind="stable")
    code = code[order]
    starts = np.flatnonzero(np.concatenate(([True], code[1:] != code[:-1]))) if len(code) else order
    cells = _cells(frame.take(order), starts, judge, feeds)
    digests, endpoint_ids = _digests(frame, feeds)
    entry_code = code[starts]
    result = Tally(
        series=[frame.interner.keys[i] for i in used],
        columns=judge.names,
        endpoints=[judge.endpoints[i] for i in endpoint_ids],
        entry_series=entry_code // span,
        entry_pane=entry_code % span + first_pane,
        entry_events=np.diff(np.append(starts, len(code))),
        entry_first_ms=_reduce(np.minimum, frame.ts_ms[order], starts),
        digests=digests,
        **cells,
    )
    return result, feeds.target[used]


def _reduce(how: np.ufunc, values: Ints, starts: NDArray[np.intp]) -> Ints:
    return np.asarray(how.reduceat(values, starts)) if len(values) else np.empty(0, np.int64)


def _cells(frame: Frame, starts: NDArray[np.intp], judge: Judge, feeds: Feeds) -> dict[str, Ints]:
    """The cells of a frame sorted by entry: one pass per rank of column that its series have."""
    parts: list[tuple[Ints, ...]] = []
    for rank in range(feeds.availability.shape[1]):
        column = feeds.availability[frame.series, rank]
        if (column >= 0).any():
            verdict = np.where(column >= 0, judge.tables[column, frame.outcome], UNCOUNTED)
            parts.append(_count(frame, starts, column, verdict))
    known = ~np.isnan(frame.latency_ms)
    for rank in range(feeds.latency.shape[1] if known.any() else 0):
        column = feeds.latency[frame.series, rank]
        if (column >= 0).any():
            slow = frame.latency_ms > feeds.threshold_ms[frame.series, rank]
            verdict = np.where(known & (column >= 0), np.where(slow, BAD, GOOD), UNCOUNTED)
            parts.append(_count(frame, starts, column, verdict))
    names = ("cell_entry", "cell_column", "cell_events", "cell_weight", "cell_bad", "cell_bad_weight")
    if not parts:
        return {name: np.empty(0, np.int64) for name in names}
    return {name: np.concatenate(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}


def _count(
    frame: Frame, starts: NDArray[np.intp], column: Ints, verdict: NDArray[np.int8]
) -> tuple[Ints, ...]:
    counted, bad = verdict != UNCOUNTED, verdict == BAD
    events = _reduce(np.add, counted.astype(np.int64), starts)
    bad_events = _reduce(np.add, bad.astype(np.int64), starts)
    if (frame.weight == MILLION).all():
        weight, bad_weight = events * MILLION, bad_events * MILLION
    else:
        weight = _reduce(np.add, np.where(counted, frame.weight, 0), starts)
        bad_weight = _reduce(np.add, np.where(bad, frame.weight, 0), starts)
    entry = np.flatnonzero(events)
    return entry, column[starts[entry]], events[entry], weight[entry], bad_events[entry], bad_weight[entry]


def _digests(frame: Frame, feeds: Feeds) -> tuple[DigestSet, Ints]:
    """One digest per (endpoint, minute), and the judge's ids of the endpoints that have one."""
    known = ~np.isnan(frame.latency_ms)
    if not known.all():
        frame = frame.take(known)
    ids, local = np.unique(feeds.endpoint[frame.series], return_inverse=True)
    keys = local.astype(np.int64) << MINUTE_BITS | frame.ts_ms // MINUTE_MS
    weights = None if (frame.weight == MILLION).all() else frame.weight / MILLION
    return DigestSet.from_values(keys, frame.latency_ms, weights), ids
