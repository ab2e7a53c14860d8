"""The interval of the mismatch rate: what it is by definition, and how often it is wrong."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from stream.canary.mismatch_test import UNSEEN_EFFECT, Mismatches, MismatchTest
from stream.wire.state import decode, encode

MOST = 0.001
ALPHA = 0.05


def counted(*panes: tuple[float, float]) -> Mismatches:
    seen = Mismatches()
    for n, bad in panes:
        seen = seen.plus(n, bad)
    return seen


def test_the_upper_end_without_a_mismatch_is_where_the_mixture_refutes_it() -> None:
    # ln BF(p) = ln B(½, a − ½ + N) − ln B(½, a − ½) − N ln(1−p), N less the effect that is taken for granted
    seen = counted(*[(1000.0, 0.0)] * 50)
    low, high = MismatchTest(seen, MOST, ALPHA).interval()
    n, a = 50_000 / UNSEEN_EFFECT, 0.5 / MOST
    expected = 1 - np.exp(-(log(1 / ALPHA) - betaln(0.5, a - 0.5 + n) + betaln(0.5, a - 0.5)) / n)
    assert low == 0
    assert high == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 30)), min_size=1, max_size=30))
def test_the_verdicts_are_where_the_interval_lies(panes: list[tuple[int, int]]) -> None:
    test = MismatchTest(counted(*((float(n), float(min(bad, n))) for n, bad in panes)), MOST, ALPHA)
    low, high = test.interval()
    assert low <= test.seen.bad / test.seen.n <= high
    assert test.is_beyond == (low > MOST)
    assert test.is_within == (high < MOST)


def test_mismatches_of_one_pane_say_less_than_as_many_of_several() -> None:
    spread = counted(*[(1000.0, 1.0)] * 20)
    burst = counted(*[(1000.0, 0.0)] * 19, (1000.0, 20.0))
    assert spread.design_effect == 1
    assert burst.design_effect > 15
    assert MismatchTest(burst, MOST, ALPHA).interval()[0] < MismatchTest(spread, MOST, ALPHA).interval()[0]


def test_a_quiet_beginning_is_no_low_rate() -> None:
    quiet = counted(*[(1000.0, 0.0)] * 10)
    assert not MismatchTest(quiet, MOST, ALPHA).is_within
    assert MismatchTest(counted(*[(1000.0, 0.0)] * 60), MOST, ALPHA).is_within


def test_panes_without_requests_say_nothing() -> None:
    assert counted((100.0, 1.0), (0.0, 0.0)) == counted((100.0, 1.0))


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1)), max_size=5))
def test_a_state_is_equal_after_a_round_trip(panes: list[tuple[float, float]]) -> None:
    seen = counted(*((n, n * share) for n, share in panes))
    assert decode(Mismatches, encode(seen)) == seen


# --- simulated: an hour at twenty requests a second, a look a minute ----------------------------------------


def outcomes(rate: float, burst: float, runs: int, seed: int) -> tuple[float, float, float]:
    """Shares of runs that ever said beyond, ever said within, and whose interval ever missed the rate.
    Bursts have ``burst`` mismatches on average (geometric), each within one pane."""
    random = np.random.default_rng(seed)
    beyond = within = missed = 0
    for _ in range(runs):
        n = random.poisson(200, 360)
        bursts = random.binomial(n, rate / burst)
        bad = [int(random.geometric(1 / burst, b).sum()) if burst > 1 else int(b) for b in bursts.tolist()]
        seen, said = Mismatches(), set()
        for i, (requests, mismatches) in enumerate(zip(n.tolist(), bad, strict=True)):
            seen = seen.plus(float(requests), float(min(mismatches, requests)))
            if i % 6 == 5:
                test = MismatchTest(seen, MOST, ALPHA)
                said |= {"beyond"} if test.is_beyond else {"within"} if test.is_within else set()
                at_rate = MismatchTest(seen, rate, ALPHA)
                said |= {"missed"} if at_rate.is_beyond or at_rate.is_within else set()
        beyond += "beyond" in said
        within += "within" in said
        missed += "missed" in said
    return beyond / runs, within / runs, missed / runs


@pytest.mark.parametrize("burst", [1, 5])
def test_at_the_largest_rate_that_is_allowed_it_is_hardly_ever_called_beyond_or_within(burst: float) -> None:
    runs = 200
    beyond, within, missed = outcomes(MOST, burst, runs, seed=3)
    # α, and three standard errors: 19 of 200
    bound = ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5
    assert beyond <= bound
    assert within <= bound
    assert missed <= bound


@pytest.mark.parametrize(("rate", "burst"), [(0.002, 1), (0.005, 5)])
def test_more_than_is_allowed_is_found(rate: float, burst: float) -> None:
    beyond, within, _ = outcomes(rate, burst, 60, seed=4)
    assert beyond >= 0.9
    assert within <= 0.1


@pytest.mark.parametrize("rate", [1e-9, 0.0002])
def test_much_less_than_is_allowed_passes_within_the_hour(rate: float) -> None:
    beyond, within, _ = outcomes(rate, 1, 60, seed=5)
    assert within >= 0.9
    assert beyond <= 0.1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0001, 0.9))
def test_any_maximum_can_be_asked_for(most: float) -> None:
    low, high = MismatchTest(counted(*[(1000.0, 500.0)] * 5), most, ALPHA).interval()
    assert 0 < low < 0.5 < high < 1
