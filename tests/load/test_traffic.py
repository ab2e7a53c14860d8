"""The shop's traffic: the same for a seed, as many as asked for, and the story's fault where it belongs."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream.config.load import load_objectives
from stream.load import SHOP_SLOS
from stream.load.shop import ENDPOINTS, NAMESPACE, PAYMENT, STABLE_VERSION
from stream.load.story import LENGTH_S, PERIOD_S
from stream.load.traffic import Shop

START_MS = 1_790_000_100_000
MINUTE_MS = 60_000
SCHEMA = Path(__file__).parents[2] / "schemas" / "request-event.schema.json"


def parsed(events: Iterable[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event) for event in events]


def minutes(shop: Shop, first: float, end: float) -> list[dict[str, Any]]:
    from_ms, until_ms = (START_MS + int(minute * MINUTE_MS) for minute in (first, end))
    return parsed(shop.events(from_ms, until_ms).events)


def error_share(events: list[dict[str, Any]]) -> float:
    return sum(event["status"] >= 500 for event in events) / len(events)


def of(events: list[dict[str, Any]], **wanted: str) -> list[dict[str, Any]]:
    return [event for event in events if all(event[key] == value for key, value in wanted.items())]


def test_a_seed_gives_the_same_bytes_again_and_another_seed_others() -> None:
    first, again, other = (
        Shop(START_MS, seed=seed).events(START_MS, START_MS + 30_000).events for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_events_do_not_depend_on_how_time_is_cut_up(cuts_ms: list[int]) -> None:
    bounds = [0, *sorted(cuts_ms), 40_000]
    shop = Shop(START_MS, seed=3, rate=50)
    pieces = [shop.events(START_MS + a, START_MS + b) for a, b in itertools.pairwise(bounds)]
    whole = Shop(START_MS, seed=3, rate=50).events(START_MS, START_MS + 40_000)
    assert [event for piece in pieces for event in piece.events] == whole.events
    assert sum((piece.by_service for piece in pieces), Counter()) == whole.by_service


def test_events_are_in_order_inside_their_time_and_as_the_schema_says() -> None:
    events = minutes(Shop(START_MS), 21.9, 22.4)
    times = [event["ts"] for event in events]
    assert times == sorted(times)
    assert times[0] >= START_MS + 21.9 * MINUTE_MS
    assert times[-1] < START_MS + 22.4 * MINUTE_MS
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [fault.message for event in events for fault in validator.iter_errors(event)] == []


@pytest.mark.parametrize("rate", [20.0, 400.0])
def test_the_mean_rate_holds_over_the_hour_and_waves_within_it(rate: float) -> None:
    shop = Shop(START_MS, rate=rate)
    counts = [
        len(shop.events(at, at + MINUTE_MS).events)
        for at in range(START_MS, START_MS + LENGTH_S * 1000, MINUTE_MS)
    ]
    assert sum(counts) == pytest.approx(rate * LENGTH_S, rel=0.02)
    assert max(counts) > 1.5 * min(counts)


def test_services_and_endpoints_have_their_shares() -> None:
    assert sum(endpoint.share for endpoint in ENDPOINTS) == pytest.approx(1)
    chunk = Shop(START_MS, rate=1000).events(START_MS, START_MS + MINUTE_MS)
    events = parsed(chunk.events)
    assert chunk.by_service == Counter(event["service"] for event in events)
    for endpoint in ENDPOINTS:
        own = of(events, service=endpoint.service, endpoint=endpoint.route, method=endpoint.method)
        assert len(own) / len(events) == pytest.approx(endpoint.share, rel=0.2)
        median_ms = statistics.median(event["latency_ms"] for event in own)
        assert median_ms == pytest.approx(endpoint.median_ms, rel=0.15)


def test_the_fault_is_in_one_endpoint_of_the_new_release_alone() -> None:
    events = minutes(Shop(START_MS, rate=1000), 22, 24)
    faulty = of(events, service=PAYMENT, endpoint="/v1/charges", version="2.5.0")
    others = [
        event for event in events if event["endpoint"] != "/v1/charges" or event["version"] == STABLE_VERSION
    ]
    assert len(faulty) + len(others) == len(events)
    assert error_share(faulty) > 0.1
    assert error_share(others) < 0.001
    assert statistics.median(event["latency_ms"] for event in faulty) > 400


def test_the_release_is_rolled_out_part_way_and_healthy_at_first() -> None:
    shop = Shop(START_MS, rate=1000)
    payment = of(minutes(shop, 9, 10), service=PAYMENT)
    assert {event["version"] for event in payment} == {STABLE_VERSION}
    payment = of(minutes(shop, 20, 21), service=PAYMENT)
    assert len(of(payment, version="2.5.0", track="canary")) / len(payment) == pytest.approx(0.5, abs=0.03)
    assert error_share(payment) < 0.001
    assert {event["version"] for event in minutes(shop, 20, 21) if event["service"] != PAYMENT} == {
        STABLE_VERSION
    }


def test_a_rollback_returns_the_traffic_to_the_stable_version() -> None:
    shop = Shop(START_MS, rate=500)
    asked_ms = START_MS + int(25.005 * MINUTE_MS)
    back_ms = shop.roll_back(asked_ms)
    assert asked_ms <= back_ms < asked_ms + 1000
    around = minutes(shop, 24.5, 26)
    assert {event["version"] for event in around if event["ts"] >= back_ms} == {STABLE_VERSION}
    assert "2.5.0" in {event["version"] for event in around if event["ts"] < back_ms}


def test_a_rollback_never_changes_what_was_told_already() -> None:
    shop = Shop(START_MS)
    told_ms = START_MS + 25 * MINUTE_MS + 300
    shop.events(START_MS + 24 * MINUTE_MS, told_ms)
    assert shop.roll_back(START_MS + 23 * MINUTE_MS) == START_MS + 25 * MINUTE_MS + 1000


def test_without_a_listener_somebody_rolls_back_by_hand() -> None:
    assert {event["version"] for event in minutes(Shop(START_MS), 36, 36.5)} == {STABLE_VERSION}


def test_the_next_turn_of_the_story_brings_the_next_release() -> None:
    shop = Shop(START_MS)
    shop.roll_back(START_MS + 25 * MINUTE_MS)
    later = PERIOD_S / 60 + 25
    assert {event["version"] for event in of(minutes(shop, later, later + 0.2), service=PAYMENT)} == {
        STABLE_VERSION,
        "2.6.0",
    }


def test_making_events_costs_less_than_ten_microseconds_each() -> None:
    shop = Shop(START_MS)
    began_s = time.process_time()
    count = len(shop.events(START_MS, START_MS + 5 * MINUTE_MS).events)
    assert (time.process_time() - began_s) / count < 10e-6


def test_the_shop_has_objectives_for_each_of_its_services() -> None:
    objectives = load_objectives([SHOP_SLOS])
    assert {objective.namespace for objective in objectives} == {NAMESPACE}
    assert {objective.service for objective in objectives} == {endpoint.service for endpoint in ENDPOINTS}
