"""Chunks: a source partition cut by a rule that only its own records decide.

Whoever reads the records again, in whatever batches, cuts at the same places; that is what makes a repeat
recognisable (docs/design.md). The limits are constants of the format, not settings: two
rules at once would overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.window.panes import PANE_MS
from stream.wire.frame import Frame
from stream.wire.numbering import numbered

MAX_RECORDS = 50_000
MAX_AGE_MS = 10_000
"""A record whose Kafka timestamp is this much after the first's is the chunk's last."""
MAX_ENTRIES = 16_384
"""The record that brings the last of so many distinct (series, pane) entries is the chunk's last."""
HEAD_RECORDS = 4_000
"""A chunk longer than this ends where event time passes a tick, so that it is sent once and not again for the
tick: with the first later record whose ts is in a later tick than all of these, ``TICK_DELAY_MS`` taken off.
So many, because few would not show how far event time had come where producers' clocks differ."""
TICK_DELAY_MS = 5_000
"""The default of the allowed lateness; with another one chunks end somewhere else between two ticks."""

_PANE_BITS = 35
"""The last pane of the year 9999 fits; series ids have the 28 bits above."""

Ints = NDArray[np.int64]


class Chunk:
    """The open chunk of one source partition; [start, end) grows until the rule closes it."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.records = 0
        self.closed = False
        self._frames: list[Frame] = []
        self._first_timestamp_ms: int | None = None
        self._head_ms: int | None = None
        """Largest ts among the first ``HEAD_RECORDS``."""
        self._entries: Ints = np.empty(0, np.int64)
        self._unmerged: list[Ints] = []
        self._unmerged_count = 0

    def extend(self, offsets: Ints, timestamps_ms: Ints, frame: Frame, begin: int, end: int) -> int:
        """Take as many records of a delivered range as belong to the chunk; returns how many.

        ``offsets`` and ``timestamps_ms`` have one element a record, ``frame`` holds the good ones among them
        (``frame.row`` is the place in ``offsets``), [begin, end) is the offset range delivered: it must start
        where the chunk ends.
        """
        assert begin == self.end, f"a hole before {begin}: the chunk ends at {self.end}"
        assert not self.closed
        size = self._fit(timestamps_ms, frame)
        self.closed = size >= 0
        count = size if self.closed else len(offsets)
        self.records += count
        self.end = int(offsets[count - 1]) + 1 if self.closed else end
        if len(frame):
            self._frames.append(frame.slice(0, int(np.searchsorted(frame.row, count))))
        return count

    def frame(self, empty: Frame) -> Frame:
        """All good events of the chunk so far; ``empty`` is given back when there is none."""
        if not self._frames:
            return empty
        if len(self._frames) > 1:
            self._frames = [Frame.concat(self._frames)]
        return self._frames[0]

    def _fit(self, timestamps_ms: Ints, frame: Frame) -> int:
        """The number of these records up to and including the chunk's last; −1: none of them is the last."""
        if not len(timestamps_ms):
            return -1
        if self._first_timestamp_ms is None:
            self._first_timestamp_ms = int(timestamps_ms[0])
        old = np.flatnonzero(timestamps_ms - self._first_timestamp_ms >= MAX_AGE_MS)
        sizes = [int(old[0]) + 1] if len(old) else []
        if self.records + len(timestamps_ms) >= MAX_RECORDS:
            sizes.append(MAX_RECORDS - self.records)
        if (size := self._fit_tick(frame)) >= 0:
            sizes.append(size)
        limit = min(sizes, default=len(timestamps_ms))
        full = self._fit_entries(frame.slice(0, int(np.searchsorted(frame.row, limit))))
        return full if full >= 0 else min(sizes, default=-1)

    def _fit_tick(self, frame: Frame) -> int:
        """As :meth:`_fit`, for the passing of a tick alone."""
        head = int(np.searchsorted(frame.row, HEAD_RECORDS - self.records))
        if head:
            head_ms = int(frame.ts_ms[:head].max())
            self._head_ms = head_ms if self._head_ms is None else max(self._head_ms, head_ms)
        if head == len(frame) or self._head_ms is None:
            return -1
        next_tick_ms = ((self._head_ms - TICK_DELAY_MS) // PANE_MS + 1) * PANE_MS
        passed = frame.ts_ms[head:] >= next_tick_ms + TICK_DELAY_MS
        first = int(passed.argmax())
        return int(frame.row[head + first]) + 1 if passed[first] else -1

    def _fit_entries(self, frame: Frame) -> int:
        """As :meth:`_fit`, for the limit on distinct entries alone; remembers the entries."""
        if not len(frame):
            return -1
        distinct = _distinct_entries(frame)
        if len(self._entries) + self._unmerged_count + len(distinct) < MAX_ENTRIES:
            self._unmerged.append(distinct)
            self._unmerged_count += len(distinct)
            return -1
        codes = frame.series.astype(np.int64) << _PANE_BITS | frame.ts_ms // PANE_MS
        seen = np.unique(np.concatenate([self._entries, *self._unmerged]))
        fresh, first = np.unique(codes, return_index=True)
        first = np.sort(first[~np.isin(fresh, seen, assume_unique=True)])
        self._entries, self._unmerged, self._unmerged_count = np.union1d(seen, codes), [], 0
        room = MAX_ENTRIES - len(seen)
        return int(frame.row[first[room - 1]]) + 1 if len(first) >= room else -1


def _distinct_entries(frame: Frame) -> Ints:
    """The codes of a frame's (series, pane) pairs; at least one."""
    pane = frame.ts_ms // PANE_MS
    first = int(pane.min())
    span = int(pane.max()) - first + 1
    distinct, _ = numbered(frame.series.astype(np.int64) * span + (pane - first))
    return distinct // span << _PANE_BITS | distinct % span + first
