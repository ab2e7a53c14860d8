"""Event time of one service partition: the minimum of its sources' watermarks (contract, section 3).

A source partition counts as −∞ until its first report, so that silence never lets time pass: a dead reader,
a broker outage or a rebalance holds decisions back. Only a reader that has caught up may declare its
partition idle, and only as of a time before the fetch that showed it: what other sources reported later may
rest on events that came after that fetch, and waits for newer evidence. So neither a reader that dies while
its partition is idle nor a burst after a pause makes anything late. A zombie's report changes nothing:
reports are ordered by (epoch, end, term).

All times are the broker's stamps on records of this one log (LogAppendTime of the partials), so that the
clock is a function of what lies in the log; no worker's clock is read. A reader dates its evidence by the
stamp of a record of its own that was acknowledged before it asked for the fetch: however long the report
itself is under way, the stamp stays older than the fetch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

NEVER_MS = -(2**62)
"""Stands for −∞: no event can be this old."""

SPACING_MS = 1_000
MAX_COMING = 1_000
"""Reports of a source that are remembered while it is ahead of event time; older ones are forgotten first,
which can only hold time back."""


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
    """What event time has reached already."""
    coming: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MAX_COMING))
    """(reported at, watermark) of reports ahead of event time, both ascending."""
    idle_as_of_ms: int | None = None
    """A broker's time before the fetch that showed nothing more to read; None: not idle."""
    reached_ms: int = 0
    """When it was first reported that its reader had come so far."""
    lateness_ms: int = 0
    """Event time stays this far behind the broker's clock, however far ahead an event is."""

    def hear(self, reported_ms: int, watermark_ms: int) -> None:
        """A larger watermark. Of those reported within a second the last one is kept, with its later time."""
        if self.coming and self.coming[-1][0] // SPACING_MS == reported_ms // SPACING_MS:
            self.coming.pop()
        self.coming.append((reported_ms, watermark_ms))

    def before(self, time_ms: int) -> tuple[int, int]:
        """(reported at, watermark) of the newest word before a time."""
        return next(
            (word for word in reversed(self.coming) if word[0] < time_ms), (NEVER_MS, self.watermark_ms)
        )

    @property
    def newest(self) -> tuple[int, int]:
        """(reported at, watermark)."""
        return self.coming[-1] if self.coming else (NEVER_MS, self.watermark_ms)

    def settle(self, now_ms: int) -> None:
        """Forget what event time has reached."""
        while self.coming and self.coming[0][1] <= now_ms:
            self.watermark_ms = self.coming.popleft()[1]


class Clock:
    """Merges reports by maximum; never goes back."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self.now_ms: int | None = None
        self.idle_as_of_ms: int | None = None
        """While all are idle: up to when event time has been advanced for it."""
        self.rests_on_ms: int | None = None
        """When the word was reported that event time rests on."""

    def report(
        self,
        source: int,
        watermark_ms: int | None,
        reach: Reach,
        reported_ms: int,
        idle_as_of_ms: int | None = None,
        lateness_ms: int = 0,
    ) -> None:
        """A reader's word on one source partition, as the broker stamped it. It counts at most as the stamp,
        less the lateness that the reader allows for.

        ``watermark_ms`` None: it has not seen an event yet. ``idle_as_of_ms``: the partition is idle, by a
        fetch that was asked for after a record with this stamp had been acknowledged.
        """
        known = self.sources.setdefault(source, Source(reach, reached_ms=reported_ms))
        known.lateness_ms = lateness_ms
        if watermark_ms is not None:
            watermark_ms = min(watermark_ms, reported_ms - lateness_ms)
        if watermark_ms is not None and watermark_ms > known.newest[1]:
            known.hear(reported_ms, watermark_ms)
        if self.rests_on_ms is None:
            self.rests_on_ms = reported_ms
        if (reach.epoch, reach.end) > (known.reach.epoch, known.reach.end):
            known.reached_ms = reported_ms
        if reach >= known.reach:
            known.reach, known.idle_as_of_ms = reach, idle_as_of_ms

    def advance(self, expected: range, is_waiting: bool = False) -> int | None:
        """Merge what was reported and return the watermark in ms; None while there is none.

        ``expected`` are the source partitions that exist; none: that is not known, and time stands. While
        every source is idle, event time advances as fast as the evidence of it grows newer. ``is_waiting``:
        there are events that wait for their time; if all that ever came were ahead of the clock, event time
        begins at the clock's.
        """
        if not expected or not all(source in self.sources for source in expected):
            return self.now_ms
        sources = self.sources.values()
        evidence = [s.idle_as_of_ms for s in sources if s.idle_as_of_ms is not None]
        if not evidence:
            self.idle_as_of_ms = None
            self._merge(*min((s.newest for s in sources), key=_watermark))
        elif len(evidence) < len(sources):
            self.idle_as_of_ms = None
            busy = (s.before(min(evidence)) for s in sources if s.idle_as_of_ms is None)
            self._merge(*min(busy, key=_watermark))
        else:
            self._advance_idle(min(evidence), is_waiting)
        if self.now_ms is not None:
            for source in sources:
                source.settle(self.now_ms)
        return self.now_ms

    def _advance_idle(self, as_of_ms: int, is_waiting: bool) -> None:
        """All are idle. The time that passes counts from the first evidence on, but not from before the word
        that event time rests on, and not twice when evidence goes back. It does not come on top of the
        watermarks: what the evidence shows to have passed contains them. Nor does it pass the clock: state
        that was ahead of it waits."""
        latest_ms = as_of_ms - max(s.lateness_ms for s in self.sources.values())
        if self.idle_as_of_ms is None:
            self.idle_as_of_ms = max(as_of_ms, self.rests_on_ms or as_of_ms)
        elif self.now_ms is not None:
            passed_ms = max(0, as_of_ms - self.idle_as_of_ms)
            self._merge(as_of_ms, min(self.now_ms + passed_ms, latest_ms))
        self.idle_as_of_ms = max(self.idle_as_of_ms, as_of_ms)
        self._merge(*max((s.before(as_of_ms) for s in self.sources.values()), key=_watermark))
        if self.now_ms is None and is_waiting:
            self._merge(as_of_ms, latest_ms)

    def _merge(self, as_of_ms: int, watermark_ms: int) -> None:
        if watermark_ms > (NEVER_MS if self.now_ms is None else self.now_ms):
            self.now_ms, self.rests_on_ms = watermark_ms, as_of_ms


def _watermark(word: tuple[int, int]) -> int:
    return word[1]
