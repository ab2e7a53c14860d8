"""Whether a worker has more to do than it can: its partitions wait for their turn. Time is the caller's."""

from __future__ import annotations

from collections.abc import Mapping

from stream.words import counted

OVERLOADED_AFTER_S = 10.0
"""A partition of a worker that keeps up waits for a fraction of a second."""
TELL_EVERY_S = 60.0


class Overload:
    """What is said of it: in the log, to whoever asks whether the worker is ready, and as a metric."""

    def __init__(self) -> None:
        self.text: str | None = None
        """How far behind the worker is; None while it keeps up."""
        self.longest_wait_s = 0.0
        self._told_s: float | None = None
        self._calm_s: float | None = None
        """Since when it keeps up, after it was told that it does not."""

    def look(self, waiting: Mapping[str, float], left: int, now_s: float) -> str | None:
        """``waiting``: partitions that do not come to their turn, and for how long; ``left``: records that
        are still to be read, of all. Returns what the log should say, once a minute at most."""
        self.longest_wait_s = max(waiting.values(), default=0.0)
        if self.longest_wait_s < OVERLOADED_AFTER_S:
            self.text = None
            return self._over(now_s)
        self._calm_s = None
        long = [name for name, waited_s in waiting.items() if waited_s >= OVERLOADED_AFTER_S]
        longest = max(waiting, key=lambda name: waiting[name])
        self.text = (
            f"overloaded: {counted(len(long), 'partition')} {'waits' if len(long) == 1 else 'wait'} for "
            f"{'its' if len(long) == 1 else 'their'} turn, {longest} for {self.longest_wait_s:.0f} s; "
            f"{counted(left, 'record')} behind"
        )
        if self._told_s is not None and now_s - self._told_s < TELL_EVERY_S:
            return None
        self._told_s = now_s
        return f"{self.text}; more workers share the load"

    def _over(self, now_s: float) -> str | None:
        """What is on the brink is not told every few seconds."""
        if self._told_s is None:
            return None
        if self._calm_s is None:
            self._calm_s = now_s
        if now_s - self._calm_s < TELL_EVERY_S:
            return None
        self._told_s = self._calm_s = None
        return "no longer overloaded: every partition comes to its turn"
