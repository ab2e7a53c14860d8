"""Which versions of a service have been seen: a rollback names the newest and the one before."""

from __future__ import annotations

from dataclasses import dataclass

from stream.model.objective import PANE_S
from stream.window.panes import window_start_s

MAX_VERSIONS = 256
"""Kept per service; beyond it the oldest is forgotten."""


@dataclass(slots=True)
class Seen:
    first_ms: int
    """Smallest ts."""
    last_end_s: int
    """End of the newest pane that holds an event of it."""
    decided_s: int
    """The last tick that was decided when an event of it was last counted."""


class Versions:
    """Versions of one service. One unseen for ``memory_s`` of event time is forgotten."""

    def __init__(self, memory_s: int) -> None:
        self.memory_s = memory_s
        self.seen: dict[str, Seen] = {}

    def observe(self, version: str, first_ms: int, pane: int, decided_s: int) -> None:
        """An event of a pane; ``decided_s`` is the last tick that was decided without it."""
        end_s = (pane + 1) * PANE_S
        known = self.seen.get(version)
        if known is None or (known.decided_s < decided_s and self._forgotten(known, decided_s)):
            self.seen[version] = Seen(first_ms, end_s, decided_s)
            return
        known.first_ms = min(known.first_ms, first_ms)
        known.last_end_s = max(known.last_end_s, end_s)
        known.decided_s = decided_s

    def settle(self, tick_s: int) -> None:
        """Forget what was not seen for long, then what is too much. At ticks only, so that the order in which
        versions were observed between two of them does not matter."""
        for version in [v for v, s in self.seen.items() if self._forgotten(s, tick_s)]:
            del self.seen[version]
        while len(self.seen) > MAX_VERSIONS:
            del self.seen[min(self.seen, key=lambda v: (self.seen[v].first_ms, v))]

    def _forgotten(self, seen: Seen, tick_s: int) -> bool:
        return seen.last_end_s <= window_start_s(tick_s, self.memory_s)

    def newest(self, tick_s: int) -> tuple[str | None, str | None]:
        """(newest, the one before) at a tick, by smallest ts, ties by name; None where there is none."""
        self.settle(tick_s)
        order = sorted(self.seen, key=lambda v: (self.seen[v].first_ms, v), reverse=True)
        newest, previous, *_ = [*order, None, None]
        return newest, previous
