"""The history of changes: which had an incident, how soon it was found, how long it took, what it cost."""

from __future__ import annotations

from fractions import Fraction
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from stream.fleet.history import (
    INCIDENT_WINDOW_S,
    KEPT_S,
    MAX_ALERTS,
    MAX_CHANGES,
    PRIOR_BURN_PCT,
    History,
    Record,
    wilson,
)
from stream.model.deploy import ChangeEvent
from stream.wire.rfc3339 import format_ms

START_MS = 1_790_000_000_000
FAR_MS = START_MS + 10 * 86_400_000
WINDOW_MS = INCIDENT_WINDOW_S * 1000


def change(named: str, at_ms: int, kind: str = "deploy", service: str = "payment") -> ChangeEvent:
    return ChangeEvent(named, "shop", service, None, kind, at_ms)


def alert(
    named: str, starts_ms: int, ends_ms: int | None = None, service: str = "payment", left_pct: float = 50.0
) -> dict[str, Any]:
    return {
        "id": named,
        "service": service,
        "slo": f"{service}-up",
        "starts_at": format_ms(starts_ms),
        "ends_at": None if ends_ms is None else format_ms(ends_ms),
        "budget_remaining_pct": left_pct,
    }


def of(history: History, event: ChangeEvent | None = None, now_ms: int = FAR_MS) -> Record:
    return history.similar(event or change("now", FAR_MS), lambda service, _: {service, "checkout"}, now_ms)


def test_an_alert_soon_after_a_change_on_a_service_that_it_affects_is_its_incident() -> None:
    history = History()
    history.remember(change("1", START_MS), {"payment-up": 80.0})
    history.observe(alert("a", START_MS + 120_000, left_pct=60.0))
    history.observe(alert("a", START_MS + 120_000, START_MS + 720_000, left_pct=35.0))
    record = of(history)
    assert (record.changes, len(record.incidents), record.rate) == (1, 1, 1.0)
    assert (record.detect_s, record.resolve_s) == (120.0, 600.0)
    assert record.incidents[0].burn_pct == 45.0  # from the change on, not from the alert
    assert record.burn_pct == (45.0 + PRIOR_BURN_PCT) / 2


@pytest.mark.parametrize(
    ("starts_ms", "service", "counts"),
    [
        (START_MS, "payment", False),  # what it says happened before the change
        (START_MS + 10_000, "payment", True),
        (START_MS + 10_000, "checkout", True),
        (START_MS + 10_000, "search", False),
        (START_MS + WINDOW_MS, "payment", True),
        (START_MS + WINDOW_MS + 10_000, "payment", False),
        (START_MS - 10_000, "payment", False),
    ],
)
def test_the_window_begins_after_the_change_and_ends_with_half_an_hour(
    starts_ms: int, service: str, counts: bool
) -> None:
    history = History()
    history.remember(change("1", START_MS), {})
    history.observe(alert("a", starts_ms, service=service))
    assert len(of(history).incidents) == counts


def test_similar_changes_are_earlier_ones_of_the_kind_whose_window_is_over() -> None:
    history = History()
    for event in (
        change("earlier", START_MS),
        change("of another kind", START_MS, kind="config"),
        change("of another service", START_MS, service="search"),
        change("now", START_MS),
        change("not yet known", FAR_MS - WINDOW_MS + 1),
        change("planned", FAR_MS + 1),
    ):
        history.remember(event, {})
    assert of(history).changes == 2
    assert of(history, now_ms=FAR_MS + 1).changes == 3
    assert of(history, change("now", START_MS)).changes == 0


def test_an_incident_that_still_fires_has_no_end_and_costs_what_its_alerts_said() -> None:
    history = History()
    history.remember(change("1", START_MS), {"payment-up": 80.0})
    history.observe(alert("a", START_MS + 60_000, left_pct=70.0))
    history.observe(alert("b", START_MS + 90_000, START_MS + 100_000, "checkout", left_pct=99.0))
    (incident,) = of(history).incidents
    assert (incident.detect_s, incident.resolve_s, incident.burn_pct) == (60.0, None, 10.0)
    assert (of(history).unresolved, of(history).resolve_s) == (1, None)


def test_an_incident_lasts_to_the_end_of_its_last_alert() -> None:
    history = History()
    history.remember(change("1", START_MS), {})
    assert not of(history).incidents
    for named, minutes in (("a", 9), ("b", 4)):
        history.observe(alert(named, START_MS + 60_000, START_MS + minutes * 60_000))
    assert of(history).resolve_s == 8 * 60.0


def test_an_end_that_is_read_before_its_beginning_costs_the_same() -> None:
    burns = []
    for told in ((0, 1), (1, 0)):
        history = History()
        history.remember(change("1", START_MS), {})  # without a budget: from the alert's beginning on
        records = (
            alert("a", START_MS + 60_000, left_pct=70.0),
            alert("a", START_MS + 60_000, START_MS + 90_000, left_pct=45.0),
        )
        for i in told:
            history.observe(records[i])
        burns += [incident.burn_pct for incident in of(history).incidents]
    assert burns == [25.0, 25.0]


def test_without_history_an_assumption_is_reckoned_with() -> None:
    record = of(History())
    assert (record.rate, record.interval, record.detect_s, record.resolve_s) == (None, None, None, None)
    assert (record.expected_rate, record.burn_pct) == (0.1, PRIOR_BURN_PCT)


def test_a_repeat_changes_nothing_and_another_change_of_the_id_replaces_it() -> None:
    history = History()
    history.remember(change("1", START_MS), {"payment-up": 80.0})
    history.remember(change("1", START_MS), {"payment-up": 10.0})
    assert [one.left_pct for one in history.changes.values()] == [{"payment-up": 80.0}]
    history.remember(change("1", START_MS + 1), {"payment-up": 10.0})
    assert [one.left_pct for one in history.changes.values()] == [{"payment-up": 10.0}]


def test_changes_of_two_services_with_one_id_are_two() -> None:
    history = History()
    for service in ("payment", "search"):
        history.remember(change("1", START_MS, service=service), {})
    assert len(history.changes) == 2
    assert all(history.holds(change("1", START_MS, service=service)) for service in ("payment", "search"))
    record = history.similar(change("1", FAR_MS, service="mail"), lambda *_: (), FAR_MS)
    assert record.changes == 2
    assert history.similar(change("1", FAR_MS, service="search"), lambda *_: (), FAR_MS).changes == 1


def test_what_is_old_is_forgotten_and_the_oldest_of_too_many() -> None:
    history = History()
    for i in range(3 * MAX_CHANGES):
        history.remember(change(str(i), START_MS + i), {})
        assert len(history.changes) <= 1.1 * MAX_CHANGES
    named = {one.event.change for one in history.changes.values()}
    assert named >= {str(i) for i in range(2 * MAX_CHANGES, 3 * MAX_CHANGES)}
    for i in range(2 * MAX_ALERTS):
        history.observe(alert(str(i), START_MS + i))
    assert MAX_ALERTS <= len(history.alerts) <= 1.1 * MAX_ALERTS
    history.forget(START_MS + KEPT_S * 1000 + 3 * MAX_CHANGES - 1)
    assert [one.event.change for one in history.changes.values()] == [str(3 * MAX_CHANGES - 1)]
    history.forget(START_MS + 2 * KEPT_S * 1000)
    assert not history.changes
    assert not history.alerts


@pytest.mark.parametrize("trials", [1, 2, 5, 20, 1000])
def test_the_interval_is_wilsons(trials: int) -> None:
    for successes in {0, 1, trials // 3, trials}:
        published = binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((published.low, published.high), abs=1e-12)


# --- against a slow reading of what the documentation says --------------------------------------------------

TIMES = st.integers(0, 8).map(lambda step: START_MS + step * 600_000)
SERVICES = st.sampled_from(["payment", "checkout", "search"])
CHANGES = st.lists(st.tuples(TIMES, SERVICES, st.sampled_from(["deploy", "config"])), max_size=12)
ALERTS = st.lists(st.tuples(TIMES, st.none() | st.integers(1, 9), SERVICES), max_size=12)
TOUCHED = {"payment": {"payment", "checkout"}, "checkout": {"checkout"}, "search": {"search", "payment"}}


def slowly(
    changes: list[tuple[int, str, str]], alerts: list[tuple[int, int | None, str]], now_ms: int
) -> tuple[int, list[float], list[float | None]]:
    count, detect, resolve = 0, [], []
    for at_ms, service, kind in changes:
        if kind != "deploy" or now_ms < at_ms + 1_800_000:
            continue
        count += 1
        mine = [a for a in alerts if a[2] in TOUCHED[service] and 0 < a[0] - at_ms <= 1_800_000]
        if mine:
            began = min(a[0] for a in mine)
            detect.append((began - at_ms) / 1000)
            ends = [None if a[1] is None else a[0] + a[1] * 60_000 for a in mine]
            resolve.append(None if None in ends else (max(e for e in ends if e is not None) - began) / 1000)
    return count, detect, resolve


@given(CHANGES, ALERTS, st.integers(0, 15), st.randoms())
def test_the_record_is_what_a_slow_reading_finds_whatever_the_order(
    changes: list[tuple[int, str, str]], alerts: list[tuple[int, int | None, str]], step: int, rng: Any
) -> None:
    history, now_ms = History(), START_MS + step * 600_000
    told: list[Any] = [
        change(str(i), at_ms, kind, service) for i, (at_ms, service, kind) in enumerate(changes)
    ]
    for i, (starts_ms, minutes, service) in enumerate(alerts):
        told.append(alert(str(i), starts_ms, None, service))
        if minutes is not None:
            told.append(alert(str(i), starts_ms, starts_ms + minutes * 60_000, service))
    rng.shuffle(told)
    for one in told:
        if isinstance(one, ChangeEvent):
            history.remember(one, {})
        else:
            history.observe(one)
    record = history.similar(change("now", FAR_MS), lambda service, _: TOUCHED[service or ""], now_ms)
    count, detect, resolve = slowly(changes, alerts, now_ms)
    assert record.changes == count
    assert sorted(i.detect_s for i in record.incidents) == sorted(detect)
    assert record.detect_s == (median(detect) if detect else None)
    over = [length for length in resolve if length is not None]
    assert record.resolve_s == (median(over) if over else None)
    assert record.unresolved == resolve.count(None)
    assert record.expected_rate == float(Fraction(2 * len(detect) + 1, 2 * count + 10))
