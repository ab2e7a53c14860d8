"""The fixed method's tests are those of scipy, and its verdict follows from its anomalies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stream.canary.fixed import Arm, SloReading, judge
from stream.canary.proportion_test import LEAST_EXPECTED, proportion_test
from stream.canary.rank_test import rank_test
from stream.canary.verdict import Recommendation, Severity, Verdict

BUCKETS = st.lists(st.integers(0, 12), min_size=3, max_size=6)


@settings(deadline=None)
@given(BUCKETS, BUCKETS)
def test_the_rank_test_on_buckets_is_the_one_on_values(canary: list[int], baseline: list[int]) -> None:
    size = min(len(canary), len(baseline))
    a, b = np.array(canary[:size], np.float64), np.array(baseline[:size], np.float64)
    if not a.sum() or not b.sum():
        return
    found = rank_test(a, b)
    x, y = np.repeat(np.arange(size), a.astype(int)), np.repeat(np.arange(size), b.astype(int))
    slower = (x[:, None] > y).mean() + (x[:, None] == y).mean() / 2
    assert found.superiority == pytest.approx(slower)
    if len(np.unique(np.concatenate([x, y]))) > 1:
        assert found.p == pytest.approx(stats.mannwhitneyu(x, y, method="asymptotic").pvalue, abs=1e-9)
    else:
        assert found.p == 1.0


def table(draw: st.DrawFn) -> tuple[int, int, int, int]:
    total, other = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    return draw(st.integers(0, total)), total, draw(st.integers(0, other)), other


@settings(deadline=None)
@given(st.composite(table)())
def test_the_test_of_errors_is_chi_square_with_yates_or_fishers_exact(
    case: tuple[int, int, int, int],
) -> None:
    bad, total, bad_baseline, total_baseline = case
    bads, both = bad + bad_baseline, total + total_baseline
    found = proportion_test(*case)
    if bads in (0, both):
        assert found == 1.0
        return
    counts = [[bad, total - bad], [bad_baseline, total_baseline - bad_baseline]]
    if stats.contingency.expected_freq(counts).min() < LEAST_EXPECTED:
        assert found == pytest.approx(stats.fisher_exact(counts).pvalue, rel=1e-6)
    else:
        assert found == pytest.approx(stats.chi2_contingency(counts).pvalue, rel=1e-9, abs=1e-12)


def test_the_tea_tasting_lady() -> None:
    """Fisher, The Design of Experiments, 1935: three of four cups right."""
    assert proportion_test(3, 4, 1, 4) == pytest.approx(34 / 70)


def arm(requests: int = 1_000, errors: int = 10, slower: int = 0, p99_ms: float = 100.0) -> Arm:
    latencies = np.zeros(20)
    latencies[5 + slower] = requests / 2
    latencies[6 + slower] = requests / 2
    return Arm(latencies, requests, errors, p99_ms)


def test_arms_that_are_alike_pass() -> None:
    found = judge(arm(), arm())
    assert (found.verdict, found.score, found.anomalies) == (Verdict.PASS, 100.0, ())
    assert found.recommendation is Recommendation.PROMOTE


@pytest.mark.parametrize(
    ("canary", "name", "severity", "verdict"),
    [
        (arm(errors=40), "error-rate", Severity.CRITICAL, Verdict.FAIL),
        (arm(slower=1), "latency", Severity.WARNING, Verdict.MARGINAL),
        (arm(p99_ms=130.0), "latency-p99", Severity.WARNING, Verdict.MARGINAL),
        (arm(p99_ms=160.0), "latency-p99", Severity.CRITICAL, Verdict.FAIL),
    ],
)
def test_each_harm_is_an_anomaly_with_its_severity(
    canary: Arm, name: str, severity: Severity, verdict: Verdict
) -> None:
    found = judge(canary, arm())
    assert [(a.name, a.severity) for a in found.anomalies] == [(name, severity)]
    assert found.verdict is verdict
    assert found.anomalies[0].reason in found.reason


def test_a_better_canary_is_no_anomaly() -> None:
    assert judge(arm(errors=0, slower=-2, p99_ms=20.0), arm(errors=100)).verdict is Verdict.PASS


def test_a_canary_that_misses_an_objective_fails() -> None:
    found = judge(arm(), arm(), (SloReading("up", 99.0, 99.9), SloReading("fast", 99.95, 99.9)))
    assert [anomaly.name for anomaly in found.anomalies] == ["slo/up"]
    assert found.verdict is Verdict.FAIL


def test_two_warnings_are_marginal_and_a_third_anomaly_fails() -> None:
    assert judge(arm(slower=1, p99_ms=130.0), arm()).score == 70.0
    assert judge(arm(slower=1, p99_ms=130.0), arm()).verdict is Verdict.MARGINAL
    assert judge(arm(slower=1, p99_ms=130.0), arm(), marginal_score=80.0).verdict is Verdict.FAIL


def test_without_enough_requests_nothing_is_said() -> None:
    assert judge(arm(requests=0, errors=0), arm()).verdict is Verdict.NODATA
    assert judge(arm(), arm(requests=0, errors=0)).verdict is Verdict.NODATA
    found = judge(arm(requests=50), arm(), least_requests=100)
    assert (found.verdict, found.recommendation) == (Verdict.INCONCLUSIVE, Recommendation.CONTINUE)


def test_constant_latencies_and_a_baseline_of_zero_have_an_outcome() -> None:
    same = Arm(np.array([0.0, 1_000.0]), 1_000, 0, 0.0)
    found = judge(same, same)
    assert found.verdict is Verdict.PASS
    assert {metric.name: metric.ratio for metric in found.metrics}["error-rate"] is None
