"""Dates for evidence: a broker's time that is known to be past when a fetch is asked for.

A report may wait in the producer for as long as an outage lasts, so neither its own stamp nor an age measured
here says when the fetch was. The stamp of an earlier record does, once its acknowledgement has come.
"""

from __future__ import annotations

import math
from collections import deque


class Present:
    """The newest stamp of all: what a broker's clock showed, and when that was heard."""

    def __init__(self) -> None:
        self.stamp_ms: int | None = None
        self._heard_s = -math.inf

    def add(self, heard_s: float, stamp_ms: int) -> None:
        self.stamp_ms, self._heard_s = stamp_ms, heard_s

    def age_s(self, now_s: float) -> float:
        return now_s - self._heard_s

    def at(self, now_s: float) -> int | None:
        """What that clock shows by now, or more: the acknowledgement was under way for a while."""
        return None if self.stamp_ms is None else self.stamp_ms + int(self.age_s(now_s) * 1000)


_SPACING_S = 0.1
_KEPT = 600
"""A minute's worth at that spacing: no fetch is asked for longer ago and answered now."""


class Stamps:
    """The broker's stamps on records of one partition, by when they were acknowledged."""

    def __init__(self) -> None:
        self._heard: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    def add(self, heard_s: float, stamp_ms: int) -> None:
        """An acknowledgement has come. Of those in quick succession the first is enough."""
        if not self._heard or heard_s - self._heard[-1][0] >= _SPACING_S:
            self._heard.append((heard_s, stamp_ms))

    def before(self, asked_s: float) -> int | None:
        """The newest stamp whose acknowledgement had come by then; not the largest: a broker's clock may be
        set back."""
        return next((stamp_ms for heard_s, stamp_ms in reversed(self._heard) if heard_s <= asked_s), None)
