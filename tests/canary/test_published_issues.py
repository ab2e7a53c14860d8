"""The cases that Kayenta's users published as judged wrong, judged by the default method.

Their points are a time series. Here a point is a minute of requests, alike in both arms: of a latency, each
request of the minute takes so many ms; of a count, so many of the minute's requests fail.
"""

from __future__ import annotations

import json
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.canary.design_effect import Scatter
from stream.canary.directions import Harmful
from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.evidence import compare_errors, compare_latencies, put_together
from stream.canary.margin_maps import Allowance, Allowances
from stream.canary.quantile_test import Arm, QuantileTest
from stream.canary.sequential import Limit, Measured, Progress, judge
from stream.canary.verdict import Judgement, Recommendation, Verdict
from stream.model.analysis import Direction
from stream.sketch import HistogramSet

Floats = NDArray[np.float64]
VECTORS = json.loads(Path(__file__).with_name("kayenta_vectors.json").read_text())
CASES = {case["name"]: case for case in VECTORS["issue_cases"]}
A_MINUTE = 1000
THRESHOLD = log(4 / 0.05)
"""Four metrics share 5 %."""
QUANTILES = {"latency-p50": (0.5, Limit(1.05, 1.0)), "latency-p95": (0.95, Limit(1.10, 2.0)),
             "latency-p99": (0.99, Limit(1.15, 5.0))}  # fmt: skip
ERRORS = Limit(1.25, 0.001)
WEIGHTS = np.array([0.9])


def points(case: dict[str, Any]) -> tuple[Floats, Floats]:
    return np.array(case["experiment"], np.float64), np.array(case["control"], np.float64)


def progress(minutes: int, *, over: bool) -> Progress:
    n = minutes * A_MINUTE
    return Progress(minutes * 60, 300, minutes * 60 if over else 3600, 100, n, n)


def of_latencies(canary: Floats, baseline: Floats, direction: Direction) -> list[Measured]:
    sets = [
        HistogramSet.from_values(np.zeros(len(arm) * A_MINUTE, np.int64), np.repeat(arm, A_MINUTE))
        for arm in (baseline, canary)
    ]
    row, each = np.zeros(1, np.int64), np.ones(1)
    found = []
    for name, (p, margin) in QUANTILES.items():
        effect = np.maximum(scatter_of_tail(canary, baseline, p).design_effect(), 1.0)
        test = QuantileTest(Arm.of(sets[0]), Arm.of(sets[1]), row, p * each, 900 * each, 900 * each, effect)
        allowed = Allowances.of([Allowance.of(*margin)], row)
        compared = compare_latencies(*sets, test, allowed, Harmful.of([direction]), np.array([THRESHOLD]))
        n = len(canary) * A_MINUTE
        found.append(
            put_together(name, compared, WEIGHTS, ["/"], THRESHOLD, margin, (n, n), direction=direction)
        )
    return found


def scatter_of_tail(canary: Floats, baseline: Floats, p: float) -> Scatter:
    """Of the requests above the baseline's quantile as known before each minute."""
    found, n = Scatter.none(1), np.array([float(A_MINUTE)])
    for i in range(1, len(canary)):
        limit = np.quantile(baseline[:i], p, method="inverted_cdf")
        found = found.plus(Scatter.of_pane(n, n * (canary[i] > limit), n, n * (baseline[i] > limit)))
    return found


def of_errors(canary: Floats, baseline: Floats) -> Measured:
    evidence = ErrorEvidence.start(RateMargin.same(1, *ERRORS))
    n, scatter = np.array([float(A_MINUTE)]), Scatter.none(1)
    for bad_c, bad_b in zip(canary, baseline, strict=True):
        bad = np.array([bad_c]), np.array([bad_b])
        evidence = evidence.add(Block(n, bad[0], n, bad[1]))
        scatter = scatter.plus(Scatter.of_pane(n, bad[0], n, bad[1]))
    compared = compare_errors(evidence, scatter.design_effect(), np.array([THRESHOLD]))
    total = len(canary) * A_MINUTE
    return put_together("error-rate", compared, WEIGHTS, ["/"], THRESHOLD, ERRORS, (total, total))


@pytest.mark.parametrize("name", ["7 of 10 points at 100x", "8 of 10 points at 100x"])
def test_a_hundred_times_slower_in_most_minutes_fails(name: str) -> None:
    said = judge(of_latencies(*points(CASES[name]), Direction.INCREASE), progress(10, over=False))
    assert (said.verdict, said.recommendation) == (Verdict.FAIL, Recommendation.ROLLBACK)
    assert "latency-p50 100.3 against 0.9946, ×100.9" in said.reason


def sparse(times: int) -> Judgement:
    """Judged at the end, after so many times the six minutes."""
    canary, baseline = (np.tile(arm, times) for arm in points(CASES["Sparse data"]))
    return judge([of_errors(canary, baseline)], progress(6 * times, over=True))


def test_four_errors_against_none_are_too_few_to_condemn_and_never_a_pass() -> None:
    """Of four errors all are the canary's in one of sixteen cases even when both arms are alike."""
    said = sparse(1)
    assert (said.verdict, said.recommendation) == (Verdict.MARGINAL, Recommendation.PAUSE)
    assert said.metrics[0].smallest_seen is None
    assert "too little to say" in said.reason


def test_errors_that_go_on_like_that_are_found() -> None:
    """A baseline without any is no hindrance; what is within the margin's 0.1 % of requests is no harm."""
    canary, baseline = points(CASES["Sparse data"])
    often = of_errors(np.tile(10 * canary, 5), np.tile(baseline, 5))
    said = judge([often], progress(30, over=False))
    assert said.verdict is Verdict.FAIL
    assert often.ratio > 1
    assert often.upper == inf


def test_another_spread_is_harm_to_those_who_call_either_direction_harm() -> None:
    """The canary is as slow in the middle and far faster at the tail."""
    case = points(CASES["Case 1: variability change"])
    either = judge(of_latencies(*case, Direction.EITHER), progress(15, over=False))
    assert either.verdict is Verdict.FAIL
    assert "latency-p99" in either.reason
    risen = judge(of_latencies(*case, Direction.INCREASE), progress(15, over=False))
    assert risen.verdict is not Verdict.FAIL
