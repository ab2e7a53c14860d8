"""What the teller of a story says about itself: how far it has come, and how much it has sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``told_ms`` is the event time up to which events were sent."""

    title: str
    start_ms: int
    length_s: float
    told_ms: int
    elapsed_s: float
    """By the wall clock."""
    speed: float
    """Event seconds a second."""
    sent: int
    events_per_s: float
    """By the wall clock, of late."""

    @property
    def story_s(self) -> float:
        """How far the story has come."""
        return (self.told_ms - self.start_ms) / 1000

    @property
    def fraction(self) -> float:
        """0 to 1; 1 also when it goes on beyond its end."""
        return min(1.0, self.story_s / self.length_s)
