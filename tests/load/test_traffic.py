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
from stream.load.shop import CATALOGUE, ENDPOINTS, NAMESPACE, PAYMENT, SEARCH, VERSIONS
from stream.load.story import LENGTH_S, PERIOD_S, PLANS
from stream.load.traffic import Shop

START_MS = 1_790_000_100_000
MINUTE_MS = 60_000
STABLE_VERSION = VERSIONS[PAYMENT]
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
    others = [event for event in minutes(shop, 20, 21) if event["service"] != PAYMENT]
    assert all(event["version"] == VERSIONS[event["service"]] for event in others)


def test_a_rollback_returns_the_traffic_to_the_stable_version() -> None:
    shop = Shop(START_MS, rate=500)
    asked_ms = START_MS + int(25.005 * MINUTE_MS)
    back_ms = shop.end_release(PAYMENT, asked_ms)
    assert asked_ms <= back_ms < asked_ms + 1000
    around = of(minutes(shop, 24.5, 26), service=PAYMENT)
    assert {event["version"] for event in around if event["ts"] >= back_ms} == {STABLE_VERSION}
    assert "2.5.0" in {event["version"] for event in around if event["ts"] < back_ms}


def test_a_rollback_never_changes_what_was_told_already() -> None:
    shop = Shop(START_MS)
    told_ms = START_MS + 25 * MINUTE_MS + 300
    shop.events(START_MS + 24 * MINUTE_MS, told_ms)
    assert shop.end_release(PAYMENT, START_MS + 23 * MINUTE_MS) == START_MS + 25 * MINUTE_MS + 1000


def test_without_a_listener_somebody_rolls_back_by_hand() -> None:
    shop = Shop(START_MS)
    for service, minute in ((PAYMENT, 36.0), (SEARCH, 9.5)):
        own = of(minutes(shop, minute, minute + 0.5), service=service)
        assert {event["version"] for event in own} == {VERSIONS[service]}


def test_the_next_turn_of_the_story_brings_the_next_release() -> None:
    shop = Shop(START_MS)
    shop.end_release(PAYMENT, START_MS + 25 * MINUTE_MS)
    later = PERIOD_S / 60 + 25
    assert {event["version"] for event in of(minutes(shop, later, later + 0.2), service=PAYMENT)} == {
        STABLE_VERSION,
        "2.6.0",
    }


def test_the_slow_canary_is_slow_in_its_tail_alone() -> None:
    search = of(minutes(Shop(START_MS, rate=2000), 2, 5), service=SEARCH, endpoint="/search")
    canary, stable = of(search, track="canary"), of(search, track="stable")
    assert {event["version"] for event in canary} == {"3.2.0"}
    assert len(canary) / len(search) == pytest.approx(0.10, abs=0.01)
    p50, p99 = (
        [statistics.quantiles((event["latency_ms"] for event in arm), n=100)[i] for arm in (canary, stable)]
        for i in (49, 98)
    )
    assert p50[0] == pytest.approx(p50[1], rel=0.05)
    assert p99[0] > 2.5 * p99[1]
    assert error_share(canary) == pytest.approx(error_share(stable), abs=0.002)
    suggestions = of(minutes(Shop(START_MS), 2, 3), service=SEARCH, endpoint="/suggest")
    assert {event["track"] for event in suggestions} == {"stable"}


def test_the_good_canary_is_as_the_version_before_it() -> None:
    catalogue = of(minutes(Shop(START_MS, rate=1000), 33, 36), service=CATALOGUE, endpoint="/products/{id}")
    canary, stable = of(catalogue, track="canary"), of(catalogue, track="stable")
    assert len(canary) / len(catalogue) == pytest.approx(0.5, abs=0.02)
    medians = [statistics.median(event["latency_ms"] for event in arm) for arm in (canary, stable)]
    assert medians[0] == pytest.approx(medians[1], rel=0.03)


def test_a_promotion_gives_all_requests_to_the_new_version_and_the_next_turn_begins_with_it() -> None:
    shop = Shop(START_MS)
    at_ms = shop.end_release(CATALOGUE, START_MS + 45 * MINUTE_MS)
    after = of(parsed(shop.events(at_ms, at_ms + MINUTE_MS).events), service=CATALOGUE)
    assert {(event["version"], event["track"]) for event in after} == {("1.9.0", "stable")}
    later = PERIOD_S / 60 + 33
    assert {event["version"] for event in of(minutes(shop, later, later + 0.5), service=CATALOGUE)} == {
        "1.9.0",
        "1.10.0",
    }


def deploys(shop: Shop, until_minute: int = 60) -> list[dict[str, Any]]:
    steps = range(START_MS, START_MS + until_minute * MINUTE_MS, 10_000)
    return parsed(event for at in steps for event in shop.events(at, at + 10_000).deploys)


def test_the_shop_tells_of_its_analysed_releases_each_step_once_and_as_the_schema_says() -> None:
    shop = Shop(START_MS, rate=1)
    events = deploys(shop)
    assert [(event["service"], event["state"], event.get("stage")) for event in events] == [
        (SEARCH, "started", 10),
        (SEARCH, "rolled_back", None),
        (CATALOGUE, "started", 50),
        (CATALOGUE, "promoted", None),
    ]
    schema = json.loads((SCHEMA.parent / "deploy-event.schema.json").read_text())
    validator = Draft202012Validator(schema)
    assert [fault.message for event in events for fault in validator.iter_errors(event)] == []
    assert len({event["deployment"] for event in events}) == 2
    assert {event["service"] for event in events} == {s for s, plan in PLANS.items() if plan.verdict}


def test_a_start_is_told_before_the_first_request_but_not_as_of_the_future() -> None:
    shop = Shop(START_MS)
    told = shop.events(START_MS, START_MS + MINUTE_MS)
    (start,) = parsed(told.deploys)
    assert start["at"] == START_MS + MINUTE_MS
    assert of(parsed(told.events), service=SEARCH, track="canary") == []
    assert deploys(Shop(START_MS, rate=1))[0] == start
    before = shop.events(START_MS, start["at"] - 59_000)
    assert before.deploys == []  # 60 s ahead it would be refused


def test_who_listens_brings_the_end_forward_and_it_is_told_when_it_is_so() -> None:
    shop = Shop(START_MS, rate=1)
    at_ms = shop.end_release(CATALOGUE, START_MS + 50 * MINUTE_MS)
    ends = [event for event in deploys(shop) if event["service"] == CATALOGUE][1:]
    assert [(event["state"], event["at"]) for event in ends] == [
        ("promoted", at_ms),
        ("finished", at_ms + 2 * MINUTE_MS),
    ]


def test_making_events_costs_less_than_ten_microseconds_each() -> None:
    shop = Shop(START_MS)
    began_s = time.process_time()
    count = len(shop.events(START_MS, START_MS + 5 * MINUTE_MS).events)
    assert (time.process_time() - began_s) / count < 10e-6


def test_the_shop_has_objectives_for_each_of_its_services() -> None:
    objectives = load_objectives([SHOP_SLOS])
    assert {objective.namespace for objective in objectives} == {NAMESPACE}
    assert {objective.service for objective in objectives} == {endpoint.service for endpoint in ENDPOINTS}
