"""Replay with changes: each judged in its time, by what was decided up to then, and always the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from schemas import faults
from stream.model.deploy import ChangeEvent
from stream.replay import replay

START_MS = 1_795_410_000_000
MINUTE_MS = 60_000
RULES = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: payment-up, namespace: shop}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
  alerting: [{window: 5m, burnRateThreshold: 5}]
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: search-up, namespace: shop}
spec:
  service: search
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
---
apiVersion: sre.example.com/v1
kind: ServiceGraph
metadata: {name: all, namespace: shop}
spec:
  services:
    - {name: web, dependsOn: [payment, search], critical: true}
    - {name: payment}
    - {name: search}
    - {name: mail}
"""


def change(named: str, minute: float, kind: str = "deploy") -> ChangeEvent:
    return ChangeEvent(named, "shop", "payment", None, kind, START_MS + round(minute * MINUTE_MS))


def written(path: Path, changes: Iterable[ChangeEvent]) -> list[str]:
    """The changes as a file has them."""
    lines = [
        {"change": c.change, "namespace": c.namespace, "service": c.service, "kind": c.kind, "at": c.at_ms}
        for c in changes
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(path)]


def events() -> list[str]:
    """90 minutes of two services, four requests a second; every second payment fails from 10:00 to 13:00."""
    return [
        json.dumps(
            {
                "ts": START_MS + i * 250,
                "namespace": "shop",
                "service": "search" if i % 4 == 0 else "payment",
                "status": 500 if i % 2 and 600 <= i / 4 < 780 else 200,
            }
        )
        for i in range(90 * 60 * 4)
    ]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("replay")
    (room / "rules.yaml").write_text(RULES)
    (room / "events.ndjson").write_text("\n".join(events()))
    return room


CHANGES = (
    change("first", 9.0),
    change("other kind", 8.0, "config"),
    change("second", 12.0),
    change("third", 60.0),
    change("tomorrow", 24 * 60.0),
)


@pytest.fixture(scope="module")
def impacts(room: Path) -> dict[str, Any]:
    summary = replay(
        [room / "rules.yaml"],
        [str(room / "events.ndjson")],
        room / "out",
        changes=written(room / "changes.ndjson", CHANGES),
    )
    assert summary.records["change-impacts"] == len(CHANGES)
    return {impact["change"]: impact for impact in read(room / "out")}


def read(out: Path) -> list[Any]:
    return [json.loads(line) for line in (out / "change-impacts.ndjson").read_text().splitlines()]


def test_every_record_is_as_published_and_they_come_in_order_of_time(impacts: dict[str, Any]) -> None:
    assert list(impacts) == ["other kind", "first", "second", "third", "tomorrow"]
    assert all(faults("change-impacts", impact) == [] for impact in impacts.values())


def test_the_first_of_its_kind_goes_by_the_assumption(impacts: dict[str, Any]) -> None:
    for named in ("first", "other kind", "second"):  # the second: the window of the first is not over
        assert impacts[named]["history"]["changes"] == 0
        assert impacts[named]["history"]["expected_rate"] == 0.1


def test_a_change_is_judged_as_of_the_first_tick_at_or_after_it(impacts: dict[str, Any]) -> None:
    assert impacts["first"]["evaluated_at"] == "2026-11-23T05:09:00.000Z"
    assert impacts["first"]["slo_impact"][0]["budget_remaining_pct"] == 100.0


def test_what_became_of_earlier_changes_is_that_of_the_alerts(room: Path, impacts: dict[str, Any]) -> None:
    firing, resolved = map(json.loads, (room / "out" / "slo-alerts.ndjson").read_text().splitlines())
    assert (firing["state"], resolved["state"]) == ("firing", "resolved")
    history = impacts["third"]["history"]
    # The alert fired after the first change and before the second.
    assert firing["starts_at"] < "2026-11-23T05:12:00.000Z"
    assert (history["changes"], history["incidents"], history["incident_rate"]) == (2, 1, 0.5)
    assert history["detect_s"] == seconds(firing["starts_at"]) - seconds("2026-11-23T05:09:00.000Z")
    assert history["resolve_s"] == seconds(resolved["ends_at"]) - seconds(firing["starts_at"])
    burn_pct = impacts["third"]["slo_impact"][0]["incident_burn_pct"]
    assert burn_pct == pytest.approx((20 + 100 - resolved["budget_remaining_pct"]) / 2)


def test_the_reach_is_that_of_the_graph_and_traffic_that_of_the_budgets(impacts: dict[str, Any]) -> None:
    reach = impacts["third"]["blast_radius"]
    assert (reach["services"], reach["of_services"], reach["critical"]) == (2, 4, ["web"])
    assert reach["traffic_share"] == pytest.approx(0.75, abs=0.001)
    assert [one["action"] for one in impacts["third"]["recommendations"]] == [
        "off-peak",
        "more-tests",
        "postpone",
    ]


def test_a_change_after_the_recording_is_judged_at_its_end(impacts: dict[str, Any]) -> None:
    assert impacts["tomorrow"]["evaluated_at"] == "2026-11-23T06:30:00.000Z"


def test_a_second_run_gives_equal_bytes_and_changes_alter_no_other_output(room: Path, impacts: Any) -> None:
    replay(
        [room / "rules.yaml"],
        [str(room / "events.ndjson")],
        room / "again",
        changes=written(room / "reversed.ndjson", reversed(CHANGES)),
    )
    replay([room / "rules.yaml"], [str(room / "events.ndjson")], room / "without")
    for file in (room / "out").iterdir():
        assert file.read_bytes() == (room / "again" / file.name).read_bytes()
        same = file.read_bytes() == (room / "without" / file.name).read_bytes()
        assert same == (file.name != "change-impacts.ndjson")


def seconds(time: str) -> int:
    hours, minutes, rest = time.partition("T")[2].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(float(rest.rstrip("Z")))
