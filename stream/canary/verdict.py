"""What an analysis says: one form for all methods."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WITHOUT_DATA = "nodata"
"""The classification of a metric of which an arm has nothing."""


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    MARGINAL = "marginal"
    INCONCLUSIVE = "inconclusive"
    NODATA = "nodata"


class Recommendation(StrEnum):
    PROMOTE = "promote"
    CONTINUE = "continue"
    PAUSE = "pause"
    ROLLBACK = "rollback"


class Severity(StrEnum):
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Interval:
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of both arms. ``ratio`` and ``interval`` are the canary's value over the baseline's. None is
    what a number cannot say, as of a baseline of zero."""

    name: str
    canary: float | None
    baseline: float | None
    n: int
    """Requests of the canary that the metric rests on; points of Kayenta's."""
    n_baseline: int
    effective_n: float
    """The same, less what bursts and sampling take from them."""
    effective_n_baseline: float
    classification: str
    reason: str
    ratio: float | None = None
    interval: Interval | None = None
    """At all looks, each end wrong with probability α of the metric at most. An end that is None has no
    bound."""
    p: float | None = None
    e: float | None = None
    """Evidence that the metric is worse than its margin allows; at most 10³⁰⁰."""
    threshold: float | None = None
    """``p`` at or below it is significant; ``e`` at or above."""
    design_effect: float | None = None
    margin_ratio: float | None = None
    """The largest ratio that is no harm."""
    smallest_seen: float | None = None
    """The smallest ratio that would have been called worse by now: the power of the test."""
    worst_endpoint: str | None = None
    weight: float = 1.0
    critical: bool = False


def without_data(name: str, canary: int, baseline: int) -> MetricResult:
    """A metric that so many requests of each arm tell, none of one of them: it lets no canary pass."""
    sides = [side for side, n in (("canary", canary), ("baseline", baseline)) if not n]
    reason = f"{name}: no request of the {' or the '.join(sides)} tells it"
    return MetricResult(
        *(name, None, None, canary, baseline, float(canary), float(baseline), WITHOUT_DATA, reason)
    )


@dataclass(frozen=True, slots=True)
class Anomaly:
    name: str
    severity: Severity
    reason: str
    """In words, with the numbers."""


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    recommendation: Recommendation
    reason: str
    score: float | None = None
    """0 to 100; None where the method has none."""
    metrics: tuple[MetricResult, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    final: bool = True
    """Whether later looks cannot change it."""
