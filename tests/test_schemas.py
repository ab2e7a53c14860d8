"""The published schemas take every record of the contract's section 5, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import faults, validator
from stream.wire.deadletter import MAX_PAYLOAD_BYTES, dead_letter
from stream.wire.reject import ERRORS
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import TOPICS

Record = dict[str, Any]
TICK = "2026-11-23T05:00:10.000Z"
MINUTE = "2026-11-23T05:01:00.000Z"

ALERT: Record = {
    "schema": "burngate.alert/v1",
    "id": "production/payment-availability/0/1795410010",
    "state": "firing",
    "slo": "payment-availability",
    "namespace": "production",
    "service": "payment",
    "severity": "critical",
    "rule": {"window_s": 300, "short_window_s": 30, "burn_rate_threshold": 14.4},
    "burn_rate": {"long": 20.5, "short": 61.0},
    "budget_remaining_pct": -3.25,
    "starts_at": TICK,
    "ends_at": None,
    "evaluated_at": TICK,
    "channels": ["pagerduty-critical"],
    "contributors": [
        {
            "endpoint": "/v1/charges",
            "method": "POST",
            "version": "2.5.0",
            "track": "canary",
            "bad": 41.0,
            "total": 50.5,
            "share": 0.82,
        }
    ],
    "exhausts_at": "2026-11-23T05:00:10.123Z",
}
BUDGET: Record = {
    "schema": "burngate.budget/v1",
    "slo": "payment-availability",
    "namespace": "production",
    "service": "payment",
    "target_pct": 99.95,
    "window_s": 2592000,
    "good": 99_950.5,
    "bad": 49.5,
    "total": 100_000.0,
    "remaining_pct": 1.0,
    "consumed_pct": 99.0,
    "sli_pct": 99.9505,
    "burn_rate": {"5m": 0.0, "1h": 1.25, "6h": None},
    "exhausts_at": None,
    "evaluated_at": MINUTE,
}
NOTHING: Record = {
    "good": 0.0,
    "bad": 0.0,
    "total": 0.0,
    "sli_pct": None,
    "remaining_pct": None,
    "consumed_pct": None,
}
"""What a budget record says when nothing was counted."""
REASON: Record = {"slo": "payment-availability", "budget_remaining_pct": 9.5, "threshold_pct": 10.0}
FREEZE: Record = {
    "schema": "burngate.freeze/v1",
    "namespace": "production",
    "service": "payment",
    "state": "frozen",
    "since": TICK,
    "evaluated_at": TICK,
    "reasons": [REASON],
    "because": None,
}
ROLLBACK: Record = {
    "schema": "burngate.rollback/v1",
    "id": "production/payment-availability/1795410010",
    "namespace": "production",
    "service": "payment",
    "slo": "payment-availability",
    "budget_remaining_pct": 4.5,
    "threshold_pct": 5.0,
    "version": "2.5.0",
    "previous_version": "2.4.0",
    "evaluated_at": TICK,
}
CANARY_ROLLBACK: Record = {
    "slo": None,
    "budget_remaining_pct": None,
    "threshold_pct": None,
    "cause": "canary",
    "analysis": "payment-canary",
    "deployment": "deploy-1",
    "reason": "error-rate 0.05 against 0.01",
}
METRIC: Record = {
    "name": "latency-p99",
    "classification": "open",
    "reason": "latency-p99 120 against 100, +20 % [+8 %, +34 %]: around the margin of +15 %",
    "canary": 120.0,
    "baseline": 100.0,
    "n": {"canary": 1250, "baseline": 24000},
    "effective_n": {"canary": 1000.0, "baseline": 19000.5},
    "ratio": 1.2,
    "interval": [1.08, 1.34],
    "margin_ratio": 1.15,
    "smallest_seen_ratio": 1.28,
    "e_value": 3.5,
    "p_value": None,
    "threshold": 80.0,
    "design_effect": 1.25,
    "worst_endpoint": "/v1/charges",
    "weight": 1.0,
    "critical": False,
}
CANARY: Record = {
    "schema": "burngate.canary/v1",
    "analysis": "payment-canary",
    "namespace": "production",
    "service": "payment",
    "deployment": "deploy-1",
    "automatic": None,
    "stage": {"index": 0, "percent": 5.0},
    "canary": {"version": "2.5.0"},
    "baseline": {"kind": "stable", "version": "2.4.0"},
    "method": "sequential",
    "verdict": "inconclusive",
    "final": False,
    "score": 62.5,
    "reason": "around the margin",
    "recommendation": "continue",
    "metrics": [METRIC],
    "anomalies": [{"name": "slo/payment", "severity": "warning", "reason": "98 % are good, 99.5 % should"}],
    "slos": [{"slo": "payment", "target_pct": 99.5, "canary_good_pct": 98.0, "baseline_good_pct": 99.75}],
    "last_minute": {},
    "requests": {"canary": 1000, "baseline": 19000},
    "warmup_requests": {"canary": 50, "baseline": 950},
    "alpha": 0.05,
    "looks": 12,
    "started_at": TICK,
    "evaluated_at": TICK,
}
ROLLOUT: Record = {
    "schema": "burngate.rollout/v1",
    "analysis": "payment-canary",
    "namespace": "production",
    "service": "payment",
    "deployment": "deploy-1",
    "automatic": None,
    "version": "2.5.0",
    "previous_version": "2.4.0",
    "state": "running",
    "stage": {
        "index": 1,
        "percent": 25.0,
        "of": 4,
        "started_at": TICK,
        "seconds": 120,
        "minimum_s": 300,
        "maximum_s": 3600,
    },
    "progress_pct": 26.5,
    "stages": [{"percent": 5.0, "started_at": TICK, "seconds": 400, "verdict": "pass"}],
    "verdict": "inconclusive",
    "reason": "around the margin",
    "recommendation": "continue",
    "faults": ["started of deploy-1 for a second time: ignored"],
    "evaluated_at": TICK,
}
SHADOW: Record = {
    "schema": "burngate.shadow/v1",
    "comparison": "ledger",
    "namespace": "production",
    "service": "ledger",
    "version": "2.0.0",
    "verdict": "inconclusive",
    "final": False,
    "reason": "0.04 % mismatches [0.01 %, 0.2 %]: around the 0.1 % that are allowed",
    "recommendation": "continue",
    "requests": 5000,
    "mismatches": 2,
    "mismatch_pct": 0.04,
    "interval_pct": [0.01, 0.2],
    "maximum_pct": 0.1,
    "effective_n": 5000.0,
    "design_effect": 1.0,
    "alpha": 0.05,
    "looks": 12,
    "minimum_s": 300,
    "maximum_s": 86400,
    "minimum_events": 1000,
    "started_at": TICK,
    "evaluated_at": TICK,
}
PERCENTILES: Record = {
    "schema": "burngate.percentiles/v1",
    "namespace": "production",
    "service": "payment",
    "endpoint": "/v1/charges",
    "window_s": 300,
    "count": 5,
    "p50": 85.0,
    "p90": 120.5,
    "p95": 130.0,
    "p99": 150.0,
    "p999": 151.0,
    "min": 0.0,
    "max": 151.0,
    "mean": 90.25,
    "evaluated_at": MINUTE,
}
IMPACT: Record = {
    "schema": "burngate.impact/v1",
    "id": "production/42/1795410010",
    "change": "42",
    "namespace": "production",
    "service": "payment",
    "resource": None,
    "kind": "deploy",
    "at": "2026-11-23T05:00:07.500Z",
    "version": "2.5.0",
    "by": "ann",
    "links": ["https://ci.example.com/42"],
    "affected": [
        {
            "service": "payment",
            "distance": 0,
            "route": "changed",
            "via": None,
            "critical": True,
            "traffic_share": 0.4,
        },
        {
            "service": "checkout",
            "distance": 1,
            "route": "calls",
            "via": "payment",
            "critical": False,
            "traffic_share": None,
        },
    ],
    "blast_radius": {
        "services": 2,
        "of_services": 3,
        "services_share": 0.6666666666666666,
        "traffic_share": 0.4,
        "critical": ["payment"],
        "in_graph": True,
    },
    "history": {
        "changes": 10,
        "incidents": 2,
        "incident_rate": 0.2,
        "incident_rate_low": 0.05,
        "incident_rate_high": 0.51,
        "expected_rate": 0.1666,
        "detect_s": 70.0,
        "resolve_s": 1200.0,
        "unresolved": 0,
        "incident_window_s": 1800,
        "since": "2026-11-01T05:00:00.000Z",
    },
    "slo_impact": [
        {
            "slo": "payment-availability",
            "service": "payment",
            "budget_remaining_pct": 12.5,
            "expected_burn_pct": 3.3,
            "incident_burn_pct": 20.0,
            "at_risk": True,
        }
    ],
    "risk_score": 73,
    "risk_parts": {"blast_radius": 20.0, "critical": 20.0, "history": 8.3, "budget": 25.0},
    "reasons": ["2 of 3 services affected", "2 of 10 similar changes had an incident", "12.5 % left"],
    "recommendations": [{"priority": 1, "action": "blue-green", "reason": "2 of 3 services are affected"}],
    "evaluated_at": TICK,
}
DEAD_LETTER: Record = {
    "schema": "burngate.deadletter/v1",
    "error": "not_json",
    "detail": "JSON is malformed: {",
    "source": {"topic": "request-events", "partition": 0, "offset": 17},
    "payload_b64": "ew==",
    "payload_bytes": 1,
    "payload_sha256": "021fb596db81e6d02bf3d2586ee3981fe519f275c0ac9ca76bbcf2ebb4097d96",
    "observed_at": "2026-11-23T05:00:10.123Z",
}
GOOD = {
    "slo-alerts": ALERT,
    "slo-budgets": BUDGET,
    "deploy-freezes": FREEZE,
    "deploy-rollbacks": ROLLBACK,
    "canary-verdicts": CANARY,
    "rollout-status": ROLLOUT,
    "shadow-verdicts": SHADOW,
    "latency-percentiles": PERCENTILES,
    "change-impacts": IMPACT,
    "dead-letters": DEAD_LETTER,
}

RESOLVED: Record = {"state": "resolved", "ends_at": "2026-11-23T06:00:00.000Z"}
ALSO_GOOD: list[tuple[str, Record]] = [
    ("slo-alerts", RESOLVED),
    ("slo-alerts", {"exhausts_at": None}),
    ("slo-alerts", {"exhausts_at": "10003-01-01T00:00:00.000Z"}),
    ("slo-alerts", {"channels": [], "contributors": []}),
    (
        "slo-alerts",
        {"contributors": [ALERT["contributors"][0] | {"endpoint": "", "method": "", "version": None}]},
    ),
    (
        "slo-alerts",
        {"rule": ALERT["rule"] | {"short_window_s": None}, "burn_rate": {"long": 20.5, "short": None}},
    ),
    ("slo-alerts", RESOLVED | {"burn_rate": {"long": None, "short": None}}),
    ("slo-alerts", {"budget_remaining_pct": None}),
    ("slo-budgets", NOTHING),
    ("slo-budgets", {"remaining_pct": -250.0, "consumed_pct": 350.0, "exhausts_at": MINUTE}),
    ("slo-budgets", {"burn_rate": {}}),
    ("deploy-freezes", {"state": "open", "reasons": []}),
    ("deploy-freezes", {"because": "rules changed"}),
    ("deploy-freezes", {"reasons": [REASON | {"budget_remaining_pct": None}]}),
    ("deploy-freezes", {"reasons": [REASON, REASON | {"slo": "payment-latency"}]}),
    ("deploy-rollbacks", {"previous_version": None}),
    ("deploy-rollbacks", {"version": None, "previous_version": None}),
    ("deploy-rollbacks", {"cause": "budget"}),
    ("deploy-rollbacks", CANARY_ROLLBACK),
    ("deploy-rollbacks", CANARY_ROLLBACK | {"version": None}),
    ("canary-verdicts", {"automatic": "version 2.5.0 appeared", "stage": {"index": 0, "percent": None}}),
    ("canary-verdicts", {"metrics": [], "anomalies": [], "slos": [], "score": None, "verdict": "nodata"}),
    ("canary-verdicts", {"metrics": [METRIC | {"interval": [None, None], "ratio": None}]}),
    ("canary-verdicts", {"metrics": [METRIC | {"interval": None, "e_value": None, "p_value": 0.04}]}),
    ("canary-verdicts", {"baseline": {"kind": None, "version": None}, "canary": {"version": None}}),
    ("canary-verdicts", {"last_minute": {"error-rate": {"canary": 0.1, "baseline": None}}}),
    ("rollout-status", {"deployment": None, "stage": None, "state": "waiting", "progress_pct": 0.0}),
    ("rollout-status", {"verdict": None, "reason": None, "recommendation": None, "faults": []}),
    ("rollout-status", {"stages": [ROLLOUT["stages"][0] | {"percent": None, "verdict": "superseded"}]}),
    ("shadow-verdicts", {"mismatch_pct": None, "interval_pct": None, "requests": 0, "version": None}),
    ("latency-percentiles", {"endpoint": None, "window_s": 3600}),
    ("change-impacts", {"service": None, "resource": "orders-db", "affected": [], "recommendations": []}),
    ("change-impacts", {"version": None, "by": None, "links": [], "slo_impact": []}),
    ("change-impacts", {"blast_radius": IMPACT["blast_radius"] | {"traffic_share": None, "critical": []}}),
    ("dead-letters", {"source": {"file": "-", "line": 1}}),
    ("dead-letters", {"observed_at": None}),
    ("dead-letters", {"payload_b64": "", "payload_bytes": 0, "error": "empty"}),
]

BAD: list[tuple[str, Record]] = [
    ("slo-alerts", {"state": "pending"}),
    ("slo-alerts", {"severity": "page"}),
    ("slo-alerts", {"id": ""}),
    ("slo-alerts", {"slo": "x" * 201}),
    ("slo-alerts", {"ends_at": TICK}),
    ("slo-alerts", {"state": "resolved"}),
    ("slo-alerts", {"burn_rate": {"long": None, "short": None}}),
    ("slo-alerts", {"rule": ALERT["rule"] | {"short_window_s": None}}),
    ("slo-alerts", {"rule": ALERT["rule"] | {"window_s": 45}}),
    ("slo-alerts", {"rule": ALERT["rule"] | {"window": "5m"}}),
    ("slo-alerts", {"burn_rate": {"long": 20.5}}),
    ("slo-alerts", {"burn_rate": {"long": 20.5, "short": -1.0}}),
    ("slo-alerts", {"budget_remaining_pct": 100.5}),
    ("slo-alerts", {"starts_at": "2026-11-23T05:00:15.000Z"}),
    ("slo-alerts", {"evaluated_at": "2026-11-23T05:00:10Z"}),
    ("slo-alerts", {"evaluated_at": "2026-11-23T05:00:10.000+00:00"}),
    ("slo-alerts", {"evaluated_at": 1795410010000}),
    ("slo-alerts", {"exhausts_at": "02026-11-23T05:00:10.000Z"}),
    ("slo-alerts", {"exhausts_at": "2026-13-23T05:00:10.000Z"}),
    ("slo-alerts", {"channels": "pagerduty"}),
    ("slo-alerts", {"contributors": ALERT["contributors"] * 6}),
    ("slo-alerts", {"contributors": [ALERT["contributors"][0] | {"bad": 0}]}),
    ("slo-alerts", {"contributors": [ALERT["contributors"][0] | {"share": 1.5}]}),
    ("slo-alerts", {"contributors": [ALERT["contributors"][0] | {"track": "blue"}]}),
    ("slo-alerts", {"contributors": [ALERT["contributors"][0] | {"version": ""}]}),
    ("slo-budgets", {"evaluated_at": TICK}),
    ("slo-budgets", {"target_pct": 0}),
    ("slo-budgets", {"sli_pct": None}),
    ("slo-budgets", {"total": 0}),
    ("slo-budgets", NOTHING | {"remaining_pct": 100.0}),
    ("slo-budgets", NOTHING | {"consumed_pct": 0.0}),
    ("slo-budgets", NOTHING | {"exhausts_at": MINUTE}),
    ("slo-budgets", {"remaining_pct": None}),
    ("slo-budgets", {"consumed_pct": None}),
    ("slo-budgets", {"bad": -1}),
    ("slo-budgets", {"consumed_pct": -0.5}),
    ("slo-budgets", {"burn_rate": {"300": 1.0}}),
    ("slo-budgets", {"burn_rate": {"5m": "1.0"}}),
    ("slo-budgets", {"window_s": "30d"}),
    ("slo-budgets", {"window_s": 300.5}),
    ("deploy-freezes", {"state": "open"}),
    ("deploy-freezes", {"because": "somebody wanted it"}),
    ("deploy-freezes", {"reasons": []}),
    ("deploy-freezes", {"state": "thawed"}),
    ("deploy-freezes", {"reasons": [REASON | {"threshold_pct": 101}]}),
    ("deploy-freezes", {"reasons": [{"slo": "payment-availability"}]}),
    ("deploy-freezes", {"since": "2026-11-23T05:00:10.001Z"}),
    ("deploy-rollbacks", {"version": ""}),
    ("deploy-rollbacks", {"version": None}),
    ("deploy-rollbacks", {"threshold_pct": None}),
    ("deploy-rollbacks", {"cause": "canary"}),
    ("deploy-rollbacks", {"slo": None}),
    ("deploy-rollbacks", {"analysis": "payment-canary"}),
    ("deploy-rollbacks", CANARY_ROLLBACK | {"slo": "payment"}),
    ("deploy-rollbacks", CANARY_ROLLBACK | {"cause": "hunch"}),
    ("canary-verdicts", {"verdict": "superseded"}),
    ("canary-verdicts", {"verdict": None}),
    ("canary-verdicts", {"recommendation": "abort"}),
    ("canary-verdicts", {"stage": {"index": 0, "percent": 0}}),
    ("canary-verdicts", {"stage": {"index": -1, "percent": 5}}),
    ("canary-verdicts", {"score": 100.5}),
    ("canary-verdicts", {"alpha": 1}),
    ("canary-verdicts", {"metrics": [METRIC | {"interval": [1.0]}]}),
    ("canary-verdicts", {"metrics": [METRIC | {"design_effect": 0.5}]}),
    ("canary-verdicts", {"metrics": [METRIC | {"p_value": 1.5}]}),
    ("canary-verdicts", {"last_minute": {"error-rate": 0.1}}),
    ("canary-verdicts", {"baseline": {"kind": "shadow", "version": None}}),
    ("canary-verdicts", {"requests": {"canary": 1.5, "baseline": 2}}),
    ("rollout-status", {"state": "superseded"}),
    ("rollout-status", {"progress_pct": 101}),
    ("rollout-status", {"stage": ROLLOUT["stage"] | {"of": 0}}),
    ("rollout-status", {"stages": ROLLOUT["stages"] * 33}),
    ("rollout-status", {"faults": ["x"] * 17}),
    ("rollout-status", {"faults": [""]}),
    ("shadow-verdicts", {"verdict": "marginal"}),
    ("shadow-verdicts", {"recommendation": "rollback"}),
    ("shadow-verdicts", {"interval_pct": [0.1]}),
    ("shadow-verdicts", {"interval_pct": [0.1, 101]}),
    ("shadow-verdicts", {"maximum_pct": 0}),
    ("shadow-verdicts", {"design_effect": 0.9}),
    ("shadow-verdicts", {"mismatches": -1}),
    ("latency-percentiles", {"endpoint": ""}),
    ("latency-percentiles", {"window_s": 120}),
    ("latency-percentiles", {"count": 0}),
    ("latency-percentiles", {"count": 1.5}),
    ("latency-percentiles", {"min": -0.1}),
    ("latency-percentiles", {"p50": None}),
    ("latency-percentiles", {"evaluated_at": TICK}),
    ("change-impacts", {"service": None}),
    ("change-impacts", {"resource": "orders-db"}),
    ("change-impacts", {"risk_score": 101}),
    ("change-impacts", {"risk_score": 12.5}),
    ("change-impacts", {"reasons": []}),
    ("change-impacts", {"affected": [IMPACT["affected"][0] | {"route": "guess"}]}),
    ("change-impacts", {"affected": [IMPACT["affected"][0] | {"traffic_share": 1.5}]}),
    ("change-impacts", {"recommendations": [IMPACT["recommendations"][0] | {"action": "pray"}]}),
    ("change-impacts", {"history": IMPACT["history"] | {"incident_rate": -0.1}}),
    ("change-impacts", {"at": "soon"}),
    ("dead-letters", {"error": "oops"}),
    ("dead-letters", {"detail": ""}),
    ("dead-letters", {"source": {"topic": "request-events", "partition": 0}}),
    ("dead-letters", {"source": {"topic": "request-events", "partition": 0, "offset": -1}}),
    ("dead-letters", {"source": {"file": "events.ndjson", "line": 0}}),
    ("dead-letters", {"source": {"file": "events.ndjson", "line": 1, "offset": 2}}),
    ("dead-letters", {"payload_b64": "not base64!"}),
    ("dead-letters", {"payload_b64": "A" * 699_056}),
    ("dead-letters", {"payload_sha256": "021FB596"}),
    ("dead-letters", {"observed_at": "yesterday"}),
]


def shown(case: object) -> str:
    return case if isinstance(case, str) else ",".join(case) if isinstance(case, dict) else str(case)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_schema_is_a_self_contained_one_of_2020_12_with_the_id_that_the_headers_name(topic: str) -> None:
    schema = validator(topic).schema
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == TOPICS[topic].schema_uri
    assert schema["properties"]["schema"]["const"] == TOPICS[topic].schema
    assert all(reference.startswith("#/$defs/") for reference in references(schema))


@pytest.mark.parametrize("topic", TOPICS)
def test_every_field_is_required_described_and_no_other_is_allowed(topic: str) -> None:
    for form in objects(validator(topic).schema):
        assert form["additionalProperties"] is False
        optional = CANARY_ROLLBACK.keys() - ROLLBACK.keys() if topic == "deploy-rollbacks" else set()
        assert form["required"] == [name for name in form["properties"] if name not in optional]
        assert all(field.get("description", "").endswith(".") for field in form["properties"].values())


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_as_the_contract_has_it_is_taken(topic: str) -> None:
    assert faults(topic, GOOD[topic]) == []


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_with_a_field_too_few_or_too_many_is_refused(topic: str) -> None:
    for record in damaged(GOOD[topic]):
        assert faults(topic, record), record


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_of_another_topic_is_refused(topic: str) -> None:
    assert all(faults(topic, record) for other, record in GOOD.items() if other != topic)


@pytest.mark.parametrize(("topic", "changes"), ALSO_GOOD, ids=shown)
def test_a_record_at_the_edge_of_what_is_allowed_is_taken(topic: str, changes: Record) -> None:
    assert faults(topic, GOOD[topic] | changes) == []


@pytest.mark.parametrize(("topic", "changes"), BAD, ids=shown)
def test_a_record_beyond_it_is_refused(topic: str, changes: Record) -> None:
    assert faults(topic, GOOD[topic] | changes)


def test_every_error_that_the_decoder_knows_is_in_the_schema_of_dead_letters() -> None:
    assert validator("dead-letters").schema["properties"]["error"]["enum"] == list(ERRORS)


@pytest.mark.parametrize("size", [0, 1, 2, 3, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1])
def test_a_dead_letter_of_any_size_is_as_published(size: int) -> None:
    payload = b"x" * size
    assert (
        faults("dead-letters", dead_letter("not_json", "detail", {"file": "-", "line": 3}, payload, -5000))
        == []
    )


@pytest.mark.parametrize("ms", [0, -10_000, 1795410010000, 253402300800000, 569_739_600_000_000])
def test_times_of_any_year_that_can_come_out_are_as_published(ms: int) -> None:
    assert faults("slo-alerts", ALERT | {"exhausts_at": format_ms(ms)}) == []


def objects(schema: Any) -> Iterator[Record]:
    """Every schema of an object with fields within a schema; conditions have no type of their own."""
    return (found for found in walk(schema) if found.get("type") == "object" and "properties" in found)


def references(schema: Any) -> Iterator[str]:
    return (found["$ref"] for found in walk(schema) if "$ref" in found)


def walk(schema: Any) -> Iterator[Record]:
    if isinstance(schema, dict):
        yield schema
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from walk(value)


def damaged(record: Any) -> Iterator[Record]:
    """The record with one field left out, or one put in, at every depth."""
    for path in paths(record):
        for name in [*at(record, path), None]:
            copied = copy.deepcopy(record)
            if name is None:
                at(copied, path)["unknown"] = 1
            else:
                del at(copied, path)[name]
            free = (["burn_rate"], ["last_minute"])  # windows and metrics have names of their own
            if path not in free or "rule" in record:
                yield copied


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[list[str | int]]:
    if isinstance(value, dict):
        yield list(path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        yield from paths(part, (*path, name))


def at(value: Any, path: list[str | int]) -> Record:
    for name in path:
        value = value[name]
    return value
