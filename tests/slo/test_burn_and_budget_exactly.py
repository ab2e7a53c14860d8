"""Burn and budget are decided on whole numbers: a threshold that is hit exactly is not exceeded."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import isclose

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, BurnRule, Objective, Rolling
from stream.slo.catalog import Catalog
from stream.slo.evaluator import Evaluator
from stream.slo.exact import Budget, Share, burn_rate, burns_faster
from stream.slo.ledger import Ledger
from stream.window.limbs import limbs
from stream.wire.signal import Signal

MILLION = 1_000_000
TARGETS = st.decimals("0.001", "99.999", places=3).filter(lambda d: 0 < d < 100)
THRESHOLDS = st.decimals("0.001", "1000", places=3)


def burn(bad: int, total: int, target: Decimal) -> Fraction:
    """(B/N) / (1 − target/100), as the contract writes it."""
    return Fraction(bad, total) / (1 - Fraction(target) / 100)


@st.composite
def close_counts(draw: st.DrawFn, at: Fraction) -> tuple[int, int]:
    """(B, N) whose ratio is ``at`` exactly, or a millionth of a request off, or anything."""
    scale = draw(st.sampled_from([1, MILLION, 10**12, 10**18]))
    total = at.denominator * draw(st.integers(1, 1000)) * scale
    bad = at.numerator * (total // at.denominator) + draw(st.sampled_from([0, 0, 1, -1, scale, -scale]))
    return min(max(bad, 0), total), total


@settings(max_examples=400)
@given(data=st.data(), target=TARGETS, threshold=THRESHOLDS)
def test_a_burn_rate_is_above_its_threshold_exactly_when_the_fractions_say_so(
    data: st.DataObject, target: Decimal, threshold: Decimal
) -> None:
    ratio = Fraction(threshold) * (1 - Fraction(target) / 100)
    bad, total = data.draw(close_counts(min(ratio, Fraction(1))))
    share = Share.of(target)
    expected = burn(bad, total, target)
    assert burns_faster(bad, total, share, Fraction(threshold)) == (expected > Fraction(threshold))
    assert burn_rate(bad, total, share) == float(expected)


def remaining(b: Budget, target: Decimal) -> Fraction:
    """Of a budget of which something was counted."""
    allowed = (1 - Fraction(target) / 100) * b.total * Fraction(b.window_s, b.elapsed_s)
    return 100 * (1 - b.bad / allowed)


@st.composite
def budgets(draw: st.DrawFn) -> tuple[Budget, Decimal, Fraction]:
    """A budget, its target, and a threshold that is often what remains to the last digit."""
    target = draw(TARGETS)
    total = draw(st.integers(1, 10**6)) * draw(st.sampled_from([1, MILLION, 10**15]))
    bad = draw(st.integers(0, total))
    window_s = draw(st.integers(1, 3 * 10**5)) * 10
    budget = Budget(bad, total, Share.of(target), window_s, draw(st.integers(1, window_s // 10)) * 10)
    exactly = remaining(budget, target)
    off = draw(st.sampled_from([0, 0, Fraction(1, 10**12), -Fraction(1, 10**12), 50, -50]))
    return budget, target, exactly + off


@settings(max_examples=400)
@given(budgets())
def test_a_budget_is_below_its_threshold_exactly_when_the_fractions_say_so(
    case: tuple[Budget, Decimal, Fraction],
) -> None:
    budget, target, threshold = case
    exactly = remaining(budget, target)
    assert budget.below(threshold) == (exactly < threshold)
    assert budget.gone() == (exactly <= 0)
    assert isclose(budget.remaining_pct(), exactly, rel_tol=1e-15, abs_tol=1e-300)
    assert isclose(budget.consumed_pct(), 100 - exactly, rel_tol=1e-15, abs_tol=1e-300)


@settings(max_examples=400)
@given(budgets(), st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_budget_is_exhausted_after_what_remains_over_the_burn(
    case: tuple[Budget, Decimal, Fraction], total: int, bad: int
) -> None:
    budget, target, _ = case
    bad = min(bad, total)
    left_ms = budget.exhausted_in_ms(bad, total, budget.window_s)
    exactly, rate = remaining(budget, target), burn(bad, total, target)
    if exactly <= 0:
        assert left_ms == 0
    elif rate <= 1:
        assert left_ms is None
    else:
        assert left_ms == (exactly / 100 * budget.window_s * 1000 / rate).__floor__()


def test_where_nothing_was_counted_there_is_no_budget_to_speak_of() -> None:
    budget = Budget(0, 0, Share.of(Decimal(99)), 60, 60)
    assert budget.percentages() == (None, None)
    assert (budget.remaining_pct(), budget.consumed_pct()) == (None, None)
    assert not budget.below(Fraction(100))
    assert not budget.gone()
    assert budget.exhausted_in_ms(1, 10, 60) is None


def test_an_hour_in_which_nothing_was_counted_exhausts_nothing() -> None:
    budget = Budget(1, 10**6, Share.of(Decimal(99)), 86_400, 3600)
    assert budget.exhausted_in_ms(0, 0, 86_400) is None


# The same through the evaluator, which settles what is clear with floats and what is close exactly.

TICK_S = 1_790_000_060 // 60 * 60


def objective(
    target: Decimal, rules: list[tuple[int, int | None, Decimal, int]], **more: object
) -> Objective:
    return Objective(
        "shop",
        "up",
        "payment",
        Availability(),
        target,
        Rolling(3600),
        rules=tuple(BurnRule(f"{w}s", w, s, x, "page", (), least, 0) for w, s, x, least in rules),
        **more,  # type: ignore[arg-type]
    )


def decided(o: Objective, counts: dict[int, tuple[int, int, int, int]]) -> list[Signal]:
    """What the evaluator makes known at a tick, windows holding (n, b, N, B) by their length."""
    ledger = Ledger(Catalog([o]), 10)
    ledger.move_to(TICK_S)
    ledger.first[0] = ledger.newest[0] = TICK_S // 10 - 1
    for window_s, (n, b, total, bad) in counts.items():
        columns = (np.array([c % 2**63], np.int64) for c in (n, total % 2**63, b, bad % 2**63))
        row = limbs(*columns)[0]
        row[2:] = [*divmod(total, MILLION), *divmod(bad, MILLION)]  # may be beyond 64 bits
        ledger.windows.sums[ledger.windows.slot[0, Rolling(window_s)]] = row
    return list(Evaluator(ledger).evaluate(TICK_S))


@settings(max_examples=250, deadline=None)
@given(data=st.data(), target=TARGETS, threshold=THRESHOLDS)
def test_a_rule_is_true_exactly_when_both_windows_burn_faster(
    data: st.DataObject, target: Decimal, threshold: Decimal
) -> None:
    ratio = min(Fraction(threshold) * (1 - Fraction(target) / 100), Fraction(1))
    counts = {}
    for window_s in (600, 50):
        bad, total = data.draw(close_counts(ratio))
        n = data.draw(st.integers(0, 20))
        assume(total < 2**62 * MILLION)
        counts[window_s] = (n, min(n, 5) if bad else 0, total, bad) if n else (0, 0, 0, 0)
    least = data.draw(st.sampled_from([0, 1, 5, 6]))
    fired = [
        s
        for s in decided(objective(target, [(600, 50, threshold, least)]), counts)
        if s.topic == "slo-alerts"
    ]
    n, b, total, bad = counts[600]
    expected = n > 0 and counts[50][0] > 0 and b >= least
    expected = expected and all(
        burn(bad, total, target) > Fraction(threshold) for _, _, total, bad in counts.values()
    )
    # A window whose weights hold errors holds bad events.
    assume(b > 0 or bad == 0)
    assert bool(fired) == expected


@pytest.mark.parametrize(
    ("target", "threshold", "bad", "total"),
    [
        ("99.9", "14.4", 9, 625),  # 0.0144 = 14.4 · 0.001: floats say 14.400000000000002
        ("99.99", "6", 3, 5000),
        ("99.95", "3", 3, 2000),
        ("99.5", "0.2", 1, 1000),
        ("70", "0.1", 3, 100),
        ("99", "99.9", 999, 1000),
    ],
)
def test_a_threshold_that_is_hit_exactly_does_not_fire_and_one_more_error_does(
    target: str, threshold: str, bad: int, total: int
) -> None:
    o = objective(Decimal(target), [(600, None, Decimal(threshold), 0)])
    assert burn(bad, total, Decimal(target)) == Fraction(Decimal(threshold))
    for scale in (1, 10**7):
        n, b = total * scale, bad * scale
        assert not decided(o, {600: (n, b, n * MILLION, b * MILLION)})[:-1]  # a budget record alone
        one_more = decided(o, {600: (n, b + 1, n * MILLION, b * MILLION + 1)})  # by a millionth of a request
        assert [s.topic for s in one_more][:1] == ["slo-alerts"]


def test_both_windows_have_to_burn_and_an_empty_one_says_nothing() -> None:
    o = objective(Decimal(99), [(600, 50, Decimal(2), 0)])
    burning, calm = (10, 5, 10 * MILLION, 5 * MILLION), (10, 0, 10 * MILLION, 0)
    cases = [(burning, burning, True), (burning, calm, False), (calm, burning, False)]
    for long, short, expected in cases:
        topics = {s.topic for s in decided(o, {600: long, 50: short})}
        assert ("slo-alerts" in topics) == expected
    assert "slo-alerts" not in {s.topic for s in decided(o, {600: burning})}


def test_a_budget_of_which_nothing_is_left_is_gone() -> None:
    budget = Budget(3, 300, Share.of(Decimal(99)), 60, 60)
    assert (budget.remaining_pct(), budget.gone(), budget.below(Fraction(0))) == (0.0, True, False)
    assert budget.exhausted_in_ms(1, 100, 60) == 0
    assert not Budget(3, 301, Share.of(Decimal(99)), 60, 60).gone()


def test_errors_below_the_least_number_of_events_fire_nothing() -> None:
    o = objective(Decimal(99), [(600, None, Decimal(2), 5)])
    for b, topics in ((4, []), (5, ["slo-alerts"])):
        signals = decided(o, {600: (10, b, 10 * MILLION, b * MILLION)})
        assert [s.topic for s in signals if s.topic == "slo-alerts"] == topics


def test_with_no_least_number_a_rule_still_needs_an_error() -> None:
    o = objective(Decimal(99), [(600, None, Decimal("0.001"), 0)])
    signals = decided(o, {600: (10, 0, 10 * MILLION, 0)})
    assert [s for s in signals if s.topic == "slo-alerts"] == []


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 400),
    b=st.integers(0, 400),
    target=st.sampled_from([Decimal("90"), Decimal("99.5"), Decimal("33.3")]),
    off=st.sampled_from([Decimal(0), Decimal("0.0001"), Decimal("-0.0001")]),
)
def test_freezes_and_rollbacks_follow_the_budget_to_the_last_digit(
    n: int, b: int, target: Decimal, off: Decimal
) -> None:
    b = min(n, b)
    exactly = remaining(Budget(b, n, Share.of(target), 1, 1), target)
    # A threshold as a file could have it: what remains, when that is a short decimal, or close to it.
    threshold = Decimal(exactly.numerator * 10**4 // exactly.denominator) / 10**4 + off
    o = objective(
        target, [], budget_basis="observed", freeze_below_pct=threshold, rollback_below_pct=threshold
    )
    topics = {s.topic for s in decided(o, {3600: (n, b, n * MILLION, b * MILLION)})}
    below = {"deploy-freezes", "deploy-rollbacks"} if exactly < Fraction(threshold) and b else set()
    assert topics == {"slo-budgets"} | below
