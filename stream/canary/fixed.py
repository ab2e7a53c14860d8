"""The fixed method: one look at a window, both tests at 5 %, a health score.

Valid for one look. Whoever looks again until it fails finds a harm that is not there; the sequential method
is made for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.canary.proportion_test import proportion_test
from stream.canary.rank_test import rank_test
from stream.canary.verdict import Anomaly, Judgement, MetricResult, Recommendation, Severity, Verdict

SIGNIFICANT = 0.05
P99_WORSE, P99_MUCH_WORSE = 1.2, 1.5
"""The canary's p99 over the baseline's, from which on that is an anomaly, and a critical one."""
PENALTY = {Severity.WARNING: 15.0, Severity.CRITICAL: 40.0}
"""What an anomaly takes from a score of 100."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm did in the window."""

    latencies: NDArray[np.float64]
    """Requests by bucket, from the fastest to the slowest."""
    requests: int
    errors: int
    p99_ms: float | None
    """None without latencies."""


@dataclass(frozen=True, slots=True)
class SloReading:
    """How the canary does by an SLO of its service."""

    name: str
    good_pct: float
    target_pct: float


def judge(
    canary: Arm,
    baseline: Arm,
    slos: tuple[SloReading, ...] = (),
    *,
    least_requests: int = 1,
    pass_score: float = 90.0,
    marginal_score: float = 70.0,
) -> Judgement:
    """One look.

    The score is 100, less 15 for a warning and 40 for a critical anomaly, not below 0. Pass: at least
    ``pass_score`` and no anomaly. Marginal: at least ``marginal_score`` and no critical one. Otherwise fail.
    """
    if not canary.requests or not baseline.requests:
        missing = "canary" if not canary.requests else "baseline"
        return Judgement(Verdict.NODATA, Recommendation.PAUSE, f"the {missing} had no requests")
    fewest = min(canary.requests, baseline.requests)
    if fewest < least_requests:
        reason = f"{fewest:,} requests in one of the arms, {least_requests:,} are asked for"
        return Judgement(Verdict.INCONCLUSIVE, Recommendation.CONTINUE, reason)
    metrics, anomalies = [], []
    for result, anomaly in (_errors(canary, baseline), _latency(canary, baseline), _tail(canary, baseline)):
        metrics += [] if result is None else [result]
        anomalies += [] if anomaly is None else [anomaly]
    anomalies += [_missed(slo) for slo in slos if slo.good_pct < slo.target_pct]
    score = max(0.0, 100.0 - sum(PENALTY[anomaly.severity] for anomaly in anomalies))
    is_critical = any(anomaly.severity is Severity.CRITICAL for anomaly in anomalies)
    if score >= pass_score and not anomalies:
        verdict, advice = Verdict.PASS, Recommendation.PROMOTE
    elif score >= marginal_score and not is_critical:
        verdict, advice = Verdict.MARGINAL, Recommendation.PAUSE
    else:
        verdict, advice = Verdict.FAIL, Recommendation.ROLLBACK
    reason = "; ".join(anomaly.reason for anomaly in anomalies) or "no difference was found"
    return Judgement(verdict, advice, reason, score, tuple(metrics), tuple(anomalies))


_Found = tuple[MetricResult | None, Anomaly | None]


def _numbers(canary: float, baseline: float) -> tuple[int, int, float, float]:
    """As they are, and effective: this method takes each request as independent."""
    return round(canary), round(baseline), float(canary), float(baseline)


def _errors(canary: Arm, baseline: Arm) -> _Found:
    p = proportion_test(canary.errors, canary.requests, baseline.errors, baseline.requests)
    mine, theirs = canary.errors / canary.requests, baseline.errors / baseline.requests
    is_worse = p <= SIGNIFICANT and mine > theirs
    reason = f"{mine:.3%} errors against {theirs:.3%} (p = {p:.2g})"
    result = MetricResult(
        *("error-rate", mine, theirs, *_numbers(canary.requests, baseline.requests)),
        *("high" if is_worse else "pass", reason, mine / theirs if theirs else None),
        p=p,
        threshold=SIGNIFICANT,
    )
    return result, Anomaly("error-rate", Severity.CRITICAL, reason) if is_worse else None


def _latency(canary: Arm, baseline: Arm) -> _Found:
    if not canary.latencies.sum() or not baseline.latencies.sum():
        return None, None
    test = rank_test(canary.latencies, baseline.latencies)
    is_worse = test.p <= SIGNIFICANT and test.superiority > 0.5
    reason = f"a request of the canary is the slower one of two in {test.superiority:.1%} (p = {test.p:.2g})"
    numbers = _numbers(canary.latencies.sum(), baseline.latencies.sum())
    result = MetricResult(
        *("latency", test.superiority, 0.5, *numbers, "high" if is_worse else "pass", reason),
        p=test.p,
        threshold=SIGNIFICANT,
    )
    return result, Anomaly("latency", Severity.WARNING, reason) if is_worse else None


def _tail(canary: Arm, baseline: Arm) -> _Found:
    if canary.p99_ms is None or baseline.p99_ms is None:
        return None, None
    ratio = canary.p99_ms / baseline.p99_ms if baseline.p99_ms else None
    reason = f"p99 {canary.p99_ms:.4g} ms against {baseline.p99_ms:.4g} ms"
    numbers = _numbers(canary.latencies.sum(), baseline.latencies.sum())
    is_worse = ratio is not None and ratio >= P99_WORSE
    result = MetricResult(
        *("latency-p99", canary.p99_ms, baseline.p99_ms, *numbers, "high" if is_worse else "pass", reason),
        ratio,
    )
    if not is_worse or ratio is None:
        return result, None
    severity = Severity.CRITICAL if ratio >= P99_MUCH_WORSE else Severity.WARNING
    return result, Anomaly("latency-p99", severity, reason)


def _missed(slo: SloReading) -> Anomaly:
    good = f"{slo.good_pct:.4g} % of the canary's requests are good"
    reason = f"{slo.name}: {good}, the target is {slo.target_pct:.4g} %"
    return Anomaly(f"slo/{slo.name}", Severity.CRITICAL, reason)
