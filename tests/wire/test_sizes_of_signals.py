"""Every signal fits in a Kafka record, whatever events and files say."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from stream.wire.deadletter import dead_letter
from stream.wire.event import MAX_LONG_NAME, MAX_RECORD_BYTES
from stream.wire.reject import MAX_DETAIL_CHARS
from stream.wire.signal import MAX_BYTES, TOPICS, Signal, encode, headers

RECORD_BYTES = 1_000_000
NAME = "\U0001f525" * 200
LONG = "\x01" * MAX_LONG_NAME
"""JSON needs six bytes for each."""


def size(signal: Signal) -> int:
    told = sum(len(name) + len(value) for name, value in headers(signal))
    return len(signal.key.encode()) + len(encode(signal)) + told


def signal(topic: str, **fields: Any) -> Signal:
    about = {"namespace": NAME, "service": NAME, "evaluated_at": "2026-11-23T05:00:10.000Z"}
    return Signal(topic, f"{NAME}/{NAME}", {"schema": TOPICS[topic].schema, **about, **fields})


CONTRIBUTOR = {"endpoint": LONG, "method": LONG, "version": LONG, "track": "baseline", "bad": 1 / 3}
METRIC = {"name": NAME, "reason": "x" * 500, "worst_endpoint": LONG, "interval": [1 / 3, 2 / 3]}
LARGEST = [
    signal("slo-alerts", slo=NAME, channels=[NAME] * 100, contributors=[CONTRIBUTOR] * 5),
    signal("slo-budgets", slo=NAME, burn_rate={f"{n}s": 1 / 3 for n in range(50_000)}),
    signal("deploy-freezes", reasons=[{"slo": NAME, "threshold_pct": 1 / 3}] * 10_000),
    signal("deploy-rollbacks", slo=NAME, version=LONG, previous_version=LONG),
    signal("canary-verdicts", metrics=[METRIC] * 100, slos=[{"slo": NAME, "target_pct": 1 / 3}] * 5_000),
    signal("rollout-status", version=LONG, previous_version=LONG, faults=[LONG] * 50),
    Signal("latency-percentiles", f"{NAME}/{NAME}|60|{LONG}", signal("latency-percentiles").value),
    signal("change-impacts", affected=[{"service": NAME}] * 200, links=["\x01" * 2_000] * 20),
]


@pytest.mark.parametrize("one", LARGEST, ids=lambda one: one.topic)
def test_the_largest_of_each_kind_fits(one: Signal) -> None:
    assert size(one) < RECORD_BYTES


def test_the_largest_dead_letter_fits() -> None:
    source = {"topic": "x" * 249, "partition": 9_999, "offset": 2**62}
    letter = dead_letter("bad_length", "\x01" * MAX_DETAIL_CHARS, source, bytes(MAX_RECORD_BYTES * 2), 0)
    assert size(Signal("dead-letters", f"{source['topic']}:9999:{2**62}", letter)) < RECORD_BYTES


def test_what_fits_is_left_as_it_is() -> None:
    one = signal("slo-alerts", contributors=[CONTRIBUTOR] * 5)
    assert orjson.loads(encode(one)) == one.value


def test_the_last_items_of_the_longest_list_go_and_no_more_than_must() -> None:
    slos = [f"{number:06d}" + "x" * 94 for number in range(20_000)]
    one = signal("deploy-freezes", reasons=slos, others=list(range(100)), state="frozen")
    found = orjson.loads(encode(one))
    kept = len(found["reasons"])
    assert found == {**one.value, "reasons": slos[:kept]}
    assert MAX_BYTES - 150 < len(encode(one)) <= MAX_BYTES


def test_of_several_long_ones_as_many_are_cut_as_must_be() -> None:
    for kinds in itertools.product((list, dict), repeat=3):
        values = {
            f"part{n}": ["y" * 50] * (20_000 + n)
            if kind is list
            else {f"{k:050d}": 1.5 for k in range(20_000 + n)}
            for n, kind in enumerate(kinds)
        }
        one = signal("canary-verdicts", **values)
        found = orjson.loads(encode(one))
        assert len(encode(one)) <= MAX_BYTES
        assert found.keys() == one.value.keys()
        assert encode(one) == encode(one)
