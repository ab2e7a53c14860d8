"""Records on their way out: bytes and CloudEvents headers are functions of the record alone."""

from __future__ import annotations

import copy
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_schemas import ALERT, BUDGET, DEAD_LETTER, GOOD, IMPACT, PERCENTILES, RESOLVED

from stream.wire.signal import TOPICS, Signal, encode, headers

KEY = "production/payment"
# CloudEvents 1.0, type system: a string may not hold these.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def attributes(topic: str, value: dict[str, Any], key: str = KEY, app: str = "burngate") -> dict[str, str]:
    found = headers(Signal(topic, key, value), app)
    assert len({name for name, _ in found}) == len(found)
    return {name: text.decode() for name, text in found}


def test_the_table_lists_the_contracts_topics_and_which_are_a_state() -> None:
    assert [topic.name for topic in TOPICS.values() if topic.compacted] == [
        "slo-budgets",
        "deploy-freezes",
        "canary-verdicts",
        "rollout-status",
        "shadow-verdicts",
        "latency-percentiles",
    ]
    assert [topic.name for topic in TOPICS.values() if not topic.compacted] == [
        "slo-alerts",
        "deploy-rollbacks",
        "change-impacts",
        "dead-letters",
    ]


def test_bytes_keep_the_order_of_the_keys_and_the_floats() -> None:
    value = {"schema": "burngate.freeze/v1", "z": 99.0, "a": 0.1, "m": -0.0, "k": None}
    assert (
        encode(Signal("deploy-freezes", KEY, value))
        == b'{"schema":"burngate.freeze/v1","z":99.0,"a":0.1,"m":-0.0,"k":null}'
    )


def test_a_record_on_the_wrong_topic_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        encode(Signal("slo-budgets", KEY, ALERT))


def test_an_alert_says_what_it_is_where_it_comes_from_and_what_it_is_about() -> None:
    assert attributes("slo-alerts", ALERT, app="eu") == {
        "ce_specversion": "1.0",
        "ce_id": "production/payment-availability/0/1795410010/firing",
        "ce_source": "/eu/slo-alerts",
        "ce_type": "burngate.alert.v1",
        "ce_subject": "production/payment-availability",
        "ce_time": "2026-11-23T05:00:10.000Z",
        "ce_dataschema": "urn:burngate:schema:alert:v1",
        "content-type": "application/json",
    }


def test_what_is_not_about_an_slo_is_about_its_service() -> None:
    assert attributes("latency-percentiles", PERCENTILES)["ce_subject"] == KEY
    assert attributes("change-impacts", IMPACT)["ce_subject"] == KEY
    resource = IMPACT | {"service": None, "resource": "ledger"}
    assert attributes("change-impacts", resource)["ce_subject"] == "production/resource:ledger"


@pytest.mark.parametrize("topic", TOPICS)
def test_a_repeat_is_equal_to_the_last_byte(topic: str) -> None:
    first, repeat = (Signal(topic, KEY, copy.deepcopy(GOOD[topic])) for _ in range(2))
    assert (encode(first), headers(first)) == (encode(repeat), headers(repeat))
    assert orjson.loads(encode(first)) == GOOD[topic]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_record_has_the_attributes_that_cloudevents_requires(topic: str) -> None:
    found = attributes(topic, GOOD[topic])
    assert all(found[name] for name in ("ce_id", "ce_source", "ce_specversion", "ce_type"))
    assert not any(FORBIDDEN.search(text) for text in found.values())


def test_distinct_records_of_a_topic_have_distinct_ids() -> None:
    def identity(topic: str, key: str, value: dict[str, Any]) -> str:
        return attributes(topic, value, key)["ce_id"]

    later = {"evaluated_at": "2026-11-23T05:02:00.000Z"}
    records = [
        ("slo-alerts", KEY, ALERT),
        ("slo-alerts", KEY, ALERT | RESOLVED),
        ("slo-budgets", "production/payment-availability", BUDGET),
        ("slo-budgets", "production/payment-availability", BUDGET | later),
        ("slo-budgets", "production/payment-latency", BUDGET),
        ("latency-percentiles", f"{KEY}/300//v1/charges", PERCENTILES),
        ("latency-percentiles", f"{KEY}/300//v1/methods", PERCENTILES),
        ("dead-letters", "", DEAD_LETTER),
        ("dead-letters", "", DEAD_LETTER | {"source": DEAD_LETTER["source"] | {"offset": 18}}),
        ("dead-letters", "", DEAD_LETTER | {"source": {"file": "events.ndjson", "line": 17}}),
    ]
    assert len({identity(*record) for record in records}) == len(records)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_endpoint_puts_anything_forbidden_into_the_headers(endpoint: str) -> None:
    found = attributes("latency-percentiles", PERCENTILES | {"endpoint": endpoint}, f"{KEY}/{endpoint}/60")
    assert not any(FORBIDDEN.search(text) for text in found.values())


@pytest.mark.parametrize("changes", [{"observed_at": None}, {"observed_at": "10001-01-01T00:00:00.000Z"}])
def test_a_time_that_there_is_not_or_that_cannot_be_written_is_left_out(changes: dict[str, Any]) -> None:
    found = attributes("dead-letters", DEAD_LETTER | changes)
    assert "ce_time" not in found
    assert "ce_subject" not in found
