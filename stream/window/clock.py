"""Event time of one service partition: the minimum of its sources' watermarks (contract, section 3).

A source partition counts as −∞ until its first report, so that silence never lets time pass: a dead reader,
a broker outage or a rebalance holds decisions back. Only a reader that has caught up may declare its
partition idle, and only as of the fetch that showed it: what other sources reported later may rest on events
that came after that fetch, and waits for newer evidence. So neither a reader that dies while its partition is
idle nor a burst after a pause makes anything late. A zombie's report changes nothing: reports are ordered by
(epoch, end, term).

All times of reports are the broker's (LogAppendTime of the partials), so that the clock is a function of
what lies in the log; no worker's clock is read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

NEVER_MS = -(2**62)
"""Stands for −∞: no event can be this old."""

MARGIN_MS = 500
"""How much longer than a reader measured its word may have been under way to the broker."""


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

    reach: Reach
    watermark_ms: int = NEVER_MS
    """As of the evidence of idleness of all others."""
    coming: deque[tuple[int, int]] = field(default_factory=deque)
    """(reported at, watermark) of later reports, both ascending."""
    idle_as_of_ms: int | None = None
    """Broker's time of the fetch that showed nothing more to read; None: not idle."""

    def settle(self, until_ms: int | None) -> None:
        """Take what was reported up to a time into the watermark; everything when it is None."""
        while self.coming and (until_ms is None or self.coming[0][0] <= until_ms):
            self.watermark_ms = self.coming.popleft()[1]

    @property
    def newest_ms(self) -> int:
        return self.coming[-1][1] if self.coming else self.watermark_ms


class Clock:
    """Merges reports by maximum; never goes back."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self.now_ms: int | None = None
        self.idle_as_of_ms: int | None = None
        """While all are idle: up to when event time has been advanced for it."""

    def report(
        self,
        source: int,
        watermark_ms: int | None,
        reach: Reach,
        reported_ms: int,
        idle_age_ms: int | None = None,
    ) -> None:
        """A reader's word on one source partition, as the broker stamped it.

        ``watermark_ms`` None: it has not seen an event yet. ``idle_age_ms``: the partition is idle, by a
        fetch of that age.
        """
        known = self.sources.setdefault(source, Source(reach))
        if watermark_ms is not None and watermark_ms > known.newest_ms:
            known.coming.append((reported_ms, watermark_ms))
        if reach >= known.reach:
            idle = None if idle_age_ms is None else reported_ms - idle_age_ms - MARGIN_MS
            known.reach, known.idle_as_of_ms = reach, idle

    def advance(self, expected: range) -> int | None:
        """Merge what was reported and return the watermark in ms; None while there is none.

        ``expected`` are the source partitions that exist. While every source is idle, event time advances as
        fast as the evidence of it grows newer.
        """
        if not all(source in self.sources for source in expected):
            return self.now_ms
        sources = self.sources.values()
        evidence = [s.idle_as_of_ms for s in sources if s.idle_as_of_ms is not None]
        idle_as_of_ms = min(evidence, default=None)
        for source in sources:
            source.settle(idle_as_of_ms)
        busy = [s.watermark_ms for s in sources if s.idle_as_of_ms is None]
        if busy:
            self.idle_as_of_ms = None
            self._merge(min(busy))
        elif idle_as_of_ms is not None:
            # Not on top of the watermarks: what the evidence shows to have passed contains them.
            # Evidence that goes back, as after an outage, is no new start: the way forward counts once.
            if self.idle_as_of_ms is None:
                self.idle_as_of_ms = idle_as_of_ms
            elif self.now_ms is not None:
                self._merge(self.now_ms + max(0, idle_as_of_ms - self.idle_as_of_ms))
            self.idle_as_of_ms = max(self.idle_as_of_ms, idle_as_of_ms)
            self._merge(max(s.watermark_ms for s in sources))
        return self.now_ms

    def _merge(self, watermark_ms: int) -> None:
        if watermark_ms > NEVER_MS:
            self.now_ms = watermark_ms if self.now_ms is None else max(self.now_ms, watermark_ms)
