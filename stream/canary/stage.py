"""Who is compared with whom in one stage of a rollout."""

from __future__ import annotations

from stream.canary.cohorts import Cohort
from stream.model.analysis import Baseline
from stream.wire.state import Record


class Stage(Record, frozen=True):
    """From ``since_s`` on. All of it is known when it begins."""

    serial: int
    """Counts the stages of a rollout that were begun."""
    place: int
    """Among the stages of the analysis: whose share of α it spends."""
    percent: float | None
    """Of the traffic that the canary gets; None: nobody said."""
    since_s: int
    version: str | None
    """Of the canary; None: it goes by its track alone."""
    baselines: tuple[str, ...]
    """Candidates, the first that there is counts."""

    def is_canary(self, cohort: Cohort) -> bool:
        """On the track ``canary``, or the new version beside the old one on the track ``stable``."""
        if cohort.track == "canary":
            return self.version is None or cohort.version in (self.version, "")
        return self.version is not None and cohort.track == "stable" and cohort.version == self.version

    def is_baseline(self, cohort: Cohort, baseline: Baseline) -> bool:
        """``BEFORE``: whether it belongs to the service's past that the canary may be compared with."""
        if baseline is Baseline.BASELINE:
            return cohort.track == "baseline"
        return cohort.track == "stable" and (self.version is None or cohort.version != self.version)
