"""What goes around the tests: bursts, endpoints, and how α is spent."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.canary.design_effect import Scatter
from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.spending import Spending
from stream.canary.strata import (
    StratumWeights,
    combined_effect,
    combined_log_e,
    combined_log_e_of_groups,
    shown_on_nearly_all,
    shown_on_nearly_all_of_groups,
    simultaneous_log_thresholds,
    simultaneous_log_thresholds_of_groups,
)

Floats = NDArray[np.float64]
ROLLOUTS = 400


def scatter(rates_c: np.ndarray, rates_b: np.ndarray, n_c: int = 20, n_b: int = 300) -> Scatter:  # type: ignore[type-arg]
    """Of rates [rollouts, panes] of both arms."""
    rng = np.random.default_rng(9)
    found = Scatter.none(len(rates_c))
    for c, b in zip(rates_c.T, rates_b.T, strict=True):
        n_canary, n_baseline = rng.poisson(n_c, len(c)), rng.poisson(n_b, len(c))
        bad = rng.binomial(n_canary, c), rng.binomial(n_baseline, b)
        found = found.plus(
            Scatter.of_pane(*(x.astype(np.float64) for x in (n_canary, bad[0], n_baseline, bad[1])))
        )
    return found


def bursts(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.where(np.random.default_rng(seed).random((ROLLOUTS, 360)) < 0.05, 0.4, 0.01)


def test_independent_requests_have_no_design_effect() -> None:
    effects = scatter(np.full((ROLLOUTS, 360), 0.02), np.full((ROLLOUTS, 360), 0.02)).design_effect()
    assert np.mean(effects) < 1.06
    assert np.quantile(effects, 0.95) < 1.25


def test_bursts_in_both_arms_at_once_have_none_either() -> None:
    common = bursts(1)
    assert np.mean(scatter(common, common).design_effect()) < 1.2


def test_a_lasting_harm_has_none() -> None:
    effects = scatter(np.full((ROLLOUTS, 360), 0.06), np.full((ROLLOUTS, 360), 0.02)).design_effect()
    assert np.mean(effects) < 1.3


def test_bursts_of_each_arm_by_itself_do() -> None:
    """By how much more the difference of the means varies is the least that must come out."""
    c, b = bursts(2), bursts(3)
    effects = scatter(c, b).design_effect()
    theta = 0.95 * 0.01 + 0.05 * 0.4
    within, between = theta * (1 - theta), 0.05 * 0.95 * 0.39**2
    expected = 1 + between * (2 - 1 / 20 - 1 / 300) / (within * (1 / 20 + 1 / 300))
    assert expected <= np.median(effects) <= 1.5 * expected


def test_few_panes_are_drawn_towards_one() -> None:
    c, b = bursts(2), bursts(3)
    few = scatter(c[:, :2], b[:, :2]).design_effect()
    assert (few == 1).all()
    some, many = (scatter(c[:, :n], b[:, :n]).design_effect() for n in (12, 360))
    assert 1 <= np.mean(some) < np.mean(many)


@given(st.lists(st.tuples(*(st.integers(0, 50) for _ in range(4))), min_size=1, max_size=30), st.randoms())
def test_panes_may_come_in_any_order_and_columns_bring_them_back(
    panes: list[tuple[int, ...]], random: object
) -> None:
    def total(ordered: list[tuple[int, ...]]) -> Scatter:
        found = Scatter.none(1)
        for n_c, bad_c, n_b, bad_b in ordered:
            pane = (n_c, min(bad_c, n_c), n_b, min(bad_b, n_b))
            found = found.plus(Scatter.of_pane(*(np.array([float(x)]) for x in pane)))
        return found

    one = total(panes)
    random.shuffle(panes)  # type: ignore[attr-defined]
    np.testing.assert_allclose(one.columns(), total(panes).columns(), rtol=1e-9, atol=1e-12)
    assert one.design_effect()[0] >= 1
    np.testing.assert_array_equal(Scatter.from_columns(one.columns()).columns(), one.columns())


def test_columns_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="no scatter"):
        Scatter.from_columns(np.zeros((4, 1)))


def test_harm_to_one_endpoint_and_harm_to_all_are_both_found() -> None:
    even = np.full(10, 0.09)
    quiet = -np.ones(10)
    one = quiet.copy()
    one[3] = log(1e6)
    assert combined_log_e(one, even) > log(20)
    assert combined_log_e(np.full(10, log(3)), even) > log(20)
    assert combined_log_e(quiet, even) < 0


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12))
def test_the_whole_is_the_average_of_each_endpoint_and_of_the_bet_on_all_requests(log_e: list[float]) -> None:
    weights = np.full(len(log_e), 0.9 / len(log_e))
    alone = 0.1 + sum(w * exp(x) for w, x in zip(weights, log_e, strict=True))
    expected = 0.5 * alone + 0.5 * exp(sum(log_e))
    assert combined_log_e(np.array(log_e), weights) == pytest.approx(log(expected), abs=1e-9)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1)), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_of_several_analyses_at_once_each_has_its_own(analyses: list[list[tuple[float, float]]]) -> None:
    parts = [np.array(one) for one in analyses]
    log_e = [part[:, 0] for part in parts]
    weights = [0.9 * part[:, 1] / max(part[:, 1].sum(), 1.0) for part in parts]
    groups = np.cumsum([0, *(len(part) for part in parts[:-1])])
    thresholds = np.arange(len(parts)) + 1.0
    together = np.concatenate(log_e), np.concatenate(weights), groups
    alone = [float(combined_log_e(e, w)) for e, w in zip(log_e, weights, strict=True)]
    np.testing.assert_allclose(combined_log_e_of_groups(*together), alone, atol=1e-12)
    shown = shown_on_nearly_all_of_groups(*together, thresholds)
    each = zip(log_e, weights, thresholds, strict=True)
    assert shown.tolist() == [bool(shown_on_nearly_all(e, w, t)) for e, w, t in each]


def test_thresholds_of_intervals_of_several_analyses_are_those_of_each() -> None:
    weights, groups = np.array([0.6, 0.2, 0.5, 0.0]), np.array([0, 2])
    found = simultaneous_log_thresholds_of_groups(np.log([20, 80]), weights, groups)
    np.testing.assert_allclose(found[:2], simultaneous_log_thresholds(log(20), weights[:2]))
    assert found[2:].tolist() == [pytest.approx(log(80)), np.inf]


def test_endpoints_without_weight_say_nothing_yet() -> None:
    weights, groups = np.array([0.9, 0.0, 0.0]), np.array([0, 2])
    found = combined_log_e_of_groups(np.array([2.0, 40.0, 40.0]), weights, groups)
    np.testing.assert_allclose(found, [combined_log_e(np.array([2.0]), np.array([0.9])), 0], atol=1e-12)
    assert not shown_on_nearly_all_of_groups(np.full(3, 9.0), weights, groups, np.ones(2))[1]


def of_ten_endpoints(rates_c: Floats) -> Floats:
    """[rollouts, endpoints, minutes] ln E of errors, 2 % in the baseline, by the canary's rate; looked at
    every minute of an hour."""
    rng = np.random.default_rng(8)
    rows = rates_c.size
    evidence = ErrorEvidence.start(RateMargin.same(rows))
    found = []
    for _ in range(60):
        n_c, n_b = rng.poisson(20, rows).astype(np.float64), rng.poisson(20, rows).astype(np.float64)
        bad = rng.binomial(n_c.astype(int), rates_c.ravel()), rng.binomial(n_b.astype(int), 0.02)
        evidence = evidence.add(Block(n_c, bad[0].astype(np.float64), n_b, bad[1].astype(np.float64)))
        found.append(evidence.log_e_worse().reshape(rates_c.shape))
    return np.stack(found, axis=-1)


def ever(log_e: Floats) -> float:
    return float(np.mean((log_e >= log(20)).any(axis=-1)))


def test_the_bet_on_all_requests_keeps_its_promise_and_finds_harm_that_is_thin_everywhere() -> None:
    assert ever(of_ten_endpoints(np.full((1000, 10), 0.02)).sum(axis=1)) <= 0.05
    spread = of_ten_endpoints(np.full((200, 10), 0.035))
    weights = np.full(10, 0.09)
    together = ever(combined_log_e(np.moveaxis(spread, 1, -1), weights))
    each = np.logaddexp.reduce(spread + log(0.09), axis=1)
    assert together >= 0.7
    assert ever(np.logaddexp(each, log(0.1))) <= together - 0.2


def test_weights_once_given_out_stay_and_leave_room_for_later_endpoints() -> None:
    first = StratumWeights.none().seen(np.array([3, 8]), np.array([900.0, 100.0]))
    assert first.weights.sum() == pytest.approx(0.9)
    assert first.weights[0] > first.weights[1] > 0.9 * 0.1
    later = first.seen(np.array([1, 3, 8]), np.array([1e9, 1.0, 1.0]))
    assert later.of(first.keys).tolist() == first.weights.tolist()
    assert later.of(np.array([1]))[0] == pytest.approx(0.1 * 0.9)
    assert later.seen(np.array([3]), np.array([0.0])) is later


def test_effects_are_averaged_by_the_same_weights() -> None:
    assert combined_effect(np.array([0.0, 1.0]), np.array([0.6, 0.2])) == pytest.approx(0.25)
    thresholds = simultaneous_log_thresholds(log(20), np.array([0.6, 0.2]))
    assert np.exp(-thresholds).sum() == pytest.approx(0.05)


def test_an_endpoint_that_hardly_anybody_calls_need_not_show_that_it_is_well() -> None:
    weights = np.array([0.6, 0.25, 0.05])
    assert shown_on_nearly_all(np.array([9.0, 9.0, 0.0]), weights, log(20))
    assert not shown_on_nearly_all(np.array([9.0, 0.0, 9.0]), weights, log(20))
    assert not shown_on_nearly_all(np.array([log(21), 9.0, 0.0]), weights, log(20))


def test_the_shares_of_alpha_add_up_to_it() -> None:
    spending = Spending.over(0.05, {"p99": 2.0, "errors": 1.0}, [5, 25, 50, 100])
    shares = [spending.alpha_of(metric, stage) for metric in ("p99", "errors") for stage in range(4)]
    assert sum(shares) == pytest.approx(0.05)
    assert spending.alpha_of("p99", 3) == 0
    assert spending.log_threshold("errors", 3) == float("inf")
    assert spending.alpha_of("p99", 0) == pytest.approx(2 * spending.alpha_of("errors", 1))
    assert Spending.over(0.05, {"p99": 1.0}, [100]).alpha_of("p99", 0) == pytest.approx(0.05)
