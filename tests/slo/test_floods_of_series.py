"""More series than there is room for: names are lost, counts are not."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batches_of_a_feed import T0_MS, UP

from stream.model.objective import Latency
from stream.pipeline import Feed
from stream.slo import lexicon
from stream.slo.catalog import Catalog
from stream.slo.lexicon import Lexicon
from stream.slo.percentiles import Percentiles, most_endpoints
from stream.slo.registry import OTHER
from stream.wire.decode import decode

OBJECTIVES = [
    UP,
    replace(UP, name="fast", sli=Latency(100)),
    replace(UP, name="canary", tracks=("canary",)),
    replace(UP, name="search", service="search"),
    replace(UP, name="search-a", service="search", endpoints=("/a*",)),
]


def event(i: int, rng: random.Random) -> dict[str, Any]:
    return {
        "ts": T0_MS + i * 700,
        "namespace": "shop",
        "service": rng.choice(["payment", "search", "nobody"]),
        "endpoint": f"/{rng.choice('ab')}{rng.randrange(30)}",
        "method": rng.choice(["GET", None]),
        "track": rng.choice(["stable", "canary"]),
        "status": 500 if rng.random() < (0.5 if 200 < i < 300 else 0.02) else 200,
        "latency_ms": rng.choice([7, 100, 101]),
        "version": f"v{i // 150}",
        "sample_rate": rng.choice([1, 1, 0.3]),
    }


def decided(values: list[bytes], max_series: int, batch: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Everything but percentiles, without the names of endpoints."""
    feed, signals = Feed(OBJECTIVES, max_series=max_series), []
    for at in range(0, len(values), batch):
        frame, rejects = feed.decode(values[at : at + batch])
        assert not rejects
        signals += feed.push(frame)
    signals += feed.finish()
    return [
        (signal.topic, signal.key, {k: v for k, v in signal.value.items() if k != "contributors"})
        for signal in signals
        if signal.topic != "latency-percentiles"
    ]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([40, 60]), st.sampled_from([1, 7, 300]))
def test_every_decision_is_as_if_there_were_room(seed: int, max_series: int, batch: int) -> None:
    """Single endpoints of `search` have an objective: its series are never folded where events are read."""
    rng = random.Random(seed)
    values = [json.dumps(event(i, rng)).encode() for i in range(500)]
    found = decided(values, max_series, batch)
    assert found == decided(values, 100_000, 500)
    assert {topic for topic, *_ in found} >= {"slo-budgets", "slo-alerts"}


def numbered(words: Lexicon, *said: tuple[str, str, str]) -> list[tuple[str, ...]]:
    """The series of events that say (service, endpoint, version)."""
    values = [
        json.dumps({"ts": T0_MS, "service": s, "endpoint": e, "version": v, "namespace": "shop"}).encode()
        for s, e, v in said
    ]
    frame, _ = decode(values, words.interner)
    return [words.interner.keys[i] for i in frame.series.tolist()]


def test_beyond_the_limit_a_series_is_folded_once_it_is_read() -> None:
    words = Lexicon(Catalog(OBJECTIVES), max_series=2)
    known = [("payment", "/1", "v1"), ("payment", "/2", "v1")]
    assert [key[2] for key in numbered(words, *known)] == ["/1", "/2"]
    new = numbered(words, ("payment", "/3", "v1"), ("payment", "/4", "v2"), ("search", "/5", "v1"), *known)
    assert [(key[2], key[4]) for key in new] == [
        (OTHER, "v1"),
        (OTHER, "v2"),
        ("/5", "v1"),
        ("/1", "v1"),
        ("/2", "v1"),
    ]
    assert words.interner.fold_count == 2


def test_a_flood_of_versions_is_folded_too() -> None:
    words = Lexicon(Catalog(OBJECTIVES), max_series=2)
    numbered(words, *((("payment", f"/{i}", f"v{i}")) for i in range(4)))
    assert len(words.interner) == 4
    found = numbered(words, *((("payment", f"/{i}", f"v{i}")) for i in range(4, 100)))
    assert {(key[2], key[4]) for key in found} == {(OTHER, "")}
    assert len(words.interner) == 5


def test_after_many_folded_events_new_series_have_a_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "MAX_FOLDS", 10)
    words = Lexicon(Catalog(OBJECTIVES), max_series=1)
    numbered(words, *((("payment", f"/{i}", "v")) for i in range(11)))
    assert words.renewed() is words
    numbered(words, ("payment", "/20", "v"))
    assert words.renewed() is not words
    assert words.renewed().max_series == 1


@pytest.mark.parametrize(
    ("max_series", "endpoints"), [(1, 1), (5_000, 5_000), (25_000, 5_000), (100_000, 20_000)]
)
def test_a_fifth_as_many_endpoints_have_percentiles(max_series: int, endpoints: int) -> None:
    assert most_endpoints(max_series) == endpoints


def test_endpoints_beyond_that_share_one_record() -> None:
    percentiles = Percentiles(2)
    numbers = [percentiles.id_of(("shop", "payment", f"/{i}")) for i in range(5)]
    assert numbers == [0, 1, 2, 2, 2]
    assert percentiles.endpoints[2] == ("shop", "payment", OTHER)
