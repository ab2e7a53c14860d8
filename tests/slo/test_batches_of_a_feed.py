"""Replay decides the same however its lines are handed over, and as two stages with a broker between them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import (
    Availability,
    BurnRule,
    Calendar,
    Latency,
    Objective,
    Period,
    Rolling,
    Slices,
)
from stream.pipeline import Feed
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.partial import encode_reports
from stream.wire.signal import Signal, encode

T0_MS = 1_790_000_000_000 // 60_000 * 60_000
RULES = (
    BurnRule("5m", 300, 50, Decimal(2), "page", (), 1, 30_000),
    BurnRule("1m", 60, None, Decimal("1.5"), "page", (), 2, 0),
)
UP = Objective(
    "shop",
    "up",
    "payment",
    Availability(),
    Decimal(95),
    Rolling(600),
    rules=RULES,
    freeze_below_pct=Decimal(60),
    rollback_below_pct=Decimal(40),
)
OBJECTIVES = [
    UP,
    replace(UP, name="observed", window=Rolling(120), budget_basis="observed", tracks=("canary",)),
    replace(UP, name="today", window=Calendar(Period.DAY, "Asia/Kolkata"), sli=Latency(100)),
    replace(UP, name="slices", sli=Latency(100), slices=Slices(30, Decimal(10)), rules=()),
    replace(UP, name="search", service="search", window=Rolling(5400)),
]
EXACT_FIELDS_ONLY = ("p50", "p90", "p95", "p99", "p999", "mean")


def lines(rng: random.Random, count: int, disorder_ms: int) -> list[bytes]:
    made, ts, broken = [], T0_MS + rng.randrange(86_400_000), False
    for i in range(count):
        ts += rng.choice([0, 0, 300, 4_000, 9_999])
        if rng.random() < 0.02:
            ts += rng.choice([60_000, 700_000, 4_000_000])
        if rng.random() < 0.07:
            broken = not broken
        event = {
            "ts": ts - rng.randrange(disorder_ms + 1),
            "namespace": "shop",
            "service": rng.choice(["payment", "payment", "search", "nobody"]),
            "endpoint": rng.choice(["/a", "/b"]),
            "track": rng.choice(["stable", "canary"]),
            "status": 500 if rng.random() < (0.6 if broken else 0.02) else 200,
            "latency_ms": rng.choice([7, 100, 101]),
            "version": f"v{i // 30}",
            "sample_rate": rng.choice([1, 0.3]),
        }
        made.append(json.dumps(event).encode())
    return made


def comparable(signal: Signal) -> bytes:
    value = {k: v for k, v in signal.value.items() if k not in EXACT_FIELDS_ONLY}
    return encode(Signal(signal.topic, signal.key, value))


def fed(values: list[bytes], sizes: list[int]) -> list[bytes]:
    feed, signals, at = Feed(OBJECTIVES), [], 0
    for size in [*sizes, len(values)]:
        frame, _ = feed.decode(values[at : at + size])
        at += size
        signals += feed.push(frame)
    signals += feed.finish()
    return [comparable(signal) for signal in signals]


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 200),
    st.sampled_from([0, 5_000, 40_000, 900_000]),
    st.lists(st.integers(0, 50), max_size=20),
)
def test_batches_do_not_matter_even_to_events_that_come_late(
    seed: int, count: int, disorder_ms: int, sizes: list[int]
) -> None:
    values = lines(random.Random(seed), count, disorder_ms)
    one_by_one = fed(values, [1] * count)
    assert fed(values, sizes) == one_by_one
    assert fed(values, []) == one_by_one


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.lists(st.integers(1, 50), max_size=20))
def test_order_within_the_lateness_does_not_matter(seed: int, count: int, sizes: list[int]) -> None:
    """Each event is at most 5 s behind the largest before it: the output is that of the sorted file."""
    values = lines(random.Random(seed), count, 0)
    noisy = random.Random(seed + 1)
    order = sorted(values, key=lambda v: json.loads(v)["ts"] + noisy.randrange(5_000))
    largest = 0
    for value in order:
        ts = json.loads(value)["ts"]
        assert ts >= largest - 5_000
        largest = max(largest, ts)
    assert sorted(fed(order, sizes)) == sorted(fed(values, []))
    assert fed(order, sizes) == fed(values, [])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 4), st.integers(1, 60))
def test_two_stages_decide_what_replay_decides_over_any_number_of_sources(
    seed: int, count: int, sources: int, size: int
) -> None:
    """Each source keeps the file's order; what is decided by then is what replay decides."""
    rng = random.Random(seed)
    values = lines(rng, count, 0)
    expected = fed(values, [])
    catalog, placed = Catalog(OBJECTIVES), [[] for _ in range(sources)]
    for value in values:
        placed[rng.randrange(sources)].append(value)
    end = {"ts": json.loads(values[-1])["ts"] + 15_000, "namespace": "shop", "service": "nobody"}
    for log in placed:
        log.append(json.dumps(end).encode())  # so that every source's watermark passes the last tick
    keeper, lexicon, signals, offset = Keeper(catalog, 1000), Lexicon(catalog), [], 0
    intakes = [Intake(source, 1, 0, 1, lexicon, 5_000) for source in range(sources)]
    while any(placed):
        source = rng.choice([s for s in range(sources) if placed[s]])
        batch, placed[source] = placed[source][:size], placed[source][size:]
        intake, begin = intakes[source], intakes[source].end
        offsets, stamps = range(begin, begin + len(batch)), [2 * T0_MS] * len(batch)
        for out in intake.feed(begin, begin + len(batch), offsets, stamps, batch, lexicon):
            assert isinstance(out, Sending)
            for message in out.messages.values() or [encode_reports([out.report])]:
                keeper.apply(message, offset, 2 * T0_MS + offset)
                offset += 1
        signals += keeper.advance(sources)
    assert [comparable(s) for s in signals][: len(expected)] == expected


def one_a_minute() -> list[bytes]:
    event = {"namespace": "shop", "service": "payment", "status": 200, "latency_ms": 5}
    return [json.dumps(event | {"ts": T0_MS + i * 60_000}).encode() for i in range(40)]


def hourly_counts(signals: list[Signal]) -> list[tuple[object, object]]:
    """(tick, events in the last hour) of the percentiles among the signals."""
    values = [s.value for s in signals if s.topic == "latency-percentiles"]
    return [(v["evaluated_at"], v["count"]) for v in values if v["window_s"] == 3600]


def test_percentiles_cover_their_hour_although_every_slos_window_is_shorter() -> None:
    """One event a minute, in order, all in one chunk that is sent again with each of them."""
    feed = Feed([UP])
    frame, _ = feed.decode(one_a_minute())
    expected = hourly_counts(list(feed.push(frame)))
    assert [count for _, count in expected] == list(range(1, 39))
    catalog = Catalog([UP])
    lexicon, keeper, signals = Lexicon(catalog), Keeper(catalog, 10), []
    intake = Intake(0, 1, 0, 1, lexicon, 5_000)
    for offset, value in enumerate(one_a_minute()):
        for out in intake.feed(offset, offset + 1, [offset], [2 * T0_MS], [value], lexicon):
            assert isinstance(out, Sending)
            for message in out.messages.values():
                keeper.apply(message, keeper.position, 2 * T0_MS + offset)
        signals += keeper.advance(1)
    assert hourly_counts(signals) == expected
