"""Stage one of one source partition: delivered records in, partials and dead letters out. No clock, no I/O.

A partial is sent at a chunk's end, when the partition's watermark passes a tick, and when its reader asks
because nothing more comes; never on a timer: at 50,000 events/s and 1,000 series one every 200 ms would send
as many entries as there are events.

An event that is ahead of the brokers' clock counts as any other, but moves no time (contract, section 3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream.slo.cohorts import cohorts
from stream.slo.lexicon import Lexicon
from stream.slo.tally import tally
from stream.window.chunk import Chunk
from stream.window.panes import PANE_MS
from stream.wire.cohorts import Cohorts
from stream.wire.decode import decode
from stream.wire.frame import Frame
from stream.wire.partial import Report, encode_partial
from stream.wire.reject import Reject

MAX_AHEAD_MS = 60_000
"""An event that is further ahead of the newest stamp that its reader knows moves no time."""


@dataclass(slots=True)
class Ahead:
    """Events that moved no time."""

    count: int = 0
    offset: int = -1
    """Of the one that was furthest ahead since this was last set to −1, ..."""
    by_ms: int = 0
    """... and how far that was."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that breaks a rule, and where it came from."""

    offset: int
    timestamp_ms: int
    value: bytes | None
    reject: Reject


@dataclass(slots=True)
class Sending:
    """Messages for target partitions. With ``committable`` set the chunk is closed: once everything sent so
    far is acknowledged that offset may be committed, and only then may anything further be sent."""

    report: Report
    messages: dict[int, bytes] = field(default_factory=dict)
    """Target partition → message with the chunk's contents; the others only need the report."""
    committable: int | None = None
    unmatched: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Events that no earlier sending held, of services that have no rule, by (namespace, service)."""


class Intake:
    """The open chunk of a source partition, and the partition's watermark."""

    def __init__(
        self, source: int, epoch: int, start: int, term: int, lexicon: Lexicon, lateness_ms: int
    ) -> None:
        self.source = source
        self.epoch = epoch
        self.term = term
        self.lateness_ms = lateness_ms
        self.largest_ms: int | None = None
        """Of the events that may move time."""
        self.stamp_ms: int | None = None
        """The newest stamp of a broker that the reader knows; None: none, and nothing is ahead of it."""
        self.present_ms: int | None = None
        """What a broker's clock certainly shows now; event time does not pass it."""
        self.events = 0
        self.ahead = Ahead()
        self._lexicon = lexicon
        self._chunk = Chunk(start)
        self._sent_to = start
        """Everything below this offset is in sendings."""
        self._sent_tick = -1
        self._unmatched: Counter[tuple[str, str]] = Counter()
        """Events of the open chunk that were sent as unmatched."""

    @property
    def start(self) -> int:
        """Where the open chunk starts."""
        return self._chunk.start

    @property
    def end(self) -> int:
        """Everything below this offset was taken in."""
        return self._chunk.end

    @property
    def watermark_ms(self) -> int | None:
        return None if self.largest_ms is None else self.largest_ms - self.lateness_ms

    def feed(
        self,
        begin: int,
        end: int,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        values: Sequence[bytes | None],
        current: Lexicon,
    ) -> Iterator[Refused | Sending]:
        """Take in the offset range [begin, end), which starts where the last one ended.

        ``current`` is the lexicon of the rules as they are now: a new chunk uses it, an open one goes on with
        the one that it began with.
        """
        place, times = np.asarray(offsets, np.int64), np.asarray(timestamps_ms, np.int64)
        done = 0
        while True:
            if self._chunk.records == 0:
                self._lexicon = current
            base, lexicon = done, self._lexicon
            frame, rejects = decode(values[base:], lexicon.interner, times[base:])
            while True:
                taken = self._take(place[done:], times[done:], frame, begin, end)
                done, begin = done + taken, self._chunk.end
                while rejects and base + rejects[0].row < done:
                    reject = rejects.pop(0)
                    at = base + reject.row
                    yield Refused(offsets[at], timestamps_ms[at], values[at], reject)
                if not self._chunk.closed:
                    break
                yield self._send()
                self._chunk = Chunk(begin)
                if done < len(place) and (lexicon is not current or lexicon.full):
                    break  # the next chunk goes by other rules, or by a new numbering
                frame = _rest(frame, taken)
            if done >= len(place):
                break
        if self._tick > self._sent_tick:
            yield self._send()

    def _take(
        self, offsets: NDArray[np.int64], times: NDArray[np.int64], frame: Frame, begin: int, end: int
    ) -> int:
        taken = self._chunk.extend(offsets, times, frame, begin, end)
        mine = int(np.searchsorted(frame.row, taken))
        if mine:
            self.events += mine
            moving = self._without_ahead(offsets[frame.row[:mine]], frame.ts_ms[:mine])
            largest = int(moving.max()) if len(moving) else None
            known = [ms for ms in (largest, self.largest_ms) if ms is not None]
            self.largest_ms = max(known, default=None)
        return taken

    def _without_ahead(self, offsets: NDArray[np.int64], ts_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The times of the events that may move time."""
        if self.stamp_ms is None or ts_ms.max() <= self.stamp_ms + MAX_AHEAD_MS:
            return ts_ms
        is_ahead = ts_ms > self.stamp_ms + MAX_AHEAD_MS
        self.ahead.count += int(is_ahead.sum())
        furthest = int(ts_ms.argmax())
        by_ms = int(ts_ms[furthest]) - self.stamp_ms
        if self.ahead.offset < 0 or by_ms > self.ahead.by_ms:
            self.ahead.offset, self.ahead.by_ms = int(offsets[furthest]), by_ms
        return ts_ms[~is_ahead]

    @property
    def _tick(self) -> int:
        """The last one that event time may have passed here; −1: none."""
        if self.largest_ms is None:
            return -1
        latest_ms = self.largest_ms if self.present_ms is None else min(self.largest_ms, self.present_ms)
        return (latest_ms - self.lateness_ms) // PANE_MS

    def restarted(self, start: int) -> Intake:
        """An intake that goes on at a later offset: what lay between can no longer be read."""
        assert start >= self.end, "a chunk is not read twice"
        assert self._sent_to == self.end, "only what was sent may be left behind"
        anew = Intake(self.source, self.epoch, start, self.term, self._lexicon, self.lateness_ms)
        anew.largest_ms, anew.events, anew._sent_tick = self.largest_ms, self.events, self._sent_tick
        anew.stamp_ms, anew.present_ms, anew.ahead = self.stamp_ms, self.present_ms, self.ahead
        return anew

    def flush(self) -> Sending | None:
        """What was taken in and not yet sent; None when there is nothing."""
        return self._send() if self._sent_to < self.end else None

    def held_back(self) -> Sending | None:
        """What the present held back and does no longer; None when there is nothing."""
        if self._tick <= self._sent_tick:
            return None
        if self._sent_to < self.end:
            return self._send()
        self._sent_tick = self._tick
        return Sending(self.report())

    def report(self, idle_as_of_ms: int | None = None) -> Report:
        """How far everything sent so far reaches."""
        return Report(
            *(self.source, self.epoch, self._sent_to, self.term, self.watermark_ms),
            *(idle_as_of_ms, self.lateness_ms),
        )

    def _send(self) -> Sending:
        chunk, lexicon = self._chunk, self._lexicon
        self._sent_to = chunk.end
        self._sent_tick = max(self._sent_tick, self._tick)
        sending = Sending(self.report(), committable=chunk.end if chunk.closed else None)
        frame = chunk.frame(Frame.empty(lexicon.interner))
        counted, targets = tally(frame, lexicon.judge)
        unmatched = lexicon.judge.strange(frame)
        sending.unmatched = unmatched - self._unmatched
        self._unmatched = Counter() if chunk.closed else unmatched
        parts = counted.split(targets, lexicon.partitions)
        analysed = _cohorts(frame, lexicon)
        for target, (part, compared) in enumerate(zip(parts, analysed, strict=True)):
            if part is not None or compared is not None:
                sending.messages[target] = encode_partial(
                    sending.report, chunk.start, part, chunk.closed, compared
                )
        return sending


def _cohorts(frame: Frame, lexicon: Lexicon) -> list[Cohorts | None]:
    """By target partition."""
    if lexicon.cohort_judge is None:
        return [None] * lexicon.partitions
    counted, targets = cohorts(frame, lexicon.cohort_judge)
    return counted.split(targets, lexicon.partitions)


def _rest(frame: Frame, taken: int) -> Frame:
    """The events of the records after the first ``taken``, their rows counted from there."""
    rest = frame.slice(int(np.searchsorted(frame.row, taken)), len(frame))
    rest.row = rest.row - taken
    return rest
