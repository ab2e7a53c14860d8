"""Rollouts drawn as timelines: one character is one pane of ten seconds.

A letter is a version that had requests there, ``-`` requests without a version, ``.`` none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from stream.canary.rollout import Rollout
from stream.model.analysis import Analysis
from stream.model.deploy import DeployEvent, DeployState
from stream.model.objective import PANE_S

WARMUP_S, SHORTEST_S, LONGEST_S = 20, 30, 120
SILENT_PANES = LONGEST_S // PANE_S
"""After so many panes without a request a canary is gone."""
MEMORY_PANES = 600 // PANE_S
"""After so many a version is forgotten."""


def analysis(*stages: int) -> Analysis:
    shares = tuple(Decimal(pct) for pct in stages or (100,))
    return Analysis(
        *("shop", "checkout", "payment", ()),
        shortest_s=SHORTEST_S,
        longest_s=LONGEST_S,
        warmup_s=WARMUP_S,
        stages_pct=shares,
    )


def told(
    state: str,
    at_s: float,
    percent: str | None = None,
    deployment: str = "d1",
    version: str | None = "b",
    previous: str | None = "a",
) -> DeployEvent:
    share = None if percent is None else Decimal(percent)
    at_ms = int(at_s * 1000)
    return DeployEvent(deployment, "shop", "payment", DeployState(state), at_ms, version, previous, share)


def never(_service: tuple[str, str], _version: str) -> bool:
    """Nothing was taken back."""
    return False


@dataclass
class Play:
    """A rollout, and the tick up to which it was played."""

    rollout: Rollout
    tick_s: int = 0
    began: list[tuple[int, str | None]] = field(default_factory=list)
    """(tick, deployment) of every release that was met."""

    def on(self, **tracks: str) -> Play:
        """Play panes on; all timelines are as long as one another."""
        (length,) = {len(line) for line in tracks.values()}
        for pane in range(length):
            for track, line in tracks.items():
                if line[pane] != ".":
                    self.rollout.sight(track, line[pane].replace("-", ""))
            self.tick_s += PANE_S
            self.rollout.advance(self.tick_s)
            if not self.began or self.began[-1][1] != self.rollout.deployment:
                self.began.append((self.tick_s, self.rollout.deployment))
        return self


def play(*events: DeployEvent, stages: tuple[int, ...] = (), **tracks: str) -> Play:
    """A new rollout to which all events are told beforehand."""
    rollout = Rollout(analysis(*stages))
    for event in events:
        rollout.announce(event)
    return Play(rollout).on(**tracks)
