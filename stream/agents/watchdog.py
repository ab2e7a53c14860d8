"""Notices a worker that has work and does none: it should end, so that a supervisor starts it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream.errors import StalledError

STALL_S = 30.0
CHECK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Work:
    """How far one partition has been worked off, and how far it could be."""

    done: int
    available: int


class Watchdog:
    """Remembers when each partition last moved; time is the caller's."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._moved: dict[str, tuple[int, float]] = {}

    def check(self, work: Mapping[str, Work], now_s: float) -> None:
        """Raises StalledError when a partition with something to do has not moved for too long."""
        for gone in self._moved.keys() - work.keys():
            del self._moved[gone]
        for name, one in work.items():
            done, since_s = self._moved.get(name, (None, now_s))
            if done != one.done or one.done >= one.available:
                self._moved[name] = one.done, now_s
            elif now_s - since_s >= self.stall_s:
                raise StalledError(
                    f"{name} has not moved from {one.done} for {now_s - since_s:.0f} s, "
                    f"with {one.available - one.done} records to read"
                )
