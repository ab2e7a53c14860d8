"""A gap in event time is decided in parts, by owners that die between them, as if nothing had happened."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from test_stages import PARTITIONS, SOURCES, Broker, Owner, Reader, by_topic, events, slo_file

from stream.config import load_rules
from stream.pipeline import Feed, catalog_of
from stream.slo.catalog import Catalog
from stream.slo.lexicon import Lexicon
from stream.wire.signal import Signal

GAP_MS = 2 * 3_600_000


def with_gaps(lines: list[bytes], gap_ms: int) -> list[bytes]:
    """Event time jumps twice."""
    third = len(lines) // 3
    return [_later(line, (i // third) * gap_ms) for i, line in enumerate(lines)]


def _later(line: bytes, by_ms: int) -> bytes:
    if not line.startswith(b'{"ts"'):
        return line
    event = json.loads(line)
    return json.dumps(event | {"ts": event["ts"] + by_ms}).encode()


def after(ticks: int) -> Callable[[], bool]:
    """Enough, after so many ticks."""
    left = [ticks]

    def enough() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return enough


class Owners:
    """Of one partition, one after the other."""

    def __init__(self, broker: Broker, partition: int, catalog: Catalog, rng: random.Random) -> None:
        self.broker, self.partition, self.catalog, self.rng = broker, partition, catalog, rng
        self.owner = Owner(broker, partition, catalog)
        self.died_within = 0

    def step(self, size: int) -> None:
        """Messages, and every tick that each brings about, some at a time."""
        log = self.broker.partials[self.partition]
        for _ in range(size):
            self.decide()
            keeper = self.owner.keeper
            if keeper.position >= len(log):
                return
            stamp_ms, message = log[keeper.position]
            keeper.sources = SOURCES
            keeper.apply(message, keeper.position, stamp_ms)
        self.decide()

    def decide(self) -> None:
        while self.owner.keeper.has_rest:
            self.owner.due += self.owner.keeper.rest(after(self.rng.choice([1, 7, 100, 500])))
            if self.rng.random() < 0.5:
                self.owner.checkpoint()
            if self.owner.keeper.has_rest and self.rng.random() < 0.3:
                self.died_within += 1
                self.owner = Owner(self.broker, self.partition, self.catalog)
                if not self.owner.keeper.has_rest:
                    return  # its predecessor had not written that far: the messages come again


def lived_through(lines: list[bytes], slos: Path, rng: random.Random) -> tuple[list[Signal], int]:
    catalog = catalog_of(load_rules([slos]))
    broker = Broker(lines, rng)
    for log in broker.input:  # no event lies ahead of the broker's stamp
        log[:] = [(offset, stamp_ms + 2 * GAP_MS, line) for offset, stamp_ms, line in log]
    readers = [Reader(broker, s, Lexicon(catalog, PARTITIONS), 1) for s in range(SOURCES)]
    owners = [Owners(broker, p, catalog, rng) for p in range(PARTITIONS)]
    reading = True
    while reading:
        reading = False
        for s in rng.sample(range(SOURCES), SOURCES):
            reading |= readers[s].step(rng.choice([7, 100, 400]))
        for one in owners:
            one.step(rng.choice([1, 3, 50]))
    for reader in readers:
        if (sending := reader.intake.flush()) is not None:
            reader.deliver(sending)
    for one in owners:
        while one.owner.keeper.position < len(broker.partials[one.partition]):
            one.step(10**9)
        one.owner.checkpoint()
    return broker.signals, sum(one.died_within for one in owners)


@pytest.mark.parametrize("seed", range(2))
def test_owners_that_die_within_a_gap_decide_what_replay_decides(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    slos, lines = slo_file(tmp_path), with_gaps(events(rng, 2_400), GAP_MS)
    rules = load_rules([slos])
    feed = Feed(rules.objectives, analyses=rules.analyses, comparisons=rules.comparisons)
    frame, _ = feed.decode(lines)
    replayed = list(feed.push(frame))
    live, deaths = lived_through(lines, slos, rng)
    assert deaths >= 3
    last = max(str(s.value["evaluated_at"]) for s in live)
    expected, got = by_topic(replayed, last), by_topic(live, last)
    assert {"slo-alerts", "slo-budgets", "deploy-freezes", "rollout-status"} <= got.keys() == expected.keys()
    for topic, records in expected.items():
        assert got[topic] == records, topic
