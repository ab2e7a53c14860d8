"""Deploy and change events: what their schemas take is what is read, and what is wrong is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import SCHEMAS
from stream.model.deploy import DeployEvent, DeployState
from stream.wire.notice import pack_deploy, read_change, read_deploy, unpack_deploy
from stream.wire.reject import RecordError

AT_MS = 1_795_410_010_000
DEPLOY = {"deployment": "4711", "service": "payment", "state": "started", "at": AT_MS}
CHANGE = {"change": "17", "kind": "config", "service": "payment", "at": AT_MS}


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}-event.schema.json").read_text()))


def deploy(**fields: Any) -> DeployEvent:
    return read_deploy(json.dumps(DEPLOY | fields).encode(), None)


def refusal(read: Any, record: dict[str, Any], stamp_ms: int | None = None) -> RecordError:
    with pytest.raises(RecordError) as caught:
        read(json.dumps(record).encode(), stamp_ms)
    return caught.value


NAME = st.none() | st.text("ab", max_size=2) | st.just("x" * 201) | st.integers(0, 1)
NUMBER = st.none() | st.sampled_from([0, -1, 5, 12.5, 100, 100.5, "5", True])
FIELDS = {
    "deployment": NAME,
    "change": NAME,
    "service": NAME,
    "resource": NAME,
    "namespace": NAME,
    "kind": NAME,
    "version": NAME,
    "previous_version": NAME,
    "state": st.sampled_from(["started", "stage", "promoted", "rolled_back", "finished", "begun", None, 1]),
    "stage": NUMBER,
    "by": NAME,
    "links": st.none()
    | st.lists(st.text("ab", max_size=2), max_size=22)
    | st.sampled_from([[1], "a", ["x" * 2_000], ["x" * 2_001]]),
    "unknown": st.just({"a": [1]}),
}


@settings(max_examples=400, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.sampled_from([DEPLOY, {}]))
def test_deploy_events_are_read_exactly_where_the_schema_takes_them(fields: Any, start: Any) -> None:
    _agrees("deploy", read_deploy, start | {"at": AT_MS} | fields)


@settings(max_examples=400, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.sampled_from([CHANGE, {}]))
def test_change_events_are_read_exactly_where_the_schema_takes_them(fields: Any, start: Any) -> None:
    _agrees("change", read_change, start | {"at": AT_MS} | fields)


def _agrees(name: str, read: Any, record: dict[str, Any]) -> None:
    try:
        read(json.dumps(record).encode(), None)
        taken = True
    except RecordError:
        taken = False
    assert taken == validator(name).is_valid(record), record


def test_a_deploy_event_means_what_its_fields_say() -> None:
    links = ["https://ci.example.com/4711"]
    found = deploy(state="stage", stage=12.5, version="2", previous_version="1", by="ci", links=links)
    named = "4711", "default", "payment", DeployState.STAGE, AT_MS
    assert found == DeployEvent(*named, "2", "1", Decimal("12.5"), "ci", None, tuple(links))
    assert deploy(at="2026-11-23T05:00:10Z", version="", namespace=None) == deploy()


def test_what_stage_one_hands_on_is_what_was_read() -> None:
    for event in (deploy(), deploy(state="stage", stage=0.1, version="2"), deploy(namespace="shop", by="me")):
        assert unpack_deploy(pack_deploy(event)) == event
    with pytest.raises(ValueError, match="not a deploy event"):
        unpack_deploy(b"\x93\x01")


def test_the_time_of_the_record_stands_in_on_kafka_and_in_a_file_nothing_does() -> None:
    record = {name: value for name, value in DEPLOY.items() if name != "at"}
    assert read_deploy(json.dumps(record).encode(), 17).at_ms == 17
    assert refusal(read_deploy, record).error == "missing_field"
    assert refusal(read_deploy, record, -1).error == "missing_field"  # the record has none either


def test_an_event_of_the_future_is_refused() -> None:
    assert read_deploy(json.dumps(DEPLOY).encode(), AT_MS - 60_000).at_ms == AT_MS
    assert refusal(read_deploy, DEPLOY, AT_MS - 60_001).error == "future_timestamp"


def test_a_change_may_be_planned_a_year_ahead() -> None:
    year_ms = 366 * 86_400_000
    assert read_change(json.dumps(CHANGE).encode(), AT_MS - year_ms).at_ms == AT_MS
    assert refusal(read_change, CHANGE, AT_MS - year_ms - 1).error == "future_timestamp"


def test_every_fault_of_a_record_is_told_at_once() -> None:
    found = refusal(read_deploy, DEPLOY | {"state": "begun", "stage": 0, "service": ""})
    assert found.error == "bad_length"
    assert found.detail == (
        'service: expected a string of 1 to 200 characters, found ""; '
        'state: expected one of started, stage, promoted, rolled_back, finished, found "begun"; '
        "stage: expected a number above 0, at most 100, found 0"
    )


def test_a_change_is_of_a_service_or_of_a_resource() -> None:
    assert "found both" in refusal(read_change, CHANGE | {"resource": "orders-db"}).detail
    assert "found none" in refusal(read_change, CHANGE | {"service": None}).detail
