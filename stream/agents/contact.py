"""Whether Kafka answers: one line when it does no longer, one when it does again. Time is the caller's."""

from __future__ import annotations

from collections.abc import Mapping

LOST_AFTER_S = 5.0
"""Fetches are answered within a fraction of a second; a new leader takes a few."""


class Contact:
    """Remembers since when fetches are left without an answer."""

    def __init__(self) -> None:
        self.lost_since_s: float | None = None

    def look(self, waiting_s: float, answered_s: float, now_s: float) -> float | None:
        """``waiting_s``: how long the eldest unanswered fetch has waited. ``answered_s``: when one was last
        answered. Returns for how long there was no contact, when it has just been lost or found again."""
        if self.lost_since_s is None:
            if waiting_s < LOST_AFTER_S:
                return None
            self.lost_since_s = now_s - waiting_s
            return waiting_s
        if waiting_s >= LOST_AFTER_S or answered_s <= self.lost_since_s:
            return None
        lost_since_s, self.lost_since_s = self.lost_since_s, None
        return answered_s - lost_since_s

    @property
    def is_lost(self) -> bool:
        return self.lost_since_s is not None


class MissingTopics:
    """Topics that are read and are there no longer: each is told when it has gone."""

    def __init__(self) -> None:
        self._there: set[str] = set()

    def look(self, partitions: Mapping[str, int]) -> list[str]:
        """``partitions``: by topic, how many are known; 0 also before any are."""
        gone = [topic for topic, count in partitions.items() if not count and topic in self._there]
        self._there = {topic for topic, count in partitions.items() if count}
        return [f"the topic {topic} is gone: nothing of it is read until it is made again" for topic in gone]
