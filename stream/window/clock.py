"""Event time of one service partition: the minimum of its sources' watermarks (contract, section 3).

A source partition counts as −∞ until its first report, so that silence never lets time pass: a dead reader,
a broker outage or a rebalance holds decisions back. Only a reader that has caught up may declare its
partition idle, and its word holds only for a short lease, so that a reader that dies while idle holds time
back as well. A zombie's report changes nothing: reports are ordered by (epoch, end, term).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Reach:
    """How far a reader of a source partition has come; greater means it knows more."""

    epoch: int
    end: int
    """Everything below this offset is in acknowledged partials."""
    term: int
    """Generation of the consumer group in which the reader owned the partition."""


@dataclass(slots=True)
class Source:
    """What is known of one source partition."""

    watermark_ms: int
    reach: Reach
    idle_until_s: float = -math.inf
    """Wall clock (monotonic) up to which its reader's word that it is idle holds."""


class Clock:
    """Merges reports by maximum; never goes back."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self.now_ms: int | None = None
        self._idle_since: float | None = None

    def report(
        self, source: int, watermark_ms: int | None, reach: Reach, idle_until_s: float = -math.inf
    ) -> None:
        """A reader's word on one source partition; ``watermark_ms`` None: it has not seen an event yet."""
        known = self.sources.get(source)
        if known is None:
            known = self.sources[source] = Source(NEVER_MS, reach, idle_until_s)
        elif reach >= known.reach:
            known.reach, known.idle_until_s = reach, idle_until_s
        if watermark_ms is not None:
            known.watermark_ms = max(known.watermark_ms, watermark_ms)

    def advance(self, expected: range, wall_s: float = 0.0) -> int | None:
        """Merge what was reported and return the watermark in ms; None while a source was never heard of.

        ``expected`` are the source partitions that exist, ``wall_s`` is a monotonic clock's reading: while
        every source is idle, event time advances as fast as it does.
        """
        if not all(source in self.sources for source in expected):
            return self.now_ms
        busy = [s.watermark_ms for s in self.sources.values() if s.idle_until_s <= wall_s]
        if busy:
            self._idle_since = None
            self._merge(min(busy))
            return self.now_ms
        self._merge(max((s.watermark_ms for s in self.sources.values()), default=NEVER_MS))
        if self._idle_since is not None and self.now_ms is not None:
            self._merge(self.now_ms + int((wall_s - self._idle_since) * 1000))
        self._idle_since = wall_s
        return self.now_ms

    def _merge(self, watermark_ms: int) -> None:
        if watermark_ms > NEVER_MS:
            self.now_ms = watermark_ms if self.now_ms is None else max(self.now_ms, watermark_ms)


NEVER_MS = -(2**62)
"""Stands for −∞: no event can be this old."""
