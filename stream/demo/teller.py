"""Telling a story to Kafka at its pace, piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from stream.kafka.feed import Feed
from stream.load.traffic import Shop

_STEP_S = 0.1
_MAX_PIECE_MS = 60_000
"""Of event time in one piece, however much is due: a slow broker makes the story slow, not pieces large."""
_RECENT_S = 3.0


class Teller:
    """Sends what happens in ``shop`` and counts it. ``told_ms``: event time up to which all was delivered."""

    def __init__(self, shop: Shop, feed: Feed, deploys: Feed) -> None:
        self.shop = shop
        self.told_ms = shop.story.start_ms
        self.sent = 0
        self.by_service: Counter[str] = Counter()
        self._feed = feed
        self._deploys = deploys
        self._began_s = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._began_s, 0)])

    async def tell(
        self, *, speed: float, until_ms: int | None = None, now_ms: Callable[[], int] | None = None
    ) -> None:
        """Go on at ``speed`` event seconds a second until ``until_ms``, or for ever, never beyond ``now_ms``.

        Raises ``SendError`` if Kafka does not take the events.
        """
        began_s, from_ms = time.monotonic(), self.told_ms
        while until_ms is None or self.told_ms < until_ms:
            step_s = time.monotonic()
            limits_ms = [from_ms + int((step_s - began_s) * speed * 1000)]
            limits_ms += [until_ms] if until_ms is not None else []
            limits_ms += [now_ms()] if now_ms is not None else []
            due_ms = max(self.told_ms, min(limits_ms))
            await self._tell_until(min(due_ms, self.told_ms + _MAX_PIECE_MS))
            rest_s = _STEP_S - (time.monotonic() - step_s)
            await asyncio.sleep(max(0.0, rest_s) if self.told_ms == due_ms else 0)

    @property
    def elapsed_s(self) -> float:
        """By the wall clock, since the start."""
        return time.monotonic() - self._began_s

    @property
    def events_per_s(self) -> float:
        """Events sent a second, by the wall clock, over the last few seconds."""
        now_s = time.monotonic()
        since_s, before = self._recent[0]
        return (self.sent - before) / (now_s - since_s) if now_s > since_s else 0.0

    async def _tell_until(self, until_ms: int) -> None:
        piece = self.shop.events(self.told_ms, until_ms)
        await self._deploys.send(piece.deploys)
        await self._feed.send(piece.events)
        self.told_ms = until_ms
        self.sent += len(piece.events)
        self.by_service.update(piece.by_service)
        now_s = time.monotonic()
        self._recent.append((now_s, self.sent))
        while self._recent[0][0] < now_s - _RECENT_S:
            self._recent.popleft()
