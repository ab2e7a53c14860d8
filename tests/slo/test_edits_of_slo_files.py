"""An edit of an SLO rolls nothing back, freezes and opens by its own name, and swallows nobody else's."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from stream.model.objective import Availability, BurnRule, Calendar, Latency, Objective, Period, Rolling
from tests.slo.owner import Owner

HOUR_S, DAY_S = 3600, 86_400
T0_MS = 1_790_000_000_000 // (DAY_S * 1000) * DAY_S * 1000

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
"""With 5 of 100 requests bad, 50 % of the budget are left."""


@pytest.fixture
def owner() -> Owner:
    """Half of the budget is left."""
    owner = Owner([UP], T0_MS)
    owner.panes(5, good=19, bad=1)
    owner.panes(1)
    assert owner.records("slo-budgets") == []
    return owner


def changed(owner: Owner) -> list[tuple[str, str | None]]:
    return [(r["state"], r["because"]) for r in owner.records("deploy-freezes")]


def recover_a_little(owner: Owner) -> None:
    """Frozen, and back at 42.8 % by now: 17 of 297 requests were bad."""
    owner.panes(2, good=19, bad=6)
    owner.panes(3, good=49)
    owner.panes(1)
    assert changed(owner) == [("frozen", None)]


@pytest.mark.parametrize(
    "edit",
    [
        {"rollback_below_pct": Decimal(60)},
        {"rollback_below_pct": Decimal(60), "freeze_below_pct": None},
        {"target_pct": Decimal(99)},
    ],
)
def test_an_edit_that_puts_a_budget_below_a_threshold_rolls_nothing_back(
    owner: Owner, edit: dict[str, Decimal | None]
) -> None:
    owner.restart([replace(UP, **edit)])  # type: ignore[arg-type]
    owner.panes(3)
    owner.restart()
    owner.panes(3)
    assert owner.records("deploy-rollbacks") == []


def test_a_rollback_that_an_edit_did_not_bring_about_comes_once_the_budget_has_recovered_and_fallen(
    owner: Owner,
) -> None:
    owner.restart([replace(UP, rollback_below_pct=Decimal(60))])
    owner.panes(1)
    owner.panes(4, good=30)  # 5 of 220: 77 %
    assert owner.records("deploy-rollbacks") == []
    owner.panes(1, bad=10)
    owner.panes(1)
    (rollback,) = owner.records("deploy-rollbacks")
    assert (rollback["slo"], rollback["threshold_pct"]) == ("up", 60.0)


def test_a_freeze_by_an_edit_says_so_and_so_does_its_end(owner: Owner) -> None:
    owner.restart([replace(UP, freeze_below_pct=Decimal(60))])
    owner.panes(2)
    assert changed(owner) == [("frozen", "rules changed")]
    assert [r["threshold_pct"] for r in owner.records("deploy-freezes")[0]["reasons"]] == [60.0]
    owner.restart([replace(UP, freeze_below_pct=Decimal(45))])
    owner.panes(2)
    assert changed(owner)[1:] == [("open", "rules changed")], "50 % is not below 45 %: an edit has no memory"


@pytest.mark.parametrize("edit", [{"freeze_below_pct": None}, {"target_pct": Decimal(50)}])
def test_an_edit_that_ends_a_freeze_says_so(owner: Owner, edit: dict[str, Decimal | None]) -> None:
    owner.panes(2, good=19, bad=6)
    owner.panes(1)
    assert changed(owner) == [("frozen", None)]
    owner.restart([replace(UP, **edit)])  # type: ignore[arg-type]
    owner.panes(2)
    assert changed(owner)[1:] == [("open", "rules changed")]


def test_a_start_with_the_same_files_is_no_change(owner: Owner) -> None:
    recover_a_little(owner)
    for _ in range(3):
        owner.restart([replace(UP, description="spelled anew", target_pct=Decimal("90.0"))])
        owner.panes(1)
    owner.panes(2, good=100)
    assert changed(owner) == [("frozen", None), ("open", None)]


def test_an_edit_counts_at_the_first_tick_however_many_starts_there_are_before_it(owner: Owner) -> None:
    """The state holds what was decided: not what the files said when it was written."""
    edited = [replace(UP, rollback_below_pct=Decimal(60), freeze_below_pct=Decimal(60))]
    for _ in range(3):
        owner.restart(edited)
    owner.panes(3)
    assert owner.records("deploy-rollbacks") == []
    assert changed(owner) == [("frozen", "rules changed")]


def test_an_edit_that_is_taken_back_before_a_tick_is_no_edit(owner: Owner) -> None:
    recover_a_little(owner)
    owner.restart([replace(UP, freeze_below_pct=None)])
    owner.restart([UP])
    owner.panes(2)
    assert changed(owner) == [("frozen", None)]


def test_an_edit_swallows_nobody_elses_rollback_nor_the_reason_of_a_freeze(owner: Owner) -> None:
    other = replace(UP, name="other", window=Rolling(2 * HOUR_S))
    owner = Owner([UP, other], T0_MS)
    owner.panes(5, good=19, bad=1)
    owner.pane(bad=15)  # decided after the edit only
    owner.restart([UP, replace(other, rollback_below_pct=Decimal(30))])
    owner.panes(2)
    assert [r["slo"] for r in owner.records("deploy-rollbacks")] == ["up"]
    (frozen,) = owner.records("deploy-freezes")
    assert [reason["slo"] for reason in frozen["reasons"]] == ["other", "up"]
    assert frozen["because"] == "rules changed", "one of the two went under at its edit"


def test_a_freeze_of_one_slo_at_the_tick_of_an_edit_of_another_is_its_own() -> None:
    calm = replace(UP, name="calm", sli=Latency(100))
    owner = Owner([UP, calm], T0_MS)
    owner.panes(5, good=19, bad=1)
    owner.pane(bad=15)
    owner.restart([UP, replace(calm, freeze_below_pct=Decimal(90))])
    owner.panes(2)
    assert changed(owner) == [("frozen", None)]
    assert len(owner.records("deploy-rollbacks")) == 1


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [replace(UP, name="other", freeze_below_pct=None)],
        [replace(UP, sli=Availability(http=("2xx",)))],
        [replace(UP, endpoints=("/a",))],
        [replace(UP, service="search"), replace(UP, name="other", freeze_below_pct=None)],
    ],
    ids=["no slo", "another slo", "other criteria", "other endpoints", "another service"],
)
@pytest.mark.parametrize("starts", [1, 3])
def test_the_freeze_of_an_slo_that_is_gone_ends_because_the_rules_changed(
    owner: Owner, rest: list[Objective], starts: int
) -> None:
    owner.panes(2, good=19, bad=6)
    owner.panes(1)
    for _ in range(starts):
        owner.restart(rest)
    owner.panes(2)
    owner.restart()
    owner.panes(2)
    assert changed(owner) == [("frozen", None), ("open", "rules changed")]
    assert owner.records("deploy-freezes")[1]["reasons"] == []


def test_an_edit_where_nothing_is_counted_leaves_the_states_as_they_are(owner: Owner) -> None:
    owner.panes(2, good=19, bad=6)
    owner.panes(365)
    owner.restart([replace(UP, freeze_below_pct=Decimal(30), rollback_below_pct=Decimal(25))])
    owner.panes(2)
    assert changed(owner) == [("frozen", None)]
    owner.panes(2, good=1)
    assert changed(owner) == [("frozen", None), ("open", None)]


def test_an_edit_of_alerting_rules_is_no_change_of_the_budget(owner: Owner) -> None:
    recover_a_little(owner)
    rule = BurnRule("5m", 300, None, Decimal(2), "page", (), 1, 0)
    owner.restart([replace(UP, rules=(rule,), labels=(("team", "a"),))])
    owner.panes(2)
    assert changed(owner) == [("frozen", None)]


@pytest.mark.parametrize(
    "window", [Calendar(Period.DAY, "Asia/Kolkata"), Calendar(Period.DAY, "UTC"), Rolling(3 * DAY_S)]
)
def test_another_time_window_is_an_edit_without_memory(owner: Owner, window: Rolling | Calendar) -> None:
    recover_a_little(owner)
    owner.restart([replace(UP, window=window)])
    owner.panes(2)
    assert changed(owner)[1:] == [("open", "rules changed")]
