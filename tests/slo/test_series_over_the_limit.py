"""Series over the limit lose their names, never their counts."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, BurnRule, Latency, Objective, Rolling
from stream.pipeline import Feed
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.slo.registry import OTHER, Registry
from stream.wire.frame import SeriesKey
from stream.wire.signal import Signal

RULE = BurnRule("5m", 300, 50, Decimal(2), "page", (), 1, 0)
UP = Objective("shop", "up", "payment", Availability(), Decimal(99), Rolling(3600), rules=(RULE,))
OBJECTIVES = [
    UP,
    replace(UP, name="pay", endpoints=("/pay*",)),
    replace(UP, name="fast", sli=Latency(100)),
    replace(UP, name="canary", tracks=("canary",), endpoints=("/pay*", "/b")),
]
CATALOG = Catalog(OBJECTIVES)
AVAILABILITY, LATENCY = CATALOG.columns


def key(endpoint: str, version: str = "v1", track: str = "stable") -> SeriesKey:
    return "shop", "payment", endpoint, "GET", version, track


SERIES = st.builds(
    key, st.sampled_from(["/pay", "/pay/a", "/b", "/c", "/d"]), track=st.sampled_from(["stable", "canary"])
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6),
    st.lists(
        st.tuples(SERIES, st.sampled_from([AVAILABILITY, LATENCY]), st.sampled_from([True, True, False])),
        max_size=40,
    ),
)
def test_a_pair_feeds_the_rows_of_the_series_it_was_numbered_for(
    most: int, steps: list[tuple[SeriesKey, str, bool]]
) -> None:
    """Whether it is kept apart or folded, and whatever was forgotten and numbered anew meanwhile."""
    registry, alive, given_to = Registry(CATALOG, most), set(), {}
    for series, column, stays in steps:
        known = len(registry)
        number = registry.pair(series, column)
        assert registry.pair(series, column) == number
        name, named_column = registry.name(number)
        assert named_column == column
        if name != series:
            assert name == ("shop", "payment", OTHER, "", "", series[5])
            assert known == most
        if number in alive:
            assert given_to[number] == (name, column, tuple(CATALOG.rows_of_column(series, column)))
        given_to[number] = name, column, tuple(CATALOG.rows_of_column(series, column))
        alive.add(number)
        _, rows = registry.expand(np.array([number]))
        assert sorted(rows.tolist()) == CATALOG.rows_of_column(series, column)
        for row in rows.tolist():
            assert number in registry.pairs_of_row[row]
        assert len(registry) <= most
        if not stays:
            alive = {n for n in alive if n % 2}
            registry.forget_all_but(alive)
    place, row = registry.expand(np.array(sorted(alive), np.int64))
    got = defaultdict(list)
    for p, r in zip(place.tolist(), row.tolist(), strict=True):
        got[sorted(alive)[p]].append(r)
    assert {n: tuple(sorted(got[n])) for n in alive} == {n: given_to[n][2] for n in alive}
    for row in range(len(OBJECTIVES)):
        assert registry.pairs_of_row.get(row, set()) == {n for n in alive if row in given_to[n][2]}


def test_room_that_becomes_free_is_used_again() -> None:
    registry = Registry(CATALOG, 1)
    first = registry.pair(key("/pay"), AVAILABILITY)
    folded = registry.pair(key("/b"), AVAILABILITY)
    assert registry.overflowed == 1
    assert registry.pair(key("/c"), AVAILABILITY) == folded, "both are /__other__ and feed the same rows"
    registry.forget_all_but({folded})
    again = registry.pair(key("/b"), AVAILABILITY)
    assert (again, registry.name(again)) == (first, (key("/b"), AVAILABILITY))
    assert len(registry) == 1


T0_MS = 1_790_000_000_000 // 60_000 * 60_000
ENDPOINTS = ("/pay", "/pay/a", "/b", "/c")


def lines(seed: int, count: int) -> list[bytes]:
    rng, ts, made = random.Random(seed), T0_MS, []
    for i in range(count):
        ts += rng.choice([100, 900, 4_000])
        event = {
            "ts": ts,
            "namespace": "shop",
            "service": "payment",
            "endpoint": rng.choice(ENDPOINTS),
            "status": 500 if rng.random() < (0.5 if count // 3 < i < count // 2 else 0.01) else 200,
            "latency_ms": rng.choice([5, 99, 101]) if rng.random() < 0.1 else 7,
        }
        made.append(json.dumps(event).encode())
    return made


def replayed(most: int, values: list[bytes]) -> tuple[list[Signal], Feed]:
    feed = Feed(OBJECTIVES, max_series=most)
    frame, _ = feed.decode(values)
    return [*feed.push(frame), *feed.finish()], feed


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_decisions_do_not_depend_on_how_many_series_are_told_apart(seed: int, most: int) -> None:
    values = lines(seed, 600)
    (few, feed), (all_of_them, _) = replayed(most, values), replayed(100, values)
    assert feed.shard.ledger.registry.overflowed > 0
    few = [s for s in few if s.topic != "latency-percentiles"]
    all_of_them = [s for s in all_of_them if s.topic != "latency-percentiles"]
    assert len(few) == len(all_of_them)
    alerts = 0
    for a, b in zip(few, all_of_them, strict=True):
        assert {k: v for k, v in a.value.items() if k != "contributors"} == {
            k: v for k, v in b.value.items() if k != "contributors"
        }
        if a.topic == "slo-alerts" and b.value["contributors"]:
            named = {c["endpoint"]: c for c in b.value["contributors"]}
            got = {c["endpoint"]: c for c in a.value["contributors"]}
            other = got.pop(OTHER, None)
            hidden = [c for endpoint, c in named.items() if endpoint not in got]
            assert all(got[endpoint] == named[endpoint] for endpoint in got)
            assert (other is not None) == bool(hidden)
            if other is not None:
                assert other["bad"] == sum(c["bad"] for c in hidden)
                assert other["total"] >= sum(c["total"] for c in hidden)
                assert other["share"] == pytest.approx(sum(c["share"] for c in hidden), rel=1e-12)
                alerts += 1
    assert alerts > 0


def test_percentiles_over_the_limit_are_those_of_the_rest_together() -> None:
    values = [
        json.dumps(
            {"ts": T0_MS + i, "namespace": "shop", "service": "payment", "endpoint": f"/{i}", "latency_ms": i}
        ).encode()
        for i in range(10)
    ]
    values.append(json.dumps({"ts": T0_MS + 70_000, "service": "payment", "namespace": "shop"}).encode())
    signals, _ = replayed(3, values)
    found = {
        s.value["endpoint"]: (s.value["count"], s.value["min"], s.value["max"])
        for s in signals
        if s.topic == "latency-percentiles" and s.value["window_s"] == 60
    }
    assert found.pop(None) == (10, 0.0, 9.0)
    assert found.pop(OTHER) == (7, 3.0, 9.0)
    assert found == {f"/{i}": (1, float(i), float(i)) for i in range(3)}


def kept_through(values: list[bytes], restarts_after: set[int], most: int) -> list[Signal]:
    """Both stages, record by record batch; the owner starts again from its state after some batches."""
    lexicon = Lexicon(CATALOG)
    intake = Intake(0, 1, 0, 1, lexicon, 5_000)
    keeper, state, signals, offset = Keeper(CATALOG, most), {}, [], 0
    for number, at in enumerate(range(0, len(values), 50)):
        batch = values[at : at + 50]
        stamps = [T0_MS + 10**7] * len(batch)
        for out in intake.feed(at, at + len(batch), range(at, at + len(batch)), stamps, batch, lexicon):
            for message in out.messages.values() if isinstance(out, Sending) else ():
                keeper.apply(message, offset, 2 * T0_MS + offset)
                offset += 1
        signals += keeper.advance(1)
        if number in restarts_after:
            for name, value in keeper.changes().items():
                if value is None:
                    state.pop(name, None)
                else:
                    state[name] = value
            keeper = Keeper(CATALOG, most, state)
    return [s for s in signals if s.topic != "latency-percentiles"]


@pytest.mark.parametrize("seed", range(3))
def test_restarts_change_nothing_while_there_is_room(seed: int) -> None:
    values = lines(seed, 600)
    expected = kept_through(values, set(), 100)
    assert {"slo-alerts", "slo-budgets"} <= {s.topic for s in expected}
    assert kept_through(values, {1, 4, 5, 6, 9}, 100) == expected


def test_a_folded_pair_that_is_restored_feeds_the_rows_it_fed_before() -> None:
    registry, restored = Registry(CATALOG, 1), Registry(CATALOG, 1)
    numbers = [registry.pair(key(endpoint), AVAILABILITY) for endpoint in ("/b", "/pay", "/c", "/pay/a")]
    assert numbers == [0, 1, 2, 1], "/pay and /pay/a feed one row more than /c"
    for number, (series, column, folded) in registry.named():
        restored.restore(number, series, column, folded)
    assert {n for n, _ in restored.named()} == {n for n, _ in registry.named()}
    assert restored.pairs_of_row == registry.pairs_of_row


@pytest.mark.parametrize("seed", range(3))
def test_restarts_change_nothing_when_series_are_folded(seed: int) -> None:
    values = lines(seed, 600)
    assert kept_through(values, {1, 4, 5, 6, 9}, 1) == kept_through(values, set(), 1)


def test_folded_pairs_that_have_become_equal_keep_their_numbers_and_give_them_back() -> None:
    registry = Registry(CATALOG, 1)
    other = ("shop", "payment", "__other__", "", "", "stable")
    for number in (0, 1):  # as after a change of the files that took away what told them apart
        registry.restore(number, other, AVAILABILITY, (0,))
    assert [number for number, _ in registry.named()] == [0, 1]
    registry.forget_all_but({1})
    assert [number for number, _ in registry.named()] == [1]
    assert registry.pairs_of_row[0] == {1}
