"""From raw requests to what is said of a metric, by endpoint and together."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.canary.design_effect import Scatter
from stream.canary.directions import Harmful
from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.evidence import (
    compare_errors,
    compare_latencies,
    compare_share,
    put_together,
)
from stream.canary.margin_maps import Allowance, Allowances
from stream.canary.quantile_test import Arm, QuantileTest
from stream.canary.sequential import Limit, Measured, Standing
from stream.canary.strata import simultaneous_log_thresholds
from stream.model.analysis import Direction
from stream.sketch import HistogramSet

Floats = NDArray[np.float64]
THRESHOLD = log(80)


def latencies(
    baseline: list[Floats],
    canary: list[Floats],
    p: float,
    weights: Floats,
    direction: Direction = Direction.INCREASE,
) -> Measured:
    rows = np.arange(len(baseline))
    sets = [
        HistogramSet.from_values(np.repeat(rows, [len(one) for one in arm]), np.concatenate(arm))
        for arm in (baseline, canary)
    ]
    each = np.ones(len(rows))
    test = QuantileTest(Arm.of(sets[0]), Arm.of(sets[1]), rows, p * each, 900 * each, 90 * each, each)
    margin = Allowances.of([Allowance.of(1.15, 5.0)], np.zeros(len(rows), np.int64))
    harmful = Harmful.of([direction] * len(rows))
    compared = compare_latencies(
        sets[0], sets[1], test, margin, harmful, simultaneous_log_thresholds(THRESHOLD, weights)
    )
    names = [f"/{row}" for row in rows]
    return put_together(
        "latency-p99", compared, weights, names, THRESHOLD, Limit(1.15, 5.0), (9, 99), direction=direction
    )


def drawn(seed: int, n: int, median: float = 40.0) -> Floats:
    return np.asarray(np.random.default_rng(seed).lognormal(log(median), 0.6, n))


def test_one_endpoint_is_compared_with_itself() -> None:
    said = latencies([drawn(1, 50_000)], [1.6 * drawn(2, 20_000)], 0.9, np.array([0.9]))
    assert said.standing is Standing.WORSE
    assert said.canary / said.baseline == pytest.approx(said.ratio)
    assert 1.15 < said.lower < 1.6 < said.upper < 2
    assert said.worst_endpoint is None
    same = latencies([drawn(1, 50_000)], [drawn(2, 20_000)], 0.9, np.array([0.9]))
    assert same.standing is Standing.WITHIN
    assert same.lower < 1 < same.upper < 1.15


def test_a_fall_is_harm_only_where_the_analysis_says_so() -> None:
    slow, fast = [drawn(1, 50_000)], [0.6 * drawn(2, 20_000)]
    up, down, either = (latencies(slow, fast, 0.9, np.array([0.9]), d) for d in Direction)
    assert (up.standing, down.standing, either.standing) == (Standing.WITHIN, Standing.WORSE, Standing.WORSE)
    assert (up.within, down.within, either.within) == (True, False, False)
    assert down.log_e - either.log_e == pytest.approx(log(2), abs=1e-3)
    assert "beyond the margin of −13 % to +15 %" in either.reason
    assert (down.score, up.score) == (0, 100)
    harmed = latencies(fast, slow, 0.9, np.array([0.9]), Direction.DECREASE)
    assert harmed.standing is Standing.WITHIN
    alike = latencies(slow, [drawn(2, 20_000)], 0.9, np.array([0.9]), Direction.EITHER)
    assert alike.standing is Standing.WITHIN
    few = latencies(slow, [drawn(2, 300)], 0.9, np.array([0.9]), Direction.EITHER)
    assert few.standing is Standing.OPEN
    assert 0 < few.score <= 100


def test_another_mix_of_endpoints_is_no_harm() -> None:
    """Simpson's paradox: all together the canary is far slower, at each endpoint it is a little faster."""
    baseline = [drawn(1, 45_000), drawn(2, 15_000, 400)]
    canary = [0.98 * drawn(3, 5_000), 0.98 * drawn(4, 30_000, 400)]
    assert np.median(np.concatenate(canary)) > 3 * np.median(np.concatenate(baseline))
    said = latencies(baseline, canary, 0.5, np.array([0.6, 0.3]))
    assert said.standing is Standing.WITHIN
    assert said.ratio == pytest.approx(0.98, abs=0.04)


def test_the_endpoint_that_is_to_blame_is_named() -> None:
    baseline = [drawn(i, 10_000) for i in range(5)]
    canary = [drawn(i + 50, 5_000) * (1.8 if i == 3 else 1) for i in range(5)]
    said = latencies(baseline, canary, 0.9, np.full(5, 0.18))
    assert said.standing is Standing.WORSE
    assert said.worst_endpoint == "/3"
    assert "most of it on /3" in said.reason


def errors(blocks: list[tuple[int, int, int, int]], effect: float = 1.0) -> Measured:
    margin = Limit(1.5, 0.002)
    evidence = ErrorEvidence.start(RateMargin.same(1, *margin))
    for block in blocks:
        evidence = evidence.add(Block(*(np.array([float(x)]) for x in block)))
    compared = compare_errors(evidence, np.array([effect]), np.array([THRESHOLD]))
    return put_together("error-rate", compared, np.array([0.9]), ["/"], THRESHOLD, margin, (9, 99))


def test_errors_have_rates_a_ratio_and_an_interval() -> None:
    said = errors([(1000, 40, 9000, 90)] * 5)
    assert (said.canary, said.baseline, said.ratio) == pytest.approx((0.04, 0.01, 4.0))
    assert said.standing is Standing.WORSE
    assert 2 < said.lower < 4 < said.upper < 8
    assert errors([(1000, 10, 9000, 90)] * 40).standing is Standing.WITHIN


def test_a_design_effect_weakens_what_is_said() -> None:
    plain, burst = (errors([(1000, 40, 9000, 90)] * 5, effect) for effect in (1.0, 10.0))
    assert burst.log_e < plain.log_e
    assert burst.lower < plain.lower
    assert burst.n_canary == 500
    assert burst.ratio == pytest.approx(plain.ratio)


def test_no_errors_at_all_are_within_only_once_there_are_enough_requests() -> None:
    few, many = errors([(50, 0, 500, 0)] * 3), errors([(5000, 0, 5000, 0)] * 20)
    assert few.standing is Standing.OPEN
    assert (few.lower, few.upper) == (0, inf)
    assert many.standing is Standing.WITHIN


def test_a_canary_that_gets_too_little_traffic_is_found() -> None:
    """Rows of several analyses at once, each with its own margin."""
    canary = np.array([3000.0, 5000, 8000, 8000, 3500, 7000])
    none, each = np.zeros(6), np.ones(6)
    found = compare_share(
        Block(canary, none, 95_000 * each, none),
        0.05 * each,
        np.array([0.2, 0.2, 0.2, 0.2, 0.5, 0.5]),
        np.array([True, True, True, False, True, True]),
        each,
        THRESHOLD * each,
    )
    too_little, right, too_much, more_is_fine, wide, wide_above = found.log_e_worse
    assert too_little > THRESHOLD
    assert right < 0
    assert found.log_e_within[1] == inf
    assert too_much > THRESHOLD > more_is_fine
    assert wide < 0
    assert wide_above < 0


def test_scatter_of_the_tail_is_what_the_latencies_design_effect_is_made_of() -> None:
    """A pane's requests above the baseline's p90 as known before it; each arm with its own slow panes."""
    rng = np.random.default_rng(3)
    scatter = Scatter.none(1)
    for _ in range(200):
        slow = rng.random(2) < 0.1
        above = rng.binomial([20, 300], np.where(slow, 0.6, 0.1))
        scatter = scatter.plus(
            Scatter.of_pane(*(np.array([float(x)]) for x in (20, above[0], 300, above[1])))
        )
    assert 2 < scatter.design_effect()[0] < 30


def two_endpoints(*counts: tuple[float, float, float, float]) -> Measured:
    """Requests and errors of the canary, and of the baseline, at each."""
    block = Block(*np.array(counts).T.copy())
    evidence = ErrorEvidence.start(RateMargin.same(len(counts), 1.25, 0.001)).add(block).add(block)
    weights = np.full(len(counts), 0.9 / len(counts))
    thresholds = simultaneous_log_thresholds(THRESHOLD, weights)
    compared = compare_errors(evidence, np.ones(len(counts)), thresholds)
    names = [f"/{i}" for i in range(len(counts))]
    return put_together("error-rate", compared, weights, names, THRESHOLD, Limit(1.25, 0.001), (9, 99))


def test_an_endpoint_that_the_canary_does_not_get_is_no_part_of_the_effect() -> None:
    said = two_endpoints((400, 20, 1000, 25), (0, 0, 1000, 0))
    assert (said.canary, said.baseline, said.ratio) == pytest.approx((0.05, 0.025, 2.0))
    assert said.lower > 0
    assert said.standing is not Standing.WITHIN, "half of the traffic was not compared"


def test_errors_where_the_baseline_has_none_are_told_as_what_they_are() -> None:
    said = two_endpoints((400, 40, 1000, 0), (400, 60, 1000, 0))
    assert (said.canary, said.baseline) == pytest.approx((0.125, 0))
    assert said.standing is Standing.WORSE
    assert said.reason.startswith("error-rate 0.125 against 0: beyond the margin of 0.001")


def test_constant_latencies_are_equal_or_they_are_not() -> None:
    """All in one bucket: of ties, the count that says least is taken, and still the difference is seen."""
    same, slower = np.full(20_000, 40.0), np.full(20_000, 60.0)
    equal = latencies([same], [same], 0.99, np.array([0.9]))
    assert (equal.standing, equal.ratio) == (Standing.WITHIN, 1.0)
    assert latencies([same], [slower], 0.99, np.array([0.9])).standing is Standing.WORSE
