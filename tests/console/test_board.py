"""The board: records in, what there is to show out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from signal_records import (
    alert,
    budget,
    canary_rollback,
    contributor,
    dead_letter,
    errors,
    freeze,
    metric,
    percentiles,
    rollback,
    rollout,
    verdict,
)

from stream.console.board import HISTORY, Board, Kind
from stream.console.text import clock, epoch_ms

SCHEMAS = Path(__file__).parents[2] / "schemas"


def board(*records: tuple[str, dict[str, object]]) -> Board:
    result = Board()
    for topic, record in records:
        result.apply(topic, record)
    return result


def test_a_budget_record_is_shown_as_it_is() -> None:
    row = board(("slo-budgets", budget())).objectives["shop/payment-availability"]
    assert (row.service, row.target_pct, row.remaining_pct) == ("payment", 99.9, 93.1)
    assert (row.total, row.bad) == (72_000, 74)
    assert row.burn == {"5m": 15.2, "1h": 1.0}


def test_history_holds_the_burn_of_the_shortest_window_of_the_last_hour() -> None:
    shown = board(
        *(
            (
                "slo-budgets",
                budget(f"2026-11-23T{10 + m // 60}:{m % 60:02}:00.000Z", burn_rate={"1h": 0, "5m": m}),
            )
            for m in range(70)
        )
    )
    history = list(shown.objectives["shop/payment-availability"].history)
    assert history == list(range(70 - HISTORY, 70))


def test_windows_are_listed_shortest_first_over_all_objectives() -> None:
    shown = board(
        ("slo-budgets", budget(burn_rate={"6h": 0.1, "5m": 0.2})),
        ("slo-budgets", budget(slo="other", burn_rate={"90s": None, "1h": 0.2})),
        ("slo-budgets", budget(slo="without alerts", burn_rate={})),
    )
    assert shown.windows() == ["90s", "5m", "1h", "6h"]


def test_an_alert_fires_on_its_window_until_it_is_resolved() -> None:
    shown = board(("slo-budgets", budget()), ("slo-alerts", alert()))
    row = shown.objectives["shop/payment-availability"]
    assert row.is_firing("5m")
    assert row.is_firing("300s")
    assert not row.is_firing("1h")
    assert row.severity == "critical"
    shown.apply("slo-alerts", alert("2026-11-23T10:30:20.000Z", "resolved"))
    assert not row.is_firing("5m")
    assert row.severity is None
    assert [happening.kind for happening in shown.happenings] == [Kind.FIRING, Kind.RESOLVED]
    assert shown.happenings[1].text == "payment-availability 5m > 14.4× after 6 min 20 s"


def test_the_severity_shown_is_that_of_the_shortest_firing_window() -> None:
    shown = board(
        ("slo-alerts", alert(window_s=3600, severity="warning")), ("slo-alerts", alert(severity="critical"))
    )
    assert shown.objectives["shop/payment-availability"].severity == "critical"


def test_a_firing_alert_names_its_main_contributors_and_the_end_of_the_budget() -> None:
    (happening,) = board(("slo-alerts", alert())).happenings
    assert "payment-availability 5m > 14.4× (critical)" in happening.text
    assert "15.2× over 5m and 38.1× over 30s" in happening.text
    assert happening.details == (
        "97 % of the bad requests: POST /v1/charges, version 2.5.0, canary",
        "at this pace the budget is gone at 10:39:40",
    )


def test_an_alert_without_short_window_version_or_endpoint_is_told_without_them() -> None:
    record = alert(
        rule={"window_s": 5400, "short_window_s": None, "burn_rate_threshold": 2.0},
        burn_rate={"long": 3.0, "short": None},
        contributors=[contributor("", "", None, "stable", 9, 1.0)],
        exhausts_at=None,
    )
    (happening,) = board(("slo-alerts", record)).happenings
    assert happening.text.endswith("burning 3.0× over 90m")
    assert happening.details == ("100 % of the bad requests: no endpoint, stable",)


def test_a_freeze_holds_until_deploys_are_open_again() -> None:
    shown = board(("deploy-freezes", freeze("2026-11-23T10:25:30.000Z")))
    assert clock(shown.services["shop/payment"].frozen_since_ms or 0) == "10:25:30"
    assert shown.happenings[0].details == ("payment-availability has 59.4 % of its budget left, below 60 %",)
    shown.apply("deploy-freezes", freeze("2026-11-23T11:00:00.000Z", "open"))
    assert shown.services["shop/payment"].frozen_since_ms is None
    assert [happening.kind for happening in shown.happenings] == [Kind.FROZEN, Kind.OPEN]


@pytest.mark.parametrize(
    ("versions", "line"),
    [
        (("2.5.0", "2.4.0"), "payment: take 2.5.0 back, to 2.4.0"),
        (("2.5.0", None), "payment: take 2.5.0 back"),
        ((None, None), "payment: take the latest release back"),
    ],
)
def test_a_rollback_names_the_versions_that_are_known(
    versions: tuple[str | None, str | None], line: str
) -> None:
    shown = board(("deploy-rollbacks", rollback(version=versions[0], previous_version=versions[1])))
    assert shown.happenings[0].text == line


def test_a_canary_is_told_of_once_when_its_trial_begins() -> None:
    shown = board(("rollout-status", rollout()), ("rollout-status", rollout("2026-11-23T10:25:00.000Z")))
    (happening,) = shown.happenings
    assert (happening.kind, clock(happening.at_ms)) == (Kind.TRIAL, "10:20:00")
    assert happening.text == "search 3.2.0 is on trial at 10 %, beside 3.1.0"
    assert shown.on_trial == ["search 3.2.0"]
    shown.apply("rollout-status", rollout("2026-11-23T10:26:00.000Z", "failed"))
    assert shown.on_trial == []
    assert len(shown.happenings) == 1


def test_the_next_stage_is_another_trial_and_what_nobody_told_is_left_out() -> None:
    stage = {**rollout()["stage"], "percent": None, "started_at": "2026-11-23T10:40:00.000Z"}
    later = rollout("2026-11-23T10:41:00.000Z", stage=stage, previous_version=None, version=None)
    shown = board(("rollout-status", rollout()), ("rollout-status", later))
    assert [one.text for one in shown.happenings][1:] == ["search without a version is on trial"]
    assert shown.on_trial == ["search"]


def test_a_failed_canary_is_told_with_what_is_worse_by_how_much_and_where() -> None:
    shown = board(
        ("canary-verdicts", verdict(of="inconclusive", final=False)), ("canary-verdicts", verdict())
    )
    (happening,) = shown.happenings
    assert happening.kind is Kind.FAILED
    assert happening.text == "search 3.2.0 failed its canary: p99 +251 % [over +33 %]"
    assert happening.details == (
        "p99 847 ms against 241 ms, +15 % would be no harm; most of it on /search",
        "not worse: p50 +1 % [−19 %, +28 %], errors 0.18 % against 0.11 %",
        "after 4 min and 566 requests of the canary",
    )
    assert [one["verdict"] for one in shown.verdicts] == ["fail"]


def test_a_canary_that_passed_or_stays_open_says_why() -> None:
    within = [metric("latency-p95", "within", ratio=0.98, interval=[None, 1.04]), errors()]
    passed = verdict(of="pass", service="catalogue", metrics=within)
    shown = board(
        ("canary-verdicts", passed), ("canary-verdicts", verdict(of="marginal", metrics=[errors()]))
    )
    first, second = shown.happenings
    assert (first.kind, second.kind) == (Kind.PASSED, Kind.PAUSED)
    assert first.text == "catalogue 1.9.0 passed its canary: no metric is worse"
    assert first.details[0] == "every metric is within its margin"
    assert first.details[1] == "p95 −2 % [under +4 %], errors 0.18 % against 0.11 %"
    assert second.text == "search 3.2.0 is undecided (marginal): somebody has to look"
    assert second.details[0] == "nothing is sure"


def test_numbers_that_a_verdict_has_not_are_left_out() -> None:
    bare = [
        metric("latency-p99", "worse", ratio=None, interval=None, margin_ratio=None),
        metric("slo/up", "open", canary=None, baseline=None),
        metric("latency-p50", "open", interval=None),
    ]
    (happening,) = board(("canary-verdicts", verdict(metrics=bare))).happenings
    assert happening.text == "search 3.2.0 failed its canary: p99"
    assert happening.details[:2] == ("p99 847 ms against 241 ms", "not worse: up, p50 +251 %")


def test_a_rollback_of_a_canary_is_not_one_of_a_budget() -> None:
    shown = board(("deploy-rollbacks", canary_rollback()))
    assert shown.happenings[0].text == "search: take 3.2.0 back, to 3.1.0"
    assert shown.happenings[0].details == ("its canary failed",)


def test_latency_is_that_of_the_whole_service_in_the_last_minute() -> None:
    row = board(
        ("latency-percentiles", percentiles()),
        ("latency-percentiles", percentiles(window_s=300, p99=1.0)),
        ("latency-percentiles", percentiles(endpoint="/v1/charges", p99=2.0)),
    ).services["shop/payment"]
    assert (row.requests_per_s, row.p50_ms, row.p95_ms, row.p99_ms) == (50.0, 31.4, 640.2, 1320.0)


def test_dead_letters_are_counted_by_error_and_move_no_clock() -> None:
    shown = board(("dead-letters", dead_letter()), ("dead-letters", dead_letter()))
    assert shown.dead_letters == {"not_json": 2}
    assert shown.event_ms is None


def test_the_clock_is_that_of_the_newest_record_whatever_the_order_of_topics() -> None:
    shown = board(
        ("slo-budgets", budget("2026-11-23T10:25:00.000Z")), ("slo-alerts", alert("2026-11-23T10:24:10.000Z"))
    )
    assert shown.event_ms == epoch_ms("2026-11-23T10:25:00.000Z")


def test_services_of_equal_name_in_two_namespaces_are_told_apart() -> None:
    shown = board(("slo-budgets", budget()), ("slo-budgets", budget(namespace="other", remaining_pct=1.0)))
    assert list(shown.objectives) == ["other/payment-availability", "shop/payment-availability"]
    assert len(shown.services) == 2


@pytest.mark.parametrize(
    ("schema", "record"),
    [
        ("budget", budget()),
        ("alert", alert()),
        ("alert", alert(state="resolved")),
        ("freeze", freeze()),
        ("freeze", freeze(state="open")),
        ("rollback", rollback()),
        ("rollback", canary_rollback()),
        ("canary", verdict()),
        ("canary", verdict(of="pass")),
        ("rollout", rollout()),
        ("percentiles", percentiles()),
        ("deadletter", dead_letter()),
    ],
)
def test_the_records_of_these_tests_are_as_published(schema: str, record: dict[str, object]) -> None:
    found = [path for path in SCHEMAS.glob("*.schema.json") if f"burngate.{schema}/v1" in path.read_text()]
    assert len(found) == 1
    validator = Draft202012Validator(json.loads(found[0].read_text()))
    assert [fault.message for fault in validator.iter_errors(record)] == []
