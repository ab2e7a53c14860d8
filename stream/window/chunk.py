"""Chunks: a source partition cut by a rule that only its own records decide.

Whoever reads the records again, in whatever batches and whatever else it has read before, cuts at the same
places; that is what makes a repeat recognisable (docs/design.md). The limits are constants of the format, not
settings: two rules at once would overlap. This one has a number (``RULE`` in ``wire/partial.py``). Whoever
changes a limit, or which records are refused (a refused one brings no entry), gives it another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream.window.panes import PANE_MS
from stream.wire.frame import Frame, name_bytes
from stream.wire.numbering import numbered

MAX_RECORDS = 50_000
MAX_AGE_MS = 10_000
"""A record whose Kafka timestamp is this far from the first's, before or after, is the chunk's last."""
MAX_ENTRIES = 16_384
"""The record that brings the last of so many distinct (series, pane) entries is the chunk's last."""
MAX_NAME_BYTES = 256 << 10
"""The record with which the names of distinct series reach this size is the chunk's last: a partial has to
fit in what brokers take."""
HEAD_RECORDS = 4_000
"""A chunk longer than this ends where event time passes a tick, so that it is sent once and not again for the
tick: with the first later record whose ts is in a later tick than all of these, ``TICK_DELAY_MS`` taken off.
So many, because few would not show how far event time had come where producers' clocks differ."""
TICK_DELAY_MS = 5_000
"""The default of the allowed lateness; with another one chunks end somewhere else between two ticks."""

_SPREAD = np.int64(0x1E3779B97F4A7C15)
"""Odd: panes of a series differ, and those of two are as far apart as their marks."""

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
        self._entries = _Distinct(MAX_ENTRIES, _one)
        self._names = _Distinct(MAX_NAME_BYTES, name_bytes)

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
        old = np.flatnonzero(np.abs(timestamps_ms - self._first_timestamp_ms) >= MAX_AGE_MS)
        sizes = [int(old[0]) + 1] if len(old) else []
        if self.records + len(timestamps_ms) >= MAX_RECORDS:
            sizes.append(MAX_RECORDS - self.records)
        if (size := self._fit_tick(frame)) >= 0:
            sizes.append(size)
        limit = min(sizes, default=len(timestamps_ms))
        full = self._fit_names(frame.slice(0, int(np.searchsorted(frame.row, limit))))
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

    def _fit_names(self, frame: Frame) -> int:
        """As :meth:`_fit`, for the limits on entries and on names alone; remembers both."""
        if not len(frame):
            return -1
        marks, codes = _distinct(frame)
        ends = (
            self._entries.add(codes, lambda: _codes(frame.marks, frame.ts_ms // PANE_MS)),
            self._names.add(marks, lambda: frame.marks),
        )
        found = [end for end in ends if end is not None]
        return int(frame.row[min(found)]) + 1 if found else -1


class _Distinct:
    """What distinct codes cost together, up to a limit."""

    def __init__(self, most: int, cost: Callable[[Ints], Ints]) -> None:
        self._most = most
        self._cost = cost
        self._known: list[Ints] = []
        """With repeats."""
        self._spent = 0
        """By all of them, repeats included."""

    def add(self, distinct: Ints, codes: Callable[[], Ints]) -> int | None:
        """Remember the codes of some records. ``distinct``: which there are; ``codes``: one for each record.
        Returns the place of the record with which the limit is reached; None: it is not."""
        cost = int(self._cost(distinct).sum())
        if self._spent + cost < self._most:
            self._known.append(distinct)
            self._spent += cost
            return None
        known = np.unique(np.concatenate(self._known or [distinct[:0]]))
        of_record = codes()
        fresh, first = np.unique(of_record, return_index=True)
        first = np.sort(first[~np.isin(fresh, known, assume_unique=True)])
        spent = int(self._cost(known).sum()) + np.cumsum(self._cost(of_record[first]))
        self._known = [np.union1d(known, fresh)]
        self._spent = int(self._cost(self._known[0]).sum())
        reached = spent >= self._most
        return int(first[reached.argmax()]) if reached.any() else None


def _one(codes: Ints) -> Ints:
    return np.ones(len(codes), np.int64)


def _distinct(frame: Frame) -> tuple[Ints, Ints]:
    """Distinct marks of a frame's series, and distinct codes of its (series, pane) pairs; at least one."""
    pane = frame.ts_ms // PANE_MS
    if frame.mark is not None:
        return np.unique(frame.mark), np.unique(_codes(frame.mark, pane))
    first = int(pane.min())
    span = int(pane.max()) - first + 1
    distinct, _ = numbered(frame.series.astype(np.int64) * span + (pane - first))
    series = distinct // span
    return frame.interner.marks(numbered(series)[0]), _codes(
        frame.interner.marks(series), distinct % span + first
    )


def _codes(marks: Ints, pane: Ints) -> Ints:
    """One number for a mark and a pane."""
    return marks + pane * _SPREAD
