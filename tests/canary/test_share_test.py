"""Whose events are they: the Bayes factor, its intervals, and the ratio of rates that follows."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.canary.share_test import (
    Shares,
    difference_of_ratio,
    ratio_interval,
)

Floats = NDArray[np.float64]
COUNTS = st.integers(0, 5000)


def one(x: float) -> Floats:
    return np.array([float(x)])


@settings(deadline=None)
@given(st.integers(0, 40), st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.floats(0.5, 100))
def test_over_all_outcomes_it_is_expected_to_be_one(
    total: int, share: float, middle: float, sharpness: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    y = np.arange(total + 1.0)
    e = np.exp(Shares(y, total - y, np.full_like(y, middle), sharpness).log_e(np.full_like(y, share)))
    assert (stats.binom.pmf(y, total, share) * e).sum() == pytest.approx(1, rel=1e-9)


GRID = np.concatenate((np.logspace(-6, -1, 200), np.linspace(0.1, 0.9, 400), 1 - np.logspace(-1, -6, 200)))


def over(canary: float, baseline: float, sharpness: float, shares: Floats) -> Floats:
    each = np.ones_like(shares)
    return Shares(canary * each, baseline * each, 0.2 * each, sharpness).log_e(shares)


@settings(deadline=None)
@given(COUNTS, COUNTS, st.floats(1, 200))
def test_the_interval_holds_the_shares_that_are_not_refuted(
    canary: int, baseline: int, sharpness: float
) -> None:
    low, high = Shares(one(canary), one(baseline), one(0.2), sharpness).interval(log(20))
    kept = over(canary, baseline, sharpness, GRID) < log(20)
    outside = (low[0] * (1 - 1e-6) > GRID) | ((1 - high[0]) * (1 - 1e-6) > 1 - GRID)
    inside = (low[0] * (1 + 1e-6) < GRID) & ((1 - high[0]) * (1 + 1e-6) < 1 - GRID)
    assert not (kept & outside).any()
    assert kept[inside].all()


@settings(deadline=None)
@given(COUNTS, COUNTS, st.floats(0.01, 0.5), st.floats(0, 0.4))
def test_outside_a_range_the_mildest_share_of_it_speaks(
    canary: int, baseline: int, low: float, width: float
) -> None:
    found = Shares(one(canary), one(baseline), one(0.2), 30.0).log_e_outside(one(low), one(low + width))[0]
    each = over(canary, baseline, 30.0, np.linspace(low, low + width, 2000))
    assert each.min() - 0.05 <= found <= each.min() + 1e-9


def test_the_ratio_of_rates_is_that_of_the_shares() -> None:
    low, high = ratio_interval(one(60), one(1000), one(570), one(19000), 10.0, log(40))
    assert 1 < low[0] < 2 < high[0] < 4
    wider = ratio_interval(one(30), one(1000), one(285), one(19000), 10.0, log(40))
    assert wider[0][0] < low[0] < high[0] < wider[1][0]


def test_without_errors_or_requests_the_ratio_is_unbounded() -> None:
    for counts in ((0, 1000, 0, 19000), (0, 0, 5, 19000), (50, 1000, 0, 0)):
        low, high = ratio_interval(*map(one, counts), 10.0, log(40))
        assert low[0] == 0
        assert high[0] == np.inf
    low, high = ratio_interval(one(50), one(1000), one(0), one(1000), 10.0, log(40))
    assert low[0] > 3
    assert high[0] == np.inf


def test_a_difference_follows_from_the_ratio_and_all_errors() -> None:
    ratios = np.array([0.0, 1.0, 2.0, np.inf])
    found = difference_of_ratio(ratios, one(300), one(1000), one(19000))
    np.testing.assert_allclose(found, [-300 / 19000, 0, 300 / 21000, 0.3])


def test_traffic_in_waves_raises_no_false_alarm_and_a_lost_share_is_found() -> None:
    rng = np.random.default_rng(2)
    waves = rng.poisson(1000 * (1 + np.sin(np.arange(60) / 5)), (1000, 60))
    for share, least, most in ((0.05, 0.0, 0.05), (0.04, 0.95, 1.0)):
        canary = rng.binomial(waves, share).cumsum(axis=1).astype(np.float64)
        others = waves.cumsum(axis=1) - canary
        planned = np.full_like(canary, 0.05)
        found = Shares(canary, others, planned, 500.0).log_e(planned) >= log(20)
        assert least <= np.mean(found.any(axis=1)) <= most


def test_the_evidence_is_lindons_and_maleks() -> None:
    special = pytest.importorskip("scipy.special")
    expected = exp(special.betaln(2.5 + 12, 47.5 + 88) - special.betaln(2.5, 47.5)) / (0.05**12 * 0.95**88)
    assert np.exp(Shares(one(12), one(88), one(0.05), 50.0).log_e(one(0.05)))[0] == pytest.approx(expected)
