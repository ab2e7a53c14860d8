"""Who is compared with whom in one stage of a rollout."""

from __future__ import annotations

from stream.canary.cohorts import Cohort
from stream.model.analysis import Baseline
from stream.wire.state import Record

FULL = 100.0


class Stage(Record, frozen=True):
    """From ``since_s`` on. All of it is known when it begins, but for when the canary is first seen."""

    serial: int
    """Counts the stages of a rollout that were begun: a trial is of one of them."""
    place: int
    """Among the stages of the analysis."""
    percent: float | None
    """Of the traffic that the canary gets; None: nobody said."""
    since_s: int
    version: str | None
    """Of the canary; None: it goes by its track alone."""
    baselines: tuple[str, ...]
    """Candidates, the first that there is counts."""
    alpha_share: float = 1.0
    """Of the α of the whole rollout."""
    full: bool = False
    """Nothing serves beside the new version: all requests are its own, and only the past is left to be
    compared with."""
    first_s: int | None = None
    """Start of the first pane of the stage in which the canary had requests."""

    def counts_from_s(self, warmup_s: int) -> int | None:
        """Start of the first pane that is judged; None: the canary was not seen yet.

        Warm-up begins with the canary's first request: a pod takes its time to start.
        """
        return None if self.first_s is None else self.first_s + warmup_s

    def takes(self, track: str, version: str) -> bool:
        """On the track ``canary``, or the new version beside the old one on the track ``stable``."""
        if self.full and self.version is None:
            return track in ("canary", "stable")
        if track == "canary":
            return self.version is None or version in (self.version, "")
        return self.version is not None and track == "stable" and version == self.version

    def compares_with(self, track: str, version: str, baseline: Baseline) -> bool:
        if baseline is Baseline.BASELINE:
            return track == "baseline"
        return track == "stable" and (self.version is None or version != self.version)

    def is_canary(self, cohort: Cohort) -> bool:
        return self.takes(cohort.track, cohort.version)

    def is_baseline(self, cohort: Cohort, baseline: Baseline) -> bool:
        """``BEFORE``: whether it belongs to the service's past that the canary may be compared with."""
        return self.compares_with(cohort.track, cohort.version, baseline)
