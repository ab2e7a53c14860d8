"""The quantile test on histograms: never more evidence than raw data give, and found where there is harm."""

from __future__ import annotations

from dataclasses import replace
from math import log
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.canary.interval_search import UNKNOWN_SHIFT, WIDEST_SHIFT
from stream.canary.log_beta import digamma, log_beta, log_gamma
from stream.canary.margin_maps import LAST, Allowance, Allowances, MarginMap, Shifted
from stream.canary.quantile_test import (
    Arm,
    Mixture,
    QuantileTest,
    concentration,
    quantile_interval,
)
from stream.sketch import HistogramSet
from stream.sketch.buckets import HIGHEST, PER_OCTAVE, ZERO, buckets_of, shift_of_ratio, upper_edges
from stream.sketch.histogram import ONE

special = pytest.importorskip("scipy.special")

Floats = NDArray[np.float64]
LATENCIES = st.one_of(st.sampled_from([0.0, 1.0, 5.0, 100.0]), st.floats(0.01, 1e4))
SAMPLES = st.lists(LATENCIES, min_size=0, max_size=120)


def said(k: Floats | float, n: float, p: float, c: float) -> Floats:
    """G, by scipy."""
    a, b = c * p, c * (1 - p)
    of_k = np.asarray(k, np.float64)
    return np.asarray(
        special.betaln(a + of_k, b + n - of_k)
        - special.betaln(a, b)
        - of_k * log(p)
        - (n - of_k) * np.log1p(-p)
    )


def comparison(baseline: list[Floats], canary: list[Floats], p: float, c: float = 20.0) -> QuantileTest:
    def arm(samples: list[Floats]) -> Arm:
        keys = np.repeat(np.arange(len(samples)), [len(one) for one in samples])
        values = np.concatenate([*samples, np.empty(0)])
        return Arm.of(HistogramSet.from_values(keys, values).aligned(np.arange(len(samples))))

    rows = np.arange(len(baseline))
    each = np.ones(len(rows))
    return QuantileTest(arm(baseline), arm(canary), rows, p * each, c * each, c * each, each)


def brute_force(
    baseline: Floats, canary: Floats, p: float, margin: MarginMap, worse: bool, c: float = 20.0
) -> float:
    """The least over every bucket in which the baseline's quantile may lie."""
    j = np.arange(LAST + 1)
    row = np.zeros_like(j)
    of_b, of_c = (np.sort(buckets_of(np.asarray(x)).astype(np.int64) - ZERO) for x in (baseline, canary))
    if worse:
        k_b = np.searchsorted(of_b, j, "left")
        k_c = np.searchsorted(of_c, margin.high(row, j), "right")
    else:
        k_b = np.searchsorted(of_b, j, "right")
        k_c = np.searchsorted(of_c, margin.low(row, j), "left")

    def one(k: NDArray[np.int64], n: int, up: bool) -> Floats:
        mildest = least_said(n, p, c)
        return said(np.maximum(k, mildest) if up else np.minimum(k, mildest), n, p, c)

    return float((one(k_b, len(of_b), worse) + one(k_c, len(of_c), not worse)).min())


def least_said(n: int, p: float, c: float) -> float:
    return float(Mixture(np.array([p]), np.array([c]), np.array([float(n)])).mildest()[0])


@pytest.mark.parametrize("x", [1e-9, 0.3, 1.0, 2.0, 7.999, 8.0, 123.4, 1e6, 3e12])
def test_log_gamma_is_scipys(x: float) -> None:
    at = np.array([x, x / 3])
    np.testing.assert_allclose(log_gamma(at), special.gammaln(at), rtol=2e-13, atol=2e-13)
    np.testing.assert_allclose(
        log_beta(at, at + 2), special.betaln(at, at + 2), rtol=1e-9, atol=1e-13 * x * 40
    )


@pytest.mark.parametrize("x", [1e-6, 0.03, 0.7, 3.0, 8.0, 55.5, 1e6])
def test_digamma_and_its_slope_are_scipys(x: float) -> None:
    value, slope = digamma(np.array([x]))
    assert value[0] == pytest.approx(special.digamma(x), rel=1e-10)
    assert slope[0] == pytest.approx(special.polygamma(1, x), rel=1e-10)


@pytest.mark.parametrize("shift", [-70, -1, 0, 1, 5, 64])
def test_a_shift_and_its_inverse_agree(shift: int) -> None:
    check_map(Shifted(np.array([shift])))


@pytest.mark.parametrize(("ratio", "floor_ms"), [(1.0, 0.0), (1.1, 0.0), (1.0, 5.0), (1.25, 10.0)])
def test_an_allowance_and_its_inverse_agree(ratio: float, floor_ms: float) -> None:
    check_map(Allowance.of(ratio, floor_ms))


def test_stacked_allowances_say_what_each_does() -> None:
    several = [Allowance.of(*margin) for margin in ((1.1, 0.0), (1.0, 5.0), (1.5, 1.0))]
    rng = np.random.default_rng(4)
    rows, which = np.arange(600), rng.integers(0, 3, 600)
    bucket = rng.choice([0, 1, 2, 500, 700, 900, LAST - 1, LAST], 600)
    stacked = Allowances.of(several, which)
    for name in ("high", "low", "first_reaching", "last_within"):
        found = getattr(stacked, name)(rows, bucket)
        for i, one in enumerate(several):
            mine = which == i
            assert (found[mine] == getattr(one, name)(rows[mine], bucket[mine])).all()


def check_map(margin: MarginMap) -> None:
    j = np.arange(LAST + 1)
    rows = np.zeros_like(j)
    high, low = margin.high(rows, j), margin.low(rows, j)
    assert (np.diff(high) >= 0).all()
    assert (np.diff(low) >= 0).all()
    assert (low <= high).all()
    for bucket in (0, 1, 2, 500, 641, 900, LAST - 1, LAST):
        at = np.array([bucket])
        reaching, within = np.flatnonzero(high >= bucket), np.flatnonzero(low <= bucket)
        assert margin.first_reaching(rows[:1], at)[0] == reaching[0]
        assert margin.last_within(rows[:1], at)[0] == (within[-1] if len(within) else 0)


@given(st.floats(0.001, 1e6), st.sampled_from([(1.0, 0.0), (1.07, 0.0), (1.0, 3.0), (1.2, 10.0)]))
def test_the_margins_end_lies_between_low_and_high(value: float, margin: tuple[float, float]) -> None:
    ratio, floor_ms = margin
    allowance = Allowance.of(ratio, floor_ms)
    j = buckets_of(np.array([value])).astype(np.int64) - ZERO
    row = np.zeros(1, np.int64)
    rounded = 2 ** (shift_of_ratio(ratio) / PER_OCTAVE)
    end = buckets_of(np.array([max(value * rounded * (1 - 1e-12), value + floor_ms)])).astype(np.int64) - ZERO
    assert allowance.low(row, j)[0] <= end[0] <= allowance.high(row, j)[0]


MARGINS = st.one_of(
    st.integers(-40, 40).map(lambda shift: Shifted(np.full(9, shift))),
    st.sampled_from([(1.0, 0.0), (1.25, 0.0), (1.0, 2.0), (1.1, 5.0)]).map(lambda m: Allowance.of(*m)),
)


@given(
    st.lists(st.tuples(SAMPLES, SAMPLES), min_size=1, max_size=3), st.sampled_from([0.5, 0.9, 0.99]), MARGINS
)
@settings(max_examples=60, deadline=None)
def test_all_rows_at_once_say_what_each_bucket_by_itself_does(
    pairs: list[tuple[list[float], list[float]]], p: float, margin: MarginMap
) -> None:
    baselines, canaries = ([np.array(pair[i], np.float64) for pair in pairs] for i in (0, 1))
    test = comparison(baselines, canaries, p)
    worse, within = test.log_e_worse(margin), test.log_e_within(margin)
    for i, (b, c) in enumerate(zip(baselines, canaries, strict=True)):
        assert worse[i] == pytest.approx(brute_force(b, c, p, margin, worse=True), abs=1e-9)
        assert within[i] == pytest.approx(brute_force(b, c, p, margin, worse=False), abs=1e-9)


@given(st.integers(0, 2**31), st.sampled_from([0.5, 0.9, 0.99]), st.sampled_from([0, 5, 11]))
@settings(max_examples=50, deadline=None)
def test_there_is_never_more_evidence_than_the_true_quantile_gives(seed: int, p: float, shift: int) -> None:
    """The true one makes a martingale of raw values; what is below it at every look keeps its promise."""
    rng = np.random.default_rng(seed)
    b, c = rng.lognormal(3, 0.5, 400), rng.lognormal(3, 0.5, 150) * 2 ** (shift / PER_OCTAVE)
    true = np.exp(3 + 0.5 * NormalDist().inv_cdf(p))
    martingale = said(np.sum(b <= true), 400, p, 20) + said(
        np.sum(c <= true * 2 ** (shift / PER_OCTAVE)), 150, p, 20
    )
    test = comparison([b], [c], p)
    assert test.log_e_worse(Shifted(np.array([shift])))[0] <= martingale + 1e-6
    assert test.log_e_within(Shifted(np.array([shift])))[0] <= martingale + 1e-6


def test_the_mildest_count_says_least() -> None:
    for p in (0.5, 0.9, 0.99, 0.999):
        for n in (3.0, 100.0, 12345.6):
            mixture = Mixture(np.array([p]), np.array([30.0]), np.array([n]))
            here = mixture.at(np.zeros(1, np.int64), mixture.mildest())[0]
            around = np.linspace(0, n, 2001)
            assert here <= said(around, n, p, 30.0).min() + 1e-6


def test_the_interval_ends_where_the_evidence_does() -> None:
    rng = np.random.default_rng(3)
    b, c = rng.lognormal(3, 0.5, 4000), 1.5 * rng.lognormal(3, 0.5, 1000)
    test = comparison([b, b], [c, c[:3]], 0.9, 300.0)
    lower, upper = test.ratio_interval(log(20))
    for off in (-40, -1, 0, 3, 40, UNKNOWN_SHIFT):  # from where the ends are looked for makes no difference
        again = test.ratio_interval(log(20), (lower + off, upper - off))
        assert np.array_equal(again, (lower, upper))
    assert lower[0] < shift_of_ratio(1.5) <= upper[0]
    assert 2 ** (lower[0] / PER_OCTAVE) > 1.2
    for shift, refuted in ((lower[0], True), (lower[0] + 1, False)):
        assert (test.log_e_worse(Shifted(np.array([shift, 0])))[0] >= log(20)) == refuted
    for shift, refuted in ((upper[0], True), (upper[0] - 1, False)):
        assert (test.log_e_within(Shifted(np.array([shift, 0])))[0] >= log(20)) == refuted
    assert lower[1] == -WIDEST_SHIFT


@given(st.lists(LATENCIES, min_size=1, max_size=200), st.sampled_from([0.5, 0.9]))
@settings(max_examples=60, deadline=None)
def test_an_arms_interval_holds_the_buckets_that_are_not_refuted(values: list[float], p: float) -> None:
    raw = np.array(values, np.float64)
    arm = Arm.of(HistogramSet.from_values(np.zeros(len(raw), np.int64), raw))
    first, last = quantile_interval(
        arm, np.zeros(1, np.int64), np.array([p]), np.array([20.0]), np.ones(1), log(10)
    )
    buckets = buckets_of(raw)
    every = np.arange(ZERO, HIGHEST + 1)
    below, up_to = (np.searchsorted(np.sort(buckets), every, side) for side in ("left", "right"))
    k = np.clip(least_said(len(raw), p, 20.0), below, up_to)
    kept = every[said(k, len(raw), p, 20.0) < log(10)]
    assert (first[0], last[0]) == (kept[0], kept[-1])


def test_sampled_requests_say_as_much_as_their_effective_number() -> None:
    rng = np.random.default_rng(5)
    values = rng.lognormal(3, 0.5, 1000)
    keys = np.zeros(1000, np.int64)
    sampled = HistogramSet.from_values(keys, values, np.full(1000, 100 * ONE))
    plain = HistogramSet.from_values(keys, values)
    for one, other in zip(
        (Arm.of(sampled).sizes, Arm.of(sampled).up_to(keys[:1], np.array([900]))),
        (Arm.of(plain).sizes, Arm.of(plain).up_to(keys[:1], np.array([900]))),
        strict=True,
    ):
        np.testing.assert_allclose(one, other)


def test_a_design_effect_divides_all_counts() -> None:
    rng = np.random.default_rng(6)
    b, c = rng.lognormal(3, 0.5, 3000), 1.3 * rng.lognormal(3, 0.5, 1000)
    whole = comparison([np.tile(b, 4)], [np.tile(c, 4)], 0.9)
    effect = replace(whole, design_effect=np.array([4.0]))
    margin = Shifted(np.zeros(1, np.int64))
    for test in (QuantileTest.log_e_worse, QuantileTest.log_e_within):
        np.testing.assert_allclose(test(effect, margin), test(comparison([b], [c], 0.9), margin))
    assert effect.log_e_worse(margin)[0] < whole.log_e_worse(margin)[0]


def test_looking_every_minute_of_an_hour_raises_no_false_alarm() -> None:
    found = looks(harm=1.0)
    assert np.mean(found) <= 0.02


def test_a_slower_tail_is_found() -> None:
    assert np.mean(looks(harm=1.5)) >= 0.9


def looks(harm: float, rollouts: int = 300) -> NDArray[np.bool_]:
    """Which of the rollouts fail at p99 within an hour, looked at every minute, margin 0."""
    rng = np.random.default_rng(11)
    j = np.arange(ZERO, HIGHEST + 1)

    def shares(scale: float) -> Floats:
        edges = np.maximum(upper_edges(j), 1e-9)
        below = np.array([NormalDist(3 + log(scale), 0.5).cdf(float(x)) for x in np.log(edges)])
        below[0], below[-1] = 0, 1
        return np.diff(below, prepend=0)

    found = np.zeros(rollouts, np.bool_)
    counts = [np.zeros((rollouts, len(j)), np.int64) for _ in range(2)]
    keys = np.arange(rollouts)
    each = np.ones(rollouts)
    for _ in range(60):
        arms = []
        for total, (n, scale) in zip(counts, ((1900, 1.0), (100, harm)), strict=True):
            total += rng.multinomial(n, shares(scale), rollouts)
            row, bucket = np.nonzero(total)
            sizes = np.count_nonzero(total, axis=1)
            n_all = total.sum(axis=1)
            arms.append(
                Arm.of(
                    HistogramSet(
                        *(keys, n_all, 16 * n_all, np.concatenate(([0], np.cumsum(sizes)))),
                        (bucket + ZERO).astype(np.int32),
                        total[row, bucket] * ONE,
                    )
                )
            )
        c = [concentration(0.99, 0.05, n * 30.0) for n in (1900, 100)]
        test = QuantileTest(arms[0], arms[1], keys, 0.99 * each, c[0] * each, c[1] * each, each)
        found |= test.log_e_worse(Shifted(np.zeros(rollouts, np.int64))) >= log(20)
    return found
