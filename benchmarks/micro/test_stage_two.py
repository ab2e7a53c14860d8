"""Stage two of one partition with 1,000 series and 300 objectives: partials in, decisions and state out.

A round counts one pane from two sources: time moves on by a tick, so every round finds new work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.aged import objectives
from benchmarks.micro.conftest import Step
from benchmarks.traffic import START_MS, write
from stream.config import load_objectives
from stream.slo.catalog import Catalog
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.slo.tally import tally
from stream.wire.decode import decode
from stream.wire.partial import Report, encode_partial
from stream.wire.signal import Signal, encode, headers

PANE_MS, MINUTE_MS = 10_000, 60_000
SOURCES = 2
SERVICES, ENDPOINTS, EVENTS = 100, 10, 10_000


@cache
def _catalog(directory: Path) -> Catalog:
    file = directory / "slos.yaml"
    file.write_text("".join(objectives(SERVICES)))
    return Catalog(load_objectives([file]))


class Owner:
    """A keeper that is fed pane by pane."""

    def __init__(self, catalog: Catalog) -> None:
        self.keeper = Keeper(catalog, 10_000)
        self.lexicon = Lexicon(catalog)
        self.rng = np.random.default_rng(1)
        self.pane = self.offset = 0

    def message(self, source: int, start: int, end: int, final: bool = True) -> bytes:
        """A partial of the present pane; its watermark allows the tick before it."""
        ts = START_MS + self.pane * PANE_MS + np.arange(EVENTS) * PANE_MS // EVENTS
        service, endpoint = (
            self.rng.integers(SERVICES, size=EVENTS),
            self.rng.integers(ENDPOINTS, size=EVENTS),
        )
        values = list(write(ts, service, endpoint, np.zeros(EVENTS, np.int64), self.rng, 0.01))
        counted, _ = tally(decode(values, self.lexicon.interner)[0], self.lexicon.judge)
        return encode_partial(Report(source, 1, end, 1, int(ts[0])), start, counted, final)

    def apply(self, message: bytes) -> None:
        self.keeper.apply(message, self.offset, 2 * START_MS)
        self.offset += 1

    def next_pane(self) -> None:
        """Every source's chunk of one more pane is there; its tick is not decided yet."""
        self.pane += 1
        for source in range(SOURCES):
            self.apply(self.message(source, self.pane * EVENTS, (self.pane + 1) * EVENTS))

    def decide(self) -> list[Signal]:
        return list(self.keeper.advance(SOURCES))


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    owner = Owner(_catalog(tmp_path))
    for _ in range(6):
        owner.next_pane()
        owner.decide()
    owner.keeper.changes()
    return owner


def _with(message: Callable[[], bytes]) -> Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]:
    return lambda: ((message(),), {})


def test_replace(step: Step, owner: Owner) -> None:
    """The same chunk once more, with more in it."""
    ends = iter(range(2, 1_000))
    start = (owner.pane + 1) * EVENTS
    owner.apply(owner.message(0, start, start + 1, final=False))
    step("replace", owner.apply, _with(lambda: owner.message(0, start, start + next(ends), final=False)))


def test_fold(step: Step, owner: Owner) -> None:
    """A whole chunk after another."""
    starts = iter(range((owner.pane + 1) * EVENTS, 1 << 40, EVENTS))

    def message() -> bytes:
        start = next(starts)
        return owner.message(0, start, start + EVENTS)

    step("fold", owner.apply, _with(message))


def test_evaluate(step: Step, owner: Owner) -> None:
    """One tick, most of them within a minute."""
    step("evaluate", owner.decide, owner.next_pane)


def test_evaluate_minute(step: Step, owner: Owner) -> None:
    """One tick at a whole minute: budgets and percentiles."""

    def setup() -> None:
        owner.next_pane()
        while (START_MS + owner.pane * PANE_MS) % MINUTE_MS:
            owner.decide()
            owner.next_pane()

    step("evaluate_minute", owner.decide, setup)


def test_encode_state(step: Step, owner: Owner) -> None:
    def setup() -> None:
        owner.next_pane()
        owner.decide()

    step("encode_state", owner.keeper.changes, setup)


def test_encode_signals(step: Step, owner: Owner) -> None:
    signals: list[Signal] = []
    while len(signals) < 1_000:
        owner.next_pane()
        signals += owner.decide()
    signals = signals[:1_000]
    step("encode_signals", lambda: [(encode(one), headers(one, "bench")) for one in signals])
