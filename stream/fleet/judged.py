"""Which changes were judged: known for longer than what became of them, and in however many namespaces."""

from __future__ import annotations

import hashlib

from stream.model.deploy import ChangeEvent

MAX_JUDGED = 100_000
"""Beyond it the one that was judged longest ago is forgotten: 32 bytes each, and what Python adds."""


class Judged:
    """The newest event of each change, as a digest."""

    def __init__(self) -> None:
        self._events: dict[bytes, bytes] = {}
        """By identity, in the order in which they were judged."""

    def holds(self, event: ChangeEvent) -> bool:
        """Whether exactly this event was judged, and no other one of the change since."""
        return self._events.get(_digest(event.identity)) == _content(event)

    def add(self, event: ChangeEvent) -> None:
        identity = _digest(event.identity)
        self._events.pop(identity, None)
        self._events[identity] = _content(event)
        if len(self._events) > MAX_JUDGED:
            del self._events[next(iter(self._events))]


def _content(event: ChangeEvent) -> bytes:
    return _digest((event.kind, event.at_ms, event.version, event.by, event.links))


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
