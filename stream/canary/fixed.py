"""The fixed method: one look at a window, both tests at 5 %, a health score.

Valid for one look. Whoever looks again until it fails finds a harm that is not there; the sequential method
is made for that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.canary.proportion_test import proportion_test
from stream.canary.rank_test import rank_test
from stream.canary.verdict import (
    WITHOUT_DATA,
    Anomaly,
    Judgement,
    MetricResult,
    Recommendation,
    Severity,
    Verdict,
    without_data,
)
from stream.model.analysis import ERROR_RATE, LATENCY_METRICS, SLO_PREFIX

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
    judged: int | None = None
    """Requests that say whether they went well; None: all of them do."""

    @property
    def of_errors(self) -> int:
        return self.requests if self.judged is None else self.judged


@dataclass(frozen=True, slots=True)
class SloReading:
    """How the canary does by an SLO of its service."""

    name: str
    good_pct: float | None
    """None: no request of the canary counts for it."""
    target_pct: float


def judge(
    canary: Arm,
    baseline: Arm,
    slos: tuple[SloReading, ...] = (),
    *,
    asked: Collection[str] = (ERROR_RATE, *LATENCY_METRICS),
    least_requests: int = 1,
    pass_score: float = 90.0,
    marginal_score: float = 70.0,
) -> Judgement:
    """One look; ``asked``: the metrics of the analysis.

    The score is 100, less 15 for a warning and 40 for a critical anomaly, not below 0. Pass: at least
    ``pass_score``, no anomaly, and both arms have data of all that is asked. Marginal: at least
    ``marginal_score`` and no critical anomaly. Otherwise fail.
    """
    if not canary.requests or not baseline.requests:
        missing_arm = "canary" if not canary.requests else "baseline"
        return Judgement(Verdict.NODATA, Recommendation.PAUSE, f"the {missing_arm} had no requests")
    fewest = min(canary.requests, baseline.requests)
    if fewest < least_requests:
        reason = f"{fewest:,} requests in one of the arms, {least_requests:,} are asked for"
        return Judgement(Verdict.INCONCLUSIVE, Recommendation.CONTINUE, reason)
    metrics, anomalies = [], []
    for result, anomaly in _found(canary, baseline, asked):
        metrics.append(result)
        anomalies += [] if anomaly is None else [anomaly]
    for slo in slos:
        if slo.good_pct is not None and slo.good_pct < slo.target_pct:
            anomalies.append(_missed(slo, slo.good_pct))
        elif slo.good_pct is None and SLO_PREFIX + slo.name in asked:
            metrics.append(without_data(SLO_PREFIX + slo.name, 0, baseline.requests))
    score = max(0.0, 100.0 - sum(PENALTY[anomaly.severity] for anomaly in anomalies))
    is_critical = any(anomaly.severity is Severity.CRITICAL for anomaly in anomalies)
    missing = [metric.reason for metric in metrics if metric.classification == WITHOUT_DATA]
    if missing and len(missing) == len(metrics) and not anomalies:
        return Judgement(Verdict.NODATA, Recommendation.PAUSE, "; ".join(missing), None, tuple(metrics))
    if score >= pass_score and not anomalies and missing:
        return Judgement(Verdict.MARGINAL, Recommendation.PAUSE, "; ".join(missing), None, tuple(metrics))
    if score >= pass_score and not anomalies:
        verdict, advice = Verdict.PASS, Recommendation.PROMOTE
    elif score >= marginal_score and not is_critical:
        verdict, advice = Verdict.MARGINAL, Recommendation.PAUSE
    else:
        verdict, advice = Verdict.FAIL, Recommendation.ROLLBACK
    reason = "; ".join([*(anomaly.reason for anomaly in anomalies), *missing]) or "no difference was found"
    return Judgement(verdict, advice, reason, score, tuple(metrics), tuple(anomalies))


_Found = tuple[MetricResult, Anomaly | None]


def _found(canary: Arm, baseline: Arm, asked: Collection[str]) -> Iterator[_Found]:
    """Each test; of an arm without data its place is kept, unless nobody asked and neither arm has any."""
    if ERROR_RATE in asked:
        if canary.of_errors and baseline.of_errors:
            yield _errors(canary, baseline)
        else:
            yield without_data(ERROR_RATE, canary.of_errors, baseline.of_errors), None
    n = [round(float(arm.latencies.sum())) for arm in (canary, baseline)]
    if all(n):
        yield _latency(canary, baseline)
        yield _tail(canary, baseline)
    elif any(n) or any(metric in asked for metric in LATENCY_METRICS):
        yield from ((without_data(name, *n), None) for name in ("latency", "latency-p99"))


def _numbers(canary: float, baseline: float) -> tuple[int, int, float, float]:
    """As they are, and effective: this method takes each request as independent."""
    return round(canary), round(baseline), float(canary), float(baseline)


def _errors(canary: Arm, baseline: Arm) -> _Found:
    n, n_baseline = canary.of_errors, baseline.of_errors
    p = proportion_test(canary.errors, n, baseline.errors, n_baseline)
    mine, theirs = canary.errors / n, baseline.errors / n_baseline
    is_worse = p <= SIGNIFICANT and mine > theirs
    reason = f"{mine:.3%} errors against {theirs:.3%} (p = {p:.2g})"
    result = MetricResult(
        *(ERROR_RATE, mine, theirs, *_numbers(n, n_baseline)),
        *("high" if is_worse else "pass", reason, mine / theirs if theirs else None),
        p=p,
        threshold=SIGNIFICANT,
    )
    return result, Anomaly(ERROR_RATE, Severity.CRITICAL, reason) if is_worse else None


def _latency(canary: Arm, baseline: Arm) -> _Found:
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
    assert canary.p99_ms is not None, "an arm with latencies has their p99"
    assert baseline.p99_ms is not None, "an arm with latencies has their p99"
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


def _missed(slo: SloReading, good_pct: float) -> Anomaly:
    good = f"{good_pct:.4g} % of the canary's requests are good"
    reason = f"{slo.name}: {good}, the target is {slo.target_pct:.4g} %"
    return Anomaly(f"slo/{slo.name}", Severity.CRITICAL, reason)
