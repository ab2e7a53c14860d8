"""Alerts: one record a transition, keepFiringFor counted in false ticks (contract, section 4)."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, BurnRule, Objective, Rolling
from stream.slo.alerts import INACTIVE, TRANSITIONS, Alert, Change, State, Verdict, step
from stream.slo.catalog import Catalog
from stream.slo.evaluator import Evaluator
from stream.slo.ledger import Ledger
from stream.window.limbs import limbs

T, F, Z = Verdict.TRUE, Verdict.FALSE, Verdict.FROZEN
MILLION = 1_000_000


def lived(verdicts: list[Verdict], keep_ms: int) -> list[tuple[int, Change, int]]:
    """(tick, change, starts_at) of every record; ticks are 10, 20, 30 …"""
    alert, made = INACTIVE, []
    for i, verdict in enumerate(verdicts):
        tick_s = 10 * (i + 1)
        before = alert
        alert, change = step(alert, verdict, tick_s, keep_ms)
        if change is not None:
            made.append((tick_s, change, (alert if change is Change.FIRED else before).starts_at_s))
    return made


def told(verdicts: list[Verdict], keep_ms: int) -> list[tuple[int, Change, int]]:
    """The contract's sentences, looking back over the whole story at each tick."""
    made: list[tuple[int, Change, int]] = []
    since: int | None = None  # index of the tick at which it fired
    for i, verdict in enumerate(verdicts):
        if since is None:
            if verdict is T:
                since = i
                made.append((10 * i + 10, Change.FIRED, 10 * i + 10))
            continue
        story = verdicts[since : i + 1]
        after_true = story[len(story) - story[::-1].index(T) :]
        false_ticks = after_true.count(F)
        if verdict is F and (false_ticks - 1) * 10_000 >= keep_ms:
            made.append((10 * i + 10, Change.RESOLVED, 10 * since + 10))
            since = None
    return made


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from([T, T, F, F, F, Z]), max_size=40),
    st.sampled_from([0, 1, 9_999, 10_000, 10_001, 25_000, 30_000, 60_000]),
)
def test_an_alert_lives_as_the_contract_tells(verdicts: list[Verdict], keep_ms: int) -> None:
    assert lived(verdicts, keep_ms) == told(verdicts, keep_ms)


def test_the_contracts_own_examples() -> None:
    #         10 20 30 40 50
    assert lived([T, F, F, F, F], 30_000) == [(10, Change.FIRED, 10), (50, Change.RESOLVED, 10)]
    assert lived([T, F, F, F], 30_000) == [(10, Change.FIRED, 10)]
    assert lived([T, F], 0) == [(10, Change.FIRED, 10), (20, Change.RESOLVED, 10)]


def test_a_frozen_tick_adds_nothing_and_takes_nothing() -> None:
    assert lived([T, F, Z, Z, Z, F, Z, F, F], 30_000)[-1] == (90, Change.RESOLVED, 10)
    assert lived([T, Z, Z, Z, Z, Z], 0) == [(10, Change.FIRED, 10)]
    assert lived([Z, T, Z, F], 0) == [(20, Change.FIRED, 20), (40, Change.RESOLVED, 20)]


def test_a_true_tick_starts_the_time_anew() -> None:
    assert lived([T, F, F, F, T, F, F, F, F], 30_000)[-1] == (90, Change.RESOLVED, 10)


def test_an_alert_that_was_resolved_fires_again_with_a_new_start() -> None:
    assert lived([T, F, T, F], 0) == [
        (10, Change.FIRED, 10),
        (20, Change.RESOLVED, 10),
        (30, Change.FIRED, 30),
        (40, Change.RESOLVED, 30),
    ]


def test_every_state_has_an_answer_to_every_verdict() -> None:
    assert TRANSITIONS.keys() == set(product(State, Verdict))


# Through the evaluator: which verdict the counts of the two windows amount to.

TICK_S = 1_790_000_000 // 60 * 60
BURNING, CALM, EMPTY = (10, 5), (10, 0), (0, 0)


def evaluator(keep_ms: int = 0) -> Evaluator:
    rule = BurnRule("10m", 600, 50, Decimal(2), "page", ("#ops",), 0, keep_ms)
    o = Objective("shop", "up", "payment", Availability(), Decimal(99), Rolling(3600), rules=(rule,))
    return Evaluator(Ledger(Catalog([o]), 10))


Held = tuple[int, int]
"""(n, b) of a window."""


def alerts(one: Evaluator, tick_s: int, long: Held, short: Held) -> list[dict[str, object]]:
    """The alert records of a tick whose windows hold these events."""
    ledger = one.ledger
    ledger.move_to(tick_s)
    ledger.first[0] = ledger.newest[0] = tick_s // 10 - 1
    for window_s, (n, b) in ((600, long), (50, short)):
        row = limbs(*(np.array([c], np.int64) for c in (n, n * MILLION, b, b * MILLION)))[0]
        ledger.windows.sums[ledger.windows.slot[0, Rolling(window_s)]] = row
    return [s.value for s in one.evaluate(tick_s) if s.topic == "slo-alerts"]


def tick(one: Evaluator, tick_s: int, long: Held, short: Held) -> list[object]:
    """Their states alone."""
    return [value["state"] for value in alerts(one, tick_s, long, short)]


@pytest.mark.parametrize(
    ("long", "short", "resolves"),
    [
        (BURNING, BURNING, False),
        (BURNING, CALM, True),
        (CALM, BURNING, True),
        (CALM, CALM, True),
        (BURNING, EMPTY, False),
        (CALM, EMPTY, False),
        (EMPTY, CALM, False),
        (EMPTY, EMPTY, False),
    ],
)
def test_a_window_without_events_freezes_an_alert(long: Held, short: Held, resolves: bool) -> None:
    one = evaluator()
    assert tick(one, TICK_S, BURNING, BURNING) == ["firing"]
    assert tick(one, TICK_S + 10, long, short) == (["resolved"] if resolves else [])


def test_the_record_of_the_end_is_that_of_the_beginning_with_its_end() -> None:
    one = evaluator(10_000)
    story = [(BURNING, BURNING), (CALM, CALM), (EMPTY, CALM), (CALM, CALM)]
    by_tick = [alerts(one, TICK_S + 10 * i, long, short) for i, (long, short) in enumerate(story)]
    assert [len(records) for records in by_tick] == [1, 0, 0, 1]
    begun, ended = by_tick[0][0], by_tick[3][0]
    assert begun["id"] == ended["id"]
    assert begun["starts_at"] == ended["starts_at"] == begun["evaluated_at"]
    assert begun["ends_at"] is None
    assert ended["ends_at"] == ended["evaluated_at"]
    assert begun["burn_rate"] == {"long": 50.0, "short": 50.0}
    assert ended["burn_rate"] == {"long": 0.0, "short": 0.0}


def test_a_forgotten_slos_alert_ends_although_its_windows_are_empty() -> None:
    one = evaluator(10**9)
    assert tick(one, TICK_S, BURNING, BURNING) == ["firing"]
    pane = int(one.ledger.newest[0])
    for tick_s, states in (
        ((pane + 1) * 10 + 2 * 3600 - 10, []),
        ((pane + 1) * 10 + 2 * 3600, ["resolved"]),
        ((pane + 1) * 10 + 2 * 3600 + 10, []),
    ):
        one.ledger.move_to(tick_s)
        assert [s.value["state"] for s in one.evaluate(tick_s) if s.topic == "slo-alerts"] == states
    assert one.ledger.first[0] == one.ledger.newest[0] == -1


def test_a_clearing_alert_is_a_value_of_its_own() -> None:
    alert, change = step(Alert(State.FIRING, 10), F, 20, 30_000)
    assert (alert, change) == (Alert(State.CLEARING, 10, 0), None)
    assert step(alert, T, 30, 30_000) == (Alert(State.FIRING, 10), None)
