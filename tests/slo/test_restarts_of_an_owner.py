"""An owner that starts again from its state goes on as if it had never stopped."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal

import pytest
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
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.slo.snapshot import Snapshots
from stream.wire.partial import Report, encode_reports
from stream.wire.signal import Signal, encode
from stream.wire.state import parse_key

SOURCES = 2
T0_MS = 1_790_000_000_000 // 60_000 * 60_000


def rule(window_s: int, short_s: int | None, keep_ms: int) -> BurnRule:
    return BurnRule(f"{window_s}s", window_s, short_s, Decimal(2), "page", ("#ops",), 1, keep_ms)


UP = Objective(
    "shop",
    "up",
    "payment",
    Availability(),
    Decimal(95),
    Rolling(600),
    rules=(rule(300, 50, 30_000), rule(60, None, 0)),
    freeze_below_pct=Decimal(60),
    rollback_below_pct=Decimal(40),
)
OBJECTIVES = [
    UP,
    replace(UP, name="brief", window=Rolling(120), budget_basis="observed", endpoints=("/a*",)),
    replace(UP, name="today", window=Calendar(Period.DAY, "Asia/Kolkata")),
    replace(UP, name="hours", window=Rolling(7200), rules=(rule(5400, 450, 60_000),)),
    replace(UP, name="fast", sli=Latency(100), service="search", rollback_below_pct=None),
    replace(UP, name="slices", sli=Latency(100), slices=Slices(60, Decimal(10)), rules=(rule(300, 60, 0),)),
]
CATALOG = Catalog(OBJECTIVES)


def events(rng: random.Random, count: int) -> list[bytes]:
    """Bursts of errors, pauses up to hours, events late by up to ten minutes."""
    made, ts, broken = [], T0_MS + rng.randrange(86_400_000), False
    for i in range(count):
        ts += rng.choice([0, 100, 2_000, 9_000])
        if rng.random() < 0.02:
            ts += rng.choice([60_000, 700_000, 700_000, 2_000_000, 20_000_000])
        if rng.random() < 0.06:
            broken = not broken
        bad = rng.random() < (0.7 if broken else 0.03)
        event = {
            "ts": ts - (rng.randrange(600_000) if rng.random() < 0.1 else rng.randrange(5_000)),
            "namespace": "shop",
            "service": rng.choice(["payment", "payment", "search"]),
            "endpoint": rng.choice(["/a", "/ab", "/c"]),
            "status": 500 if bad else 200,
            "latency_ms": rng.choice([101, 400]) if bad else 7,
            "version": rng.choice([f"v{i // 40}", f"v{max(0, i // 40 - 1)}"]),
            "sample_rate": rng.choice([1, 1, 0.3]),
        }
        made.append(json.dumps(event).encode())
    return made


def partials(rng: random.Random, values: list[bytes]) -> list[bytes]:
    """What two readers send for them, taking turns."""
    lexicon, sent = Lexicon(CATALOG), []
    intakes = [Intake(source, 1, 0, 1, lexicon, 5_000) for source in range(SOURCES)]
    while values:
        size, intake = rng.choice([1, 5, 20]), intakes[rng.randrange(SOURCES)]
        batch, values = values[:size], values[size:]
        begin, stamps = intake.end, [2 * T0_MS] * len(batch)
        offsets = range(begin, begin + len(batch))
        out = list(intake.feed(begin, begin + len(batch), offsets, stamps, batch, lexicon))
        if rng.random() < 0.3:
            out.append(intake.flush())
        for sending in out:
            if isinstance(sending, Sending):
                sent += sending.messages.values() or [encode_reports([sending.report])]
    return sent


def comparable(signal: Signal) -> bytes:
    """Percentiles without what a digest only approximates: it is kept in single precision."""
    value = dict(signal.value)
    for name in ("p50", "p90", "p95", "p99", "p999", "mean"):
        value.pop(name, None)
    return encode(Signal(signal.topic, signal.key, value))


def decided(log: list[bytes], restart_after: set[int]) -> list[bytes]:
    """Signals of an owner that checkpoints and starts again after some of the messages."""
    keeper, state, signals = Keeper(CATALOG, 1000), {}, []
    for offset, message in enumerate(log):
        keeper.apply(message, offset, 2 * T0_MS + offset)
        signals += keeper.advance(SOURCES)
        if offset in restart_after:
            for name, value in keeper.changes().items():
                if value is None:
                    state.pop(name, None)
                else:
                    state[name] = value
            keeper = Keeper(CATALOG, 1000, state)
            assert keeper.position == offset + 1
            assert keeper.leftovers == []
    return [comparable(signal) for signal in signals]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 150), st.sets(st.integers(0, 60), max_size=12))
def test_restarts_leave_every_record_as_it_was(seed: int, count: int, restart_after: set[int]) -> None:
    rng = random.Random(seed)
    log = partials(rng, events(rng, count))
    assert decided(log, restart_after) == decided(log, set())


@pytest.mark.parametrize("seed", range(4))
def test_an_owner_that_starts_again_after_every_message_says_the_same(seed: int) -> None:
    rng = random.Random(seed)
    log = partials(rng, events(rng, 300))
    unbroken = decided(log, set())
    assert decided(log, set(range(len(log)))) == unbroken
    schemas = {json.loads(record)["schema"] for record in unbroken}
    assert {f"burngate.{kind}/v1" for kind in ("alert", "budget", "freeze", "rollback")} <= schemas


def test_a_pause_of_days_is_skipped_and_forgotten_all_the_same_after_a_restart() -> None:
    """Longer than every window and its memory: stretches without anything due are not gone through."""
    rng = random.Random(1)
    first, second = events(rng, 40), events(rng, 40)
    shifted = [json.loads(value) for value in second]
    later = [json.dumps(event | {"ts": event["ts"] + 3 * 86_400_000}).encode() for event in shifted]
    log = partials(rng, first + later)
    unbroken = decided(log, set())
    for after in (len(log) // 3, len(log) // 2):
        assert decided(log, {after}) == unbroken
    resolved = [json.loads(r) for r in unbroken if json.loads(r)["schema"] == "burngate.budget/v1"]
    days = {record["evaluated_at"][:10] for record in resolved}
    assert 2 <= len(days) <= 6


def test_windows_that_run_empty_do_so_at_the_same_ticks_after_a_restart() -> None:
    """Errors, then only events of a service that no objective looks at: time passes by reports alone.

    Chunks are short, so that no later one holds the errors.
    """
    made = [
        {"ts": T0_MS + i * 1_000, "service": s, "endpoint": "/a", "status": 500, "latency_ms": 400}
        for i, s in enumerate(["payment", "search"] * 5)
    ]
    made += [{"ts": T0_MS + i * 17_000, "service": "nobody"} for i in range(1, 1_200)]
    lexicon, log = Lexicon(CATALOG), []
    for source in range(SOURCES):
        intake = Intake(source, 1, 0, 1, lexicon, 5_000)
        for offset, event in enumerate(made if source == 0 else made[-1:]):
            value, stamp = json.dumps(event | {"namespace": "shop"}).encode(), 2 * T0_MS + offset * 5_000
            for out in intake.feed(offset, offset + 1, [offset], [stamp], [value], lexicon):
                if isinstance(out, Sending):
                    log += out.messages.values() or [encode_reports([out.report])]
    log.insert(0, log.pop())  # the other source is far ahead from the beginning
    unbroken = decided(log, set())
    assert decided(log, set(range(len(log)))) == unbroken
    ended = [json.loads(r) for r in unbroken if json.loads(r)["schema"] == "burngate.budget/v1"]
    assert {r["slo"] for r in ended if r["total"] == 0} == {o.name for o in OBJECTIVES}


def time_at(restarted: bool) -> int | None:
    """Event time after a restart between a report and older evidence of another source's idleness."""
    keeper = Keeper(Catalog([]), 10)

    def hear(report: Report, written_ms: int) -> None:
        keeper.apply(encode_reports([report]), keeper.position, written_ms)

    hear(Report(0, 1, 5, 1, 1_000), 50_000)
    hear(Report(1, 1, 5, 1, 90_000), 95_000)
    hear(Report(1, 1, 6, 1, 95_000), 100_000)
    if restarted:
        state = {name: value for name, value in keeper.changes().items() if value is not None}
        keeper = Keeper(Catalog([]), 10, state)
    hear(Report(0, 1, 5, 1, 1_000, idle_as_of_ms=99_500), 100_500)
    list(keeper.advance(SOURCES))
    return keeper.watermark_ms


def test_a_report_after_the_evidence_of_idleness_waits() -> None:
    assert time_at(restarted=False) == 90_000


def test_a_report_after_the_evidence_of_idleness_waits_after_a_restart_too() -> None:
    assert time_at(restarted=True) == 90_000


@pytest.mark.parametrize("seed", range(6))
def test_what_many_checkpoints_leave_is_what_a_first_one_would_write(seed: int) -> None:
    rng = random.Random(seed)
    keeper, state, kinds = Keeper(CATALOG, 1000), {}, set()
    for offset, message in enumerate(partials(rng, events(rng, 400))):
        keeper.apply(message, offset, 2 * T0_MS + offset)
        list(keeper.advance(SOURCES))
        if rng.random() < 0.5:
            continue
        changes = keeper.changes()
        assert all(state.get(name) != value for name, value in changes.items() if is_small(name))
        state = {name: value for name, value in (state | changes).items() if value is not None}
        small = {name: value for name, value in state.items() if is_small(name)}
        kinds |= {parse_key(name)[0] for name in small}
        anew = Snapshots(keeper.shard).changes()
        assert small == {name: value for name, value in anew.items() if is_small(name)}
    assert kinds == SMALL


SMALL = {"row", "alert", "service", "pending", "pair", "endpoint"}


def is_small(name: bytes) -> bool:
    return parse_key(name)[0] in SMALL
