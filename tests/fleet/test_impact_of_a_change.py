"""The judgement of one change: reach, budgets, score, recommendations, and the words for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.fleet.graph import Affected, Route
from stream.fleet.history import Incident, Record
from stream.fleet.impact import Action, Budget, Impact, slo_impacts, traffic_shares
from stream.model.deploy import ChangeEvent

EVENT = ChangeEvent("42", "shop", "payment", None, "deploy", 1_790_000_000_000)
DAY_S = 86_400


def affected(count: int) -> tuple[Affected, ...]:
    return tuple(Affected(f"s{i}", i, Route.CALLS, None) for i in range(count))


def record(changes: int, incidents: int, burn_pct: float = 20.0) -> Record:
    return Record(changes, 0 if changes else None, (Incident(60.0, 600.0, burn_pct),) * incidents)


def budget(slo: str, left_pct: float, service: str = "s0", freeze_below_pct: float = 0.0) -> Budget:
    return Budget(slo, service, left_pct, 1000.0, DAY_S, False, freeze_below_pct)


def impact(
    services: int = 1,
    of_services: int = 4,
    critical: tuple[str, ...] = (),
    history: Record | None = None,
    budgets: tuple[Budget, ...] = (),
) -> Impact:
    history, touched = history or Record(), affected(services)
    slos = slo_impacts(touched, budgets, history)
    return Impact(EVENT, touched, critical, of_services, {}, True, history, slos)


def actions(found: Impact) -> list[Action]:
    return [recommendation.action for recommendation in found.recommendations]


def test_without_a_cause_nothing_is_recommended() -> None:
    assert actions(impact(budgets=(budget("up", 100.0),))) == []


@pytest.mark.parametrize(("services", "of_services", "asked"), [(2, 4, False), (3, 4, True), (1, 1, True)])
def test_over_half_of_the_services_affected_asks_for_blue_green(
    services: int, of_services: int, asked: bool
) -> None:
    assert (Action.BLUE_GREEN in actions(impact(services, of_services))) == asked


def test_a_critical_service_affected_asks_for_a_quiet_hour() -> None:
    assert actions(impact(critical=("checkout",))) == [Action.OFF_PEAK]


@pytest.mark.parametrize(
    ("changes", "incidents", "asked"),
    [(10, 1, False), (9, 1, True), (20, 3, True), (0, 0, False), (1, 1, True)],
)
def test_incidents_in_over_a_tenth_of_similar_changes_ask_for_more_tests(
    changes: int, incidents: int, asked: bool
) -> None:
    assert (Action.MORE_TESTS in actions(impact(history=record(changes, incidents)))) == asked


@pytest.mark.parametrize(
    ("left_pct", "freeze_below_pct", "asked"),
    [(20.0, 0.0, False), (19.9, 0.0, True), (30.0, 10.0, False), (29.9, 10.0, True), (-5.0, 0.0, True)],
)
def test_a_budget_that_one_incident_would_spend_asks_to_postpone(
    left_pct: float, freeze_below_pct: float, asked: bool
) -> None:
    found = impact(budgets=(budget("up", left_pct, freeze_below_pct=freeze_below_pct),))
    assert (Action.POSTPONE in actions(found)) == asked


def test_recommendations_come_by_priority_with_their_numbers() -> None:
    found = impact(3, 4, ("checkout",), record(4, 2), (budget("up", 12.34), budget("fast", 50.0)))
    assert [(one.action.value, one.reason) for one in found.recommendations] == [
        ("blue-green", "3 of 4 services are affected: have a fast way back"),
        ("off-peak", "critical: checkout"),
        (
            "more-tests",
            "2 of 4 similar changes had an incident (50 %, 95 % interval 15 % to 85 %); "
            "fewer than 20 say little",
        ),
        (
            "postpone",
            "unless it is urgent: an incident may spend 20.0 %, which is too much for up (12.3 % left)",
        ),
    ]
    assert found.reasons == [
        "3 of 4 services affected (75 %), their requests are not known",
        "2 of 4 similar changes had an incident (50 %, 95 % interval 15 % to 85 %), found after 60 s, "
        "over 10 min later (medians); fewer than 20 say little",
        "an incident may spend 20.0 % of a budget, and 5.6 % are to be expected; the least has "
        "up (12.3 % left)",
    ]


def test_missing_knowledge_is_said() -> None:
    found = replace(impact(), has_graph=False)
    assert found.reasons == [
        "1 of 4 services affected (25 %), their requests are not known; in no service graph: who else is "
        "affected is not known",
        "no similar change (deploy) is known: 10 % are assumed to fail",
        "no budget of an affected service is known",
    ]


def test_only_slos_of_affected_services_count_and_the_emptiest_comes_first() -> None:
    budgets = (budget("a", 90.0), budget("b", 10.0), budget("c", 1.0, "elsewhere"))
    found = slo_impacts(affected(1), budgets, record(15, 3, 40.0))
    assert [(slo.slo, slo.at_risk) for slo in found] == [("b", True), ("a", False)]
    assert found[0].incident_burn_pct == 40.0  # of 20 (assumed), 40, 40, 40
    assert found[0].expected_burn_pct == pytest.approx(0.175 * 40)  # (3 + 0.5) / (15 + 5)


def test_the_score_is_the_sum_of_its_parts() -> None:
    least, most = impact(0, 4), impact(4, 4, ("s0",), record(40, 40), (budget("up", 0.0),))
    assert least.parts == {"blast_radius": 0.0, "critical": 0.0, "history": 5.0, "budget": 0.0}
    assert (least.risk_score, most.risk_score) == (5, 100)
    some = impact(2, 4, (), record(15, 3), (budget("up", 80.0),))
    assert some.parts == pytest.approx(
        {"blast_radius": 15.0, "critical": 0.0, "history": 8.75, "budget": 6.25}
    )
    assert some.risk_score == 30


@given(
    st.integers(0, 9),
    st.booleans(),
    st.integers(0, 50),
    st.integers(0, 50),
    st.lists(st.floats(-1000, 100), max_size=3),
    st.floats(0, 1000),
)
def test_the_score_is_never_outside_of_its_scale(
    services: int, critical: bool, changes: int, incidents: int, left_pct: list[float], burn_pct: float
) -> None:
    budgets = tuple(budget(str(i), left) for i, left in enumerate(left_pct))
    history = record(changes, min(changes, incidents), burn_pct)
    found = impact(services, 9, ("s0",) if critical else (), history, budgets)
    assert 0 <= found.risk_score <= 100
    assert len(found.reasons) == 3


def test_traffic_is_compared_over_the_window_that_most_services_have() -> None:
    month_s = 30 * DAY_S
    budgets = [
        Budget("a-up", "a", 50.0, 600.0, month_s),
        Budget("a-fast", "a", 50.0, 400.0, month_s),  # of some endpoints
        Budget("a-today", "a", 50.0, 90.0, DAY_S),
        Budget("b-up", "b", 50.0, 300.0, month_s),
        Budget("c-up", "c", 50.0, 10.0, DAY_S),  # at this pace, 300 in a month
        Budget("e-up", "e", 50.0, 1200.0, month_s),
        Budget("d-slices", "d", 50.0, 9999.0, month_s, slices=True),
    ]
    assert traffic_shares(budgets) == pytest.approx({"a": 0.25, "b": 0.125, "c": 0.125, "e": 0.5})


def test_without_requests_there_is_no_share() -> None:
    assert traffic_shares([]) == {}
    assert traffic_shares([Budget("a", "a", 100.0, 0.0, DAY_S)]) == {}
    assert impact().traffic_share is None
