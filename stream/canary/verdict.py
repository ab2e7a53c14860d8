"""What an analysis says: one form for all methods."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of both arms. ``ratio`` and ``interval`` are the canary's value over the baseline's; None
    where that says nothing, as with a baseline of zero."""

    name: str
    canary: float | None
    baseline: float | None
    n: int
    """Requests of the canary that the metric rests on."""
    effective_n: float
    classification: str
    reason: str
    ratio: float | None = None
    interval: Interval | None = None
    p: float | None = None
    threshold: float | None = None
    """``p`` at or below it is significant."""


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
