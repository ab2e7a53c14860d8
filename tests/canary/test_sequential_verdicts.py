"""What the sequential method says of a canary: never a silent pass, and a reason with numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import inf, log

import pytest

from stream.canary.sequential import Measured, Progress, Standing, judge, p_value
from stream.canary.verdict import Interval, Recommendation, Verdict

P99 = Measured(
    "latency-p99",
    -1.0,
    log(80),
    118.0,
    100.0,
    (6_300, 50_500),
    6e3,
    5e4,
    1.02,
    0.97,
    1.08,
    True,
    margin_ratio=1.15,
    margin_floor=5.0,
)
ERRORS = replace(P99, name="error-rate", canary=0.01, baseline=0.01, margin_ratio=1.5, margin_floor=0.001)
HALFWAY = Progress(1800, 300, 3600, 100, 6000, 50_000)
OVER = replace(HALFWAY, elapsed_s=3600)


def worse(one: Measured) -> Measured:
    return replace(one, log_e=5.0, ratio=1.4, lower=1.2, upper=1.7, within=False)


def unclear(one: Measured) -> Measured:
    return replace(one, ratio=1.05, lower=0.99, upper=1.3, within=False)


def blind(one: Measured) -> Measured:
    return replace(one, ratio=1.05, lower=0.6, upper=2.4, within=False)


def test_every_metric_within_its_margin_passes_once_the_shortest_duration_is_over() -> None:
    assert judge([P99, ERRORS], HALFWAY).verdict is Verdict.PASS
    early = judge([P99, ERRORS], replace(HALFWAY, elapsed_s=290))
    assert (early.verdict, early.final) == (Verdict.INCONCLUSIVE, False)


def test_one_worse_metric_fails_at_once() -> None:
    said = judge([P99, worse(ERRORS)], replace(HALFWAY, elapsed_s=60))
    assert (said.verdict, said.final) == (Verdict.FAIL, True)
    assert said.reason == "error-rate 0.01 against 0.01, +40 % [+20 %, +70 %]: beyond the margin of +50 %"


def test_while_a_metric_is_open_nothing_is_said() -> None:
    assert judge([unclear(P99)], HALFWAY).verdict is Verdict.INCONCLUSIVE


def test_at_the_end_no_harm_passes_only_if_twice_the_margin_would_have_been_seen() -> None:
    assert unclear(P99).smallest_seen == pytest.approx(1.15 * 1.05 / 0.99)
    assert judge([unclear(P99)], OVER).verdict is Verdict.PASS
    said = judge([blind(P99)], OVER)
    assert (said.verdict, said.final) == (Verdict.MARGINAL, True)
    assert "harm from +101 % would have been seen" in said.reason


def test_too_little_data_is_never_a_pass() -> None:
    for progress in (HALFWAY, OVER):
        said = judge([P99], replace(progress, n_canary=99))
        assert said.verdict is Verdict.INCONCLUSIVE
        assert said.final == (progress is OVER)
        assert said.reason.startswith("99 requests of the canary")
        assert judge([P99], replace(progress, n_canary=0)).verdict is Verdict.NODATA
        assert judge([P99], replace(progress, n_baseline=0)).reason == "the baseline had no requests"


def test_a_floor_widens_the_margin_of_a_small_value() -> None:
    fast = replace(unclear(P99), canary=21.0, baseline=20.0)
    assert fast.limit == pytest.approx(1.25)
    assert replace(fast, upper=1.24).score == 100


def test_a_baseline_without_errors_is_no_silent_pass() -> None:
    none = replace(ERRORS, baseline=0.0, canary=0.0, ratio=1.0, lower=0.0, upper=inf, within=False, log_e=0.0)
    assert none.standing is Standing.OPEN
    assert judge([none], OVER).verdict is Verdict.MARGINAL
    assert judge([replace(none, within=True)], OVER).verdict is Verdict.PASS
    many = replace(none, canary=0.02, log_e=9.0, ratio=inf)
    assert judge([many], HALFWAY).verdict is Verdict.FAIL
    assert many.reason.startswith("error-rate 0.02 against 0: beyond the margin of 0.001")


def test_the_score_is_how_much_of_each_interval_lies_within_by_weight() -> None:
    half = replace(P99, within=False, lower=1.15 / 1.1, upper=1.15 * 1.1, ratio=1.15)
    assert half.score == pytest.approx(50)
    assert judge([replace(P99, weight=3.0), half], HALFWAY).score == pytest.approx(87.5)
    assert judge([P99, worse(ERRORS)], HALFWAY).score == pytest.approx(50)
    assert judge([P99, replace(worse(ERRORS), critical=True)], HALFWAY).score == 0


def test_an_e_value_is_a_p_value() -> None:
    assert p_value(log(40)) == pytest.approx(0.025)
    assert p_value(-3.0) == 1


def test_every_number_of_a_metric_is_one_or_none() -> None:
    """Records are JSON, which has no infinity."""
    wide = replace(P99, ratio=inf, lower=0.0, upper=inf, log_e=1e6, baseline=0.0, within=False)
    found = judge([wide], HALFWAY).metrics[0]
    assert (found.ratio, found.interval, found.smallest_seen) == (None, Interval(None, None), None)
    json.dumps(asdict(found), allow_nan=False)


def test_a_metric_says_how_many_requests_it_rests_on_and_what_they_are_worth() -> None:
    found = judge([replace(P99, design_effect=1.05)], HALFWAY).metrics[0]
    assert (found.n, found.n_baseline, found.design_effect) == (6_300, 50_500, 1.05)
    assert (found.effective_n, found.effective_n_baseline) == (6e3, 5e4)


@pytest.mark.parametrize(
    ("metrics", "progress", "verdict", "recommendation"),
    [
        ([P99], HALFWAY, Verdict.PASS, Recommendation.PROMOTE),
        ([worse(P99)], HALFWAY, Verdict.FAIL, Recommendation.ROLLBACK),
        ([unclear(P99)], HALFWAY, Verdict.INCONCLUSIVE, Recommendation.CONTINUE),
        ([blind(P99)], OVER, Verdict.MARGINAL, Recommendation.PAUSE),
        ([P99], replace(HALFWAY, n_canary=5), Verdict.INCONCLUSIVE, Recommendation.CONTINUE),
        ([P99], replace(OVER, n_canary=5), Verdict.INCONCLUSIVE, Recommendation.PAUSE),
        ([], replace(HALFWAY, n_canary=0), Verdict.NODATA, Recommendation.CONTINUE),
        ([], replace(OVER, n_canary=0), Verdict.NODATA, Recommendation.PAUSE),
    ],
)
def test_each_verdict_has_its_advice(
    metrics: list[Measured], progress: Progress, verdict: Verdict, recommendation: Recommendation
) -> None:
    said = judge(metrics, progress)
    assert (said.verdict, said.recommendation) == (verdict, recommendation)
