"""Freezes and rollbacks have memory: budgets that hover at a threshold, or say nothing, change nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, BurnRule, Calendar, Objective, Period, Rolling, Slices
from stream.slo.catalog import Catalog
from stream.slo.evaluator import Evaluator
from stream.slo.exact import Gate
from stream.slo.ledger import Ledger
from stream.slo.readings import readings
from stream.window.limbs import limbs
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal
from tests.slo.owner import Owner

HOUR_S, DAY_S = 3600, 86_400
T0_MS = 1_790_000_000_000 // (DAY_S * 1000) * DAY_S * 1000
TICK_S = T0_MS // 1000

UP = Objective(
    "shop",
    "up",
    "payment",
    Availability(),
    Decimal(90),
    Rolling(HOUR_S),
    budget_basis="observed",
    freeze_below_pct=Decimal(40),
    rollback_below_pct=Decimal(20),
    hysteresis=Decimal(5),
)
"""Of 1,000 requests 100 may fail; what is left with b of them failed is 100 − b %."""


class Counts:
    """An evaluator whose windows are told what they hold."""

    def __init__(self, *objectives: Objective) -> None:
        self.ledger = Ledger(Catalog(objectives), 10)
        self.evaluator = Evaluator(self.ledger)
        self.tick_s = TICK_S

    def tick(self, *held: tuple[int, int]) -> list[Signal]:
        """The next tick, at which the time windows hold (all, bad) requests."""
        self.tick_s += 10
        self.ledger.move_to(self.tick_s)
        for row, (n, b) in enumerate(held):
            slot = self.ledger.windows.slot[row, self.ledger.catalog.objectives[row].window]
            columns = (np.array([count], np.int64) for count in (n, n * 10**6, b, b * 10**6))
            self.ledger.windows.sums[slot] = limbs(*columns)[0]
            if n:
                self.ledger.first[row] = max(0, self.ledger.first[row])
                self.ledger.newest[row] = self.tick_s // 10 - 1
        return [s for s in self.evaluator.evaluate(self.tick_s) if s.topic.startswith("deploy-")]


def told(signals: list[Signal]) -> list[str]:
    return [str(s.value.get("state", "rollback")) for s in signals]


def walk(o: Objective, *bad: int) -> list[list[str]]:
    counts = Counts(o)
    return [told(counts.tick((1000, b))) for b in bad]


def test_a_freeze_ends_at_the_threshold_and_the_hysteresis_and_not_before() -> None:
    only = replace(UP, rollback_below_pct=None)
    assert walk(only, 60, 61, 60, 56, 61, 55, 60, 61) == [
        *([], ["frozen"], [], [], [], ["open"]),
        *([], ["frozen"]),
    ]


def test_a_rollback_is_armed_again_at_the_threshold_and_the_hysteresis_and_not_before() -> None:
    only = replace(UP, freeze_below_pct=None)
    assert walk(only, 80, 81, 80, 76, 90, 75, 80, 81) == [
        *([], ["rollback"], [], [], [], []),
        *([], ["rollback"]),
    ]


@pytest.mark.parametrize(
    ("threshold", "hysteresis", "until"),
    [
        ("10", "5", "15"),
        ("10", "0", "10"),
        ("10", "50", "55"),
        ("96", "5", "98"),
        ("100", "20", "100"),
        ("0", "50", "50"),
        ("99.999999999999999999", "1", "99.9999999999999999995"),
        ("33.3", "0.000000000000000001", "33.300000000000000001"),
    ],
)
def test_no_more_than_half_of_the_way_to_the_whole_budget_has_to_be_made_good(
    threshold: str, hysteresis: str, until: str
) -> None:
    gate = Gate.of(Decimal(threshold), Decimal(hysteresis))
    assert gate is not None
    assert (gate.below, gate.until) == (Fraction(threshold), Fraction(until))


@settings(max_examples=150, deadline=None)
@given(
    held=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), min_size=1, max_size=8),
    target=st.sampled_from([Decimal("90"), Decimal("99.5"), Decimal("33.3")]),
    hysteresis=st.sampled_from([Decimal(0), Decimal("2.5"), Decimal(5), Decimal(50)]),
    at=st.integers(0, 7),
    off=st.sampled_from([Decimal(0), Decimal("0.0001"), Decimal("-0.0001")]),
    is_bound=st.booleans(),
)
def test_both_states_follow_the_budget_to_the_last_digit(
    held: list[tuple[int, int]],
    target: Decimal,
    hysteresis: Decimal,
    at: int,
    off: Decimal,
    is_bound: bool,
) -> None:
    """The threshold, or the bound at which the state ends, is what remains at one of the ticks, or close."""
    held = [(n, min(n, b)) for n, b in held]
    n, b = held[at % len(held)]
    assume(n > 0)

    def left(n: int, b: int) -> Fraction:
        return 100 * (1 - Fraction(b) / ((1 - Fraction(target) / 100) * n))

    exactly = left(n, b)
    threshold = Decimal(exactly.numerator * 10**4 // exactly.denominator) / 10**4 + off
    threshold -= hysteresis if is_bound else 0
    assume(-(10**6) < threshold <= 100)
    o = replace(UP, target_pct=target, freeze_below_pct=threshold, rollback_below_pct=threshold)
    counts, on = Counts(replace(o, hysteresis=hysteresis)), False
    until = Fraction(threshold) + min(Fraction(hysteresis), (100 - Fraction(threshold)) / 2)
    for n, b in held:
        before = on
        if n:
            on = left(n, b) < (until if on else Fraction(threshold))
        expected = {(False, True): ["frozen", "rollback"], (True, False): ["open"]}.get((before, on), [])
        assert told(counts.tick((n, b))) == expected


def test_a_service_opens_when_the_last_of_its_slos_has_recovered_and_reasons_are_those_under_then() -> None:
    counts = Counts(*(replace(UP, name=name, rollback_below_pct=None) for name in ("a", "b", "c")))
    ok, hovering, bad = (1000, 0), (1000, 57), (1000, 70)
    (frozen,) = counts.tick(bad, ok, bad)
    assert [reason["slo"] for reason in frozen.value["reasons"]] == ["a", "c"]  # type: ignore[attr-defined]
    assert counts.tick(hovering, bad, ok) == []
    assert counts.tick(ok, hovering, ok) == []
    (opened,) = counts.tick(ok, ok, hovering)
    assert (opened.value["state"], opened.value["reasons"], opened.value["because"]) == ("open", [], None)


# Nothing is counted


def test_a_dead_service_stays_frozen_and_rolled_back_until_it_is_forgotten() -> None:
    owner = Owner([replace(UP, rules=(BurnRule("5m", 300, None, Decimal(2), "page", (), 1, 0),))], T0_MS)
    owner.panes(3, good=5, bad=5)
    owner.panes(2 * 360 + 20)
    budgets = owner.records("slo-budgets")
    empty = [record for record in budgets if record["total"] == 0]
    assert len(empty) == 1, "the minute after the last one that held something"
    assert (empty[0]["remaining_pct"], empty[0]["consumed_pct"], empty[0]["exhausts_at"]) == (None,) * 3
    frozen, opened = owner.records("deploy-freezes")
    assert (frozen["state"], opened["state"]) == ("frozen", "open")
    assert len(owner.records("deploy-rollbacks")) == 1
    fired, resolved = owner.records("slo-alerts")
    assert opened["since"] == opened["evaluated_at"] == resolved["ends_at"], "the tick of forgetting"
    assert (opened["reasons"], opened["because"]) == ([], None)
    assert fired["budget_remaining_pct"] is not None
    assert resolved["budget_remaining_pct"] is None
    assert resolved["exhausts_at"] is None


def test_what_is_forgotten_is_armed_again() -> None:
    owner = Owner([UP], T0_MS)
    owner.panes(3, good=5, bad=5)
    owner.panes(2 * 360 + 20)
    owner.panes(3, good=5, bad=5)
    assert [r["state"] for r in owner.records("deploy-freezes")] == ["frozen", "open", "frozen"]
    assert len(owner.records("deploy-rollbacks")) == 2


def test_a_calendar_period_that_begins_in_silence_opens_nothing_before_a_request_came() -> None:
    today = replace(UP, window=Calendar(Period.DAY, "UTC"))
    owner = Owner([today], T0_MS + (DAY_S - 60) * 1000)
    owner.panes(6, good=5, bad=5)
    owner.panes(30)
    assert [r["state"] for r in owner.records("deploy-freezes")] == ["frozen"]
    first_ms = owner.now_ms
    owner.panes(2, good=1)
    opened = owner.records("deploy-freezes")[1]
    assert (opened["state"], opened["since"]) == ("open", format_ms(first_ms + 10_000))


def test_slices_that_still_count_when_their_slo_is_forgotten_decide_as_ever() -> None:
    """A slice longer than the time window is counted after the requests in it were forgotten."""
    o = replace(UP, window=Rolling(60), slices=Slices(600, Decimal(10)), target_pct=Decimal(50))
    owner = Owner([o], T0_MS)
    owner.panes(3, bad=5)
    owner.panes(100)
    states = [r["state"] for r in owner.records("deploy-freezes")]
    assert states == ["frozen", "open"]
    assert len(owner.records("deploy-rollbacks")) == 1


def test_the_metrics_have_no_budget_where_nothing_is_counted() -> None:
    owner = Owner([UP], T0_MS)
    owner.panes(3, good=5, bad=5)
    assert [r.budget_remaining_ratio for r in readings(owner.keeper.shard, ()).slos] != [None]
    owner.panes(362)
    assert [r.budget_remaining_ratio for r in readings(owner.keeper.shard, ()).slos] == [None]


def test_a_budget_that_outlives_its_calendar_period_is_not_exhausted() -> None:
    """Of a day's projected budget at a burn of 2, half is left: it would be gone after the day is over."""
    rules = (BurnRule("5m", 300, None, Decimal(50), "page", (), 1, 0),)
    o = replace(UP, window=Calendar(Period.DAY, "UTC"), budget_basis="projected", rules=rules)
    rolling = replace(o, name="rolling", window=Rolling(DAY_S))
    owner = Owner([o, rolling], T0_MS + 18 * HOUR_S * 1000)
    owner.panes(13, good=8, bad=2)
    by_name = {record["slo"]: record for record in owner.records("slo-budgets")}
    assert by_name["up"]["exhausts_at"] is None
    assert by_name["rolling"]["exhausts_at"] is not None
