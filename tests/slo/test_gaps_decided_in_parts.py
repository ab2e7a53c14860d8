"""What a gap in event time brings about is decided in parts, and nobody can tell."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_restarts_of_an_owner import CATALOG, SOURCES, T0_MS, UP, comparable, decided, events, partials

from stream.model.objective import Calendar, Period, Rolling
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.signal import Signal


def decided_in_parts(log: list[bytes], ticks: int, restarts: bool) -> list[bytes]:
    """After so many ticks there is a checkpoint, and another owner if it restarts."""
    keeper, state, signals = Keeper(CATALOG, 1000), {}, []
    for offset, message in enumerate(log):
        assert keeper.position == offset
        keeper.sources = SOURCES
        keeper.apply(message, offset, 2 * T0_MS + offset)
        while keeper.has_rest:
            done = [0]

            def enough(done: list[int] = done) -> bool:
                done[0] += 1
                return done[0] >= ticks

            signals += keeper.rest(enough)
            assert done[0] <= ticks
            if keeper.has_rest:
                state |= keeper.changes()
                state = {name: value for name, value in state.items() if value is not None}
                keeper = Keeper(CATALOG, 1000, state) if restarts else keeper
    return [comparable(signal) for signal in signals]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 700), st.booleans())
def test_parts_of_any_size_leave_every_record_as_it_was(
    seed: int, count: int, ticks: int, restarts: bool
) -> None:
    rng = random.Random(seed)
    log = partials(rng, events(rng, count))
    assert decided_in_parts(log, ticks, restarts) == decided(log, set())


def test_nothing_is_decided_twice_when_there_is_no_rest() -> None:
    keeper = Keeper(CATALOG, 1000)
    assert not keeper.has_rest
    assert list(keeper.rest()) == []


def ticks_of(catalog: Catalog, first: object, now_ms: int) -> tuple[list[Signal], int]:
    """What one service decides from one first event on, and how many ticks that took."""
    lexicon, keeper, intake = (
        Lexicon(catalog),
        Keeper(catalog, 10),
        Intake(0, 1, 0, 1, Lexicon(catalog), 5_000),
    )
    keeper.sources = 1
    event = {"namespace": "shop", "service": "payment", "status": 200, "latency_ms": 5}
    values = [json.dumps(event | {"ts": ts}).encode() for ts in (first, now_ms)]
    for out in intake.feed(0, 2, [0, 1], [now_ms, now_ms], values, lexicon):
        assert isinstance(out, Sending)
        for message in out.messages.values():
            keeper.apply(message, keeper.position, now_ms)
    ticks = 0

    def enough() -> bool:
        nonlocal ticks
        ticks += 1
        return False

    return list(keeper.rest(enough)), ticks


def test_a_first_event_of_1970_costs_the_ticks_of_its_windows_and_no_more() -> None:
    catalog = Catalog([UP, replace(UP, name="hours", window=Rolling(7200), rules=())])
    signals, ticks = ticks_of(catalog, "1970-01-01T00:00:00Z", T0_MS)
    assert ticks < 3 * 720
    budgets = [s.value["evaluated_at"] for s in signals if s.topic == "slo-budgets"]
    assert str(budgets[0]).startswith("1970-01-01T00:01")
    assert str(budgets[-1]).startswith("1970-01-01T02:0")


@pytest.mark.parametrize("period", [Period.MONTH, Period.YEAR])
def test_ticks_at_which_all_windows_are_empty_are_skipped(period: Period) -> None:
    """The calendar's window begins anew three minutes after the event: for the rest of it there is nothing to
    decide."""
    catalog = Catalog([replace(UP, window=Calendar(period, "UTC"))])
    signals, ticks = ticks_of(catalog, "1970-12-31T23:57:00Z", T0_MS)
    assert ticks < 3 * 360
    assert [s.value["total"] for s in signals if s.topic == "slo-budgets"][-1] == 0
