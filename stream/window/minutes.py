"""One-minute latency digests per endpoint, and their merges over longer windows.

Folded digests are kept by minute, packed; those of open chunks stay apart, by source, until they are folded,
for a digest cannot be taken back out of a merge.

An hour's window is merged anew each minute, but not from sixty minutes:

    left     middle: 50 minutes            run: 1 to 10 minutes
    ├─┬─┬─┬─┼────────────────────────────┼────────────┤
            merged once in ten minutes     grows by a minute at a time; then it is part of the next
                                           middle, with the forty minutes before it
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stream.sketch import DigestSet, Mergeable, PackedDigests
from stream.wire.tally import MINUTE_BITS

KEPT = 60
"""Minutes that the longest published window covers."""
BLOCK = 10
HALF = 20
AHEAD = (3, 6)
"""So many minutes into a run, one and the other half of what precedes it in the next middle are merged: else
that would be the work of one minute."""
FRESH = 10
"""Sets that may wait to be merged into what is packed."""

Span = tuple[int, int]
"""Minutes [first, last)."""


class _Pile:
    """Digests that are merged when they are asked for, and then lie packed."""

    def __init__(self, packed: PackedDigests | None = None) -> None:
        self._packed = packed
        self._fresh: list[DigestSet] = []

    def add(self, digests: DigestSet | PackedDigests) -> None:
        if self._packed is None and not self._fresh and isinstance(digests, PackedDigests):
            self._packed = digests
            return
        self._fresh.append(digests if isinstance(digests, DigestSet) else digests.unpacked())
        if len(self._fresh) > FRESH:
            self.packed()

    def packed(self) -> PackedDigests:
        if self._fresh or self._packed is None:
            parts = [self._packed] if self._packed is not None else []
            self._packed = PackedDigests.pack(DigestSet.merge([*parts, *self._fresh]))
            self._fresh = []
        return self._packed

    def endpoints(self) -> list[NDArray[np.int64]]:
        packed = [] if self._packed is None else [self._packed.keys]
        return packed + [digests.keys for digests in self._fresh]


class Minutes:
    """Digest sets by minute (minutes since the epoch); keys are endpoints, numbered by the caller."""

    def __init__(self) -> None:
        self.dirty: set[int] = set()
        self._folded: dict[int, _Pile] = {}
        self._open: dict[int, dict[int, DigestSet]] = {}
        """source → minute → digests of the source's open chunk."""
        self._spans: dict[Span, _Pile] = {}
        """What is folded of several minutes: the newest middle and run, and what is merged ahead."""
        self._oldest = -(2**62)

    def open(self, source: int, digests: DigestSet) -> None:
        """Replace what the source's open chunk contributes; keys are endpoint << MINUTE_BITS | minute."""
        self._open[source] = dict(by_minute(digests))

    def fold(self, source: int) -> None:
        """The source's open chunk is final."""
        for minute, digests in self._open.pop(source, {}).items():
            self.add(minute, digests)

    def add(self, minute: int, digests: DigestSet | PackedDigests) -> None:
        if minute < self._oldest or not len(digests):
            return
        self._folded.setdefault(minute, _Pile()).add(digests)
        for (first, last), pile in self._spans.items():
            if first <= minute < last:
                pile.add(digests)
        self.dirty.add(minute)

    def window(self, end: int, length: int) -> list[Mergeable]:
        """Sets that make up the digests by endpoint over the minutes [end − length, end), once merged."""
        parts: list[Mergeable] = [*(self._hour(end) if length == KEPT else self._parts(end - length, end))]
        for by_minute in self._open.values():
            parts += [digests for minute, digests in by_minute.items() if end - length <= minute < end]
        return parts

    def _hour(self, end: int) -> list[PackedDigests]:
        start = (end - 1) // BLOCK * BLOCK
        middle, run = (start + BLOCK - KEPT, start), (start, end)
        halves = (middle[0] + BLOCK, start - HALF), (start - HALF, start)
        ahead = [half for half, due in zip(halves, AHEAD, strict=True) if end - start >= due]
        self._spans = {span: self._span(*span) for span in (middle, run, *ahead)}
        spans = (self._spans[span].packed() for span in (middle, run))
        return [*self._parts(end - KEPT, middle[0]), *spans]

    def _span(self, first: int, last: int) -> _Pile:
        known = self._spans.get((first, last))
        return known or _Pile(PackedDigests.pack(DigestSet.merge(self._parts(first, last))))

    def _parts(self, first: int, last: int) -> list[PackedDigests]:
        """What is folded of these minutes, of several at once where that is merged already."""
        merged = {span[0]: span for span in sorted(self._spans) if first <= span[0] and span[1] <= last}
        parts, minute = [], first
        while minute < last:
            if minute in merged:
                parts.append(self._spans[merged[minute]].packed())
                minute = merged[minute][1]
                continue
            if minute in self._folded:
                parts.append(self._folded[minute].packed())
            minute += 1
        return parts

    def move_to(self, minute: int) -> None:
        """Forget what no window ending at this minute or later covers."""
        self._oldest = minute - KEPT
        for old in [m for m in self._folded if m < self._oldest]:
            del self._folded[old]
            self.dirty.add(old)
        for span in [span for span in self._spans if span[0] < self._oldest]:
            del self._spans[span]

    def endpoints(self) -> set[int]:
        """Every endpoint that some digest belongs to."""
        held = [digests.keys for by_minute in self._open.values() for digests in by_minute.values()]
        held += [keys for pile in self._folded.values() for keys in pile.endpoints()]
        return set(np.unique(np.concatenate(held)).tolist()) if held else set()

    def folded(self) -> list[int]:
        """Minutes that hold folded digests."""
        return list(self._folded)

    def get(self, minute: int) -> PackedDigests | None:
        """The folded digests of a minute, merged; None when there are none."""
        pile = self._folded.get(minute)
        return None if pile is None else pile.packed()


def by_minute(digests: DigestSet) -> Iterable[tuple[int, DigestSet]]:
    """Split a set keyed by endpoint and minute into one set keyed by endpoint for each minute."""
    minutes = digests.keys & ((1 << MINUTE_BITS) - 1)
    for minute in np.unique(minutes):
        one = digests.select(minutes == minute)
        yield int(minute), one.remap(one.keys >> MINUTE_BITS)
