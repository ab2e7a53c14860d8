"""Notices a worker that has work and does none: it should end, so that a supervisor starts it again.

What an agent that hangs, a group that is never joined and a checkpoint that is never taken have in common:
something could go on, and for half a minute it does not. Failures that Kafka or an agent tells of end the
worker at once; a send without an answer after ``Sender``'s delivery timeout.

Slow is not stuck. An agent serves one partition after the other, and a worker that has more to do than it can
lets them wait for minutes: that is overload (``overload.py``), which a new start would only make worse. So
time counts for nothing while the event loop was late, and for a partition while its agent served others.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from faust.types import TP

from stream.errors import StalledError

STALL_S = 30.0
CHECK_EVERY_S = 2.0
LATE_S = 0.25
"""A loop that wakes so much later than it was asked to has no time to spare."""


@dataclass(frozen=True, slots=True)
class Work:
    """How far a partition, or an activity of the worker, has come, and how far it could be."""

    done: int
    available: int
    stall: str | None = None
    """What to say of it when it stands still; None: it is a partition's records."""
    steps: int = 0
    """What was done on the way to the next ``done``."""
    others_s: float = 0.0
    """For how long, since the start, its agent has served others, and so could not do this."""

    @property
    def left(self) -> int:
        return self.available - self.done


class Turns:
    """How long an agent has served each of its partitions.

    Time counts as served for as long as something moves: an agent that hangs in one's turn serves nobody.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._all_s = 0.0
        self._of_s: dict[TP, float] = {}
        self._turn: TP | None = None
        self._since_s = 0.0
        self._at: object = None

    @contextmanager
    def turn(self, tp: TP) -> Iterator[None]:
        """While the agent serves a partition."""
        self._turn, self._since_s = tp, self._now_s()
        try:
            yield
        finally:
            self._moved()
            self._turn = None

    def others_s(self, tp: TP, at: object) -> float:
        """For how long others than ``tp`` were served; ``at``: how far that one has come."""
        if tp == self._turn and at != self._at:
            self._at = at
            self._moved()
        found = self._all_s - self._of_s.get(tp, 0.0)
        if self._turn is not None and self._turn != tp:
            found += min(self._now_s() - self._since_s, STALL_S)
        return found

    def _moved(self) -> None:
        if self._turn is not None:
            now_s = self._now_s()
            self._all_s += now_s - self._since_s
            self._of_s[self._turn] = self._of_s.get(self._turn, 0.0) + now_s - self._since_s
            self._since_s = now_s


@dataclass(slots=True)
class _Still:
    """Something that has not moved since ``since_s``."""

    at: tuple[int, int]
    since_s: float
    others_s: float
    spared_s: float = 0.0
    """How much of the time since then the worker could have used for it."""


class Watchdog:
    """Remembers when each partition last moved; time is the caller's."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._still: dict[str, _Still] = {}
        self._checked_s: float | None = None

    def check(self, work: Mapping[str, Work], now_s: float, late_s: float = 0.0) -> None:
        """Raises StalledError when something that could be done was not, although there was time for it.

        ``late_s``: how much later than it was asked to the event loop came to this.
        """
        passed_s = 0.0 if self._checked_s is None else now_s - self._checked_s
        spare_s = passed_s if late_s < LATE_S else 0.0
        self._checked_s = now_s
        for gone in self._still.keys() - work.keys():
            del self._still[gone]
        for name, one in work.items():
            at, still = (one.done, one.steps), self._still.get(name)
            if still is None or still.at != at or one.left <= 0:
                self._still[name] = _Still(at, now_s, one.others_s)
                continue
            still.spared_s += max(0.0, spare_s - max(0.0, one.others_s - still.others_s))
            still.others_s = one.others_s
            if still.spared_s >= self.stall_s:
                raise StalledError(_reason(name, one, still.spared_s))

    def waiting(self, work: Mapping[str, Work], now_s: float) -> dict[str, float]:
        """Partitions that have records to read and do not come to their turn, with the seconds since they
        last moved; without those for which there was time."""
        found = {}
        for name, one in work.items():
            if one.stall is None and one.left > 0 and (still := self._still.get(name)) is not None:
                waited_s = now_s - still.since_s
                if still.spared_s < waited_s / 2:
                    found[name] = waited_s
        return found


def _reason(name: str, work: Work, still_s: float) -> str:
    if work.stall is not None:
        return f"{work.stall}, for {still_s:.0f} s"
    return f"{name} has not moved from {work.done} for {still_s:.0f} s, with {work.left} records to read"


class LoopGuard:
    """Ends the process when its event loop stands still, which nothing that runs in the loop could notice.

    Counts its own looks, not seconds: after SIGCONT the time that the whole process was stopped for does not
    count.
    """

    def __init__(self, end: Callable[[StalledError], object], *, every_s: float = CHECK_EVERY_S) -> None:
        self._end = end
        self._every_s = every_s
        self._most_looks = math.ceil(STALL_S / CHECK_EVERY_S)
        self._looks = 0

    def start(self) -> None:
        threading.Thread(target=self._watch, name="loop-guard", daemon=True).start()

    def beat(self) -> None:
        """To be called by the loop, more often than the guard looks."""
        self._looks = 0

    def _watch(self) -> None:
        while self._looks < self._most_looks:
            time.sleep(self._every_s)
            self._looks += 1
        still_s = self._most_looks * self._every_s
        self._end(StalledError(f"the worker's event loop stands still, for {still_s:.0f} s"))
