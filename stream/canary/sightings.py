"""Which versions of a service were heard of, on which track, and since when: what tells a release that nobody
announced."""

from __future__ import annotations

from stream.model.analysis import Analysis
from stream.model.objective import TRACKS

SILENT_S = 600
"""A canary that is not heard of for so long is gone, and one that comes back is another."""
MAX_HEARD = 64
"""Versions by track; beyond it the one that was silent for the longest time is forgotten."""

Heard = tuple[str, str, int, int]
"""(track, version, first heard at tick, last heard at tick); the version is empty where events name none."""


class Sightings:
    def __init__(self, analysis: Analysis) -> None:
        self.silence_s = min(analysis.longest_s, SILENT_S)
        """After so long without a request a canary is gone, and one that comes back is a new one: were these
        two lengths, one that comes back in between would not be judged at all."""
        self._memory_s = max(analysis.longest_s, SILENT_S)
        self._heard: dict[tuple[str, str], tuple[int, int]] = {}
        self._now: set[tuple[str, str]] = set()

    def sight(self, track: str, version: str) -> None:
        """Requests in the pane that the next tick ends."""
        assert track in TRACKS, track
        self._now.add((track, version))

    @property
    def now(self) -> list[tuple[str, str]]:
        """What was sighted in that pane."""
        return sorted(self._now)

    def on(self, track: str) -> list[str]:
        """Versions that were sighted on a track in that pane; empty where events name none."""
        return sorted(version for where, version in self._now if where == track)

    def settle(self, tick_s: int) -> None:
        """From now on, what was sighted is what was heard before."""
        for which in self._now:
            first_s, _ = self._heard.get(which, (tick_s, tick_s))
            self._heard[which] = first_s, tick_s
        self._now.clear()
        while len(self._heard) > MAX_HEARD:
            del self._heard[min(self._heard, key=lambda which: (self._heard[which][1], which))]

    def is_back(self, tick_s: int) -> bool:
        """Whether the track ``canary`` has requests, after a silence."""
        last = [last_s for (track, _), (_, last_s) in self._heard.items() if track == "canary"]
        return bool(self.on("canary")) and (not last or tick_s - max(last) > self.silence_s)

    def is_new(self, version: str, tick_s: int) -> bool:
        """Whether a version was not heard of for long, and others were. The one that served last is not new,
        however long the service was silent."""
        last = [last_s for (_, known), (_, last_s) in self._heard.items() if known == version]
        if not version or (last and tick_s - max(last) <= self._memory_s):
            return False
        serving = self.newest_but(None)
        return serving is not None and serving != version

    def newest_but(self, version: str | None) -> str | None:
        """Of the track ``stable``, the version that was heard of last; of several, the one that came last."""
        others = [
            (last_s, first_s, known)
            for (track, known), (first_s, last_s) in self._heard.items()
            if track == "stable" and known and known != version
        ]
        return max(others)[2] if others else None

    def serves(self, version: str, tick_s: int) -> bool:
        """Whether ``stable`` has served a version for a while, and still does: longer than a deploy event may
        be behind."""
        first_s, last_s = self._heard.get(("stable", version), (tick_s, 0))
        return first_s + SILENT_S < tick_s and last_s + SILENT_S > tick_s

    def know(self, version: str | None, tick_s: int) -> None:
        """A deploy event names it: when it appears, that is no surprise."""
        if version:
            self._heard.setdefault(("", version), (tick_s, tick_s))
            self._heard["", version] = self._heard["", version][0], tick_s

    # state

    def packed(self) -> tuple[list[Heard], list[tuple[str, str]]]:
        return [(*which, *times) for which, times in sorted(self._heard.items())], self.now

    @classmethod
    def of(cls, analysis: Analysis, heard: list[Heard], now: list[tuple[str, str]]) -> Sightings:
        found = cls(analysis)
        found._heard = {(track, version): (first_s, last_s) for track, version, first_s, last_s in heard}
        found._now = set(now)
        return found
