"""Notices a worker that has work and does none: it should end, so that a supervisor starts it again.

What an agent that hangs, a group that is never joined and a checkpoint that is never taken have in common:
something could go on, and for half a minute it does not. Failures that Kafka or an agent tells of end the
worker at once; a send without an answer after ``Sender``'s delivery timeout.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.errors import StalledError

STALL_S = 30.0
CHECK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Work:
    """How far a partition, or an activity of the worker, has come, and how far it could be."""

    done: int
    available: int
    stall: str | None = None
    """What to say of it when it stands still; None: it is a partition's records."""
    steps: int = 0
    """What was done on the way to the next ``done``."""


class Watchdog:
    """Remembers when each partition last moved; time is the caller's."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._moved: dict[str, tuple[tuple[int, int], float]] = {}

    def check(self, work: Mapping[str, Work], now_s: float) -> None:
        """Raises StalledError when a partition with something to do has not moved for too long."""
        for gone in self._moved.keys() - work.keys():
            del self._moved[gone]
        for name, one in work.items():
            done, since_s = self._moved.get(name, (None, now_s))
            if done != (one.done, one.steps) or one.done >= one.available:
                self._moved[name] = (one.done, one.steps), now_s
            elif now_s - since_s >= self.stall_s:
                raise StalledError(_reason(name, one, now_s - since_s))


def _reason(name: str, work: Work, still_s: float) -> str:
    if work.stall is not None:
        return f"{work.stall}, for {still_s:.0f} s"
    left = work.available - work.done
    return f"{name} has not moved from {work.done} for {still_s:.0f} s, with {left} records to read"


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
