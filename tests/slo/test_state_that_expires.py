"""What the state topic is left with: panes that no window reaches are deleted, a service that is gone too."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from stream.model.objective import Availability, BurnRule, Latency, Objective, Rolling
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.state import parse_key

T0_MS = 1_790_000_000_000 // 3_600_000 * 3_600_000
PANE_MS, MINUTE_S = 10_000, 60

PAYMENT = Objective(
    "shop",
    "payment-up",
    "payment",
    Availability(),
    Decimal(95),
    Rolling(20 * MINUTE_S),
    rules=(BurnRule("5m", 300, 60, Decimal(2), "page", ("#ops",), 1, 30_000),),
    freeze_below_pct=Decimal(60),
    rollback_below_pct=Decimal(40),
)
SEARCH = replace(PAYMENT, name="search-fast", service="search", sli=Latency(100))


class Topic:
    """The state topic as compaction leaves it, and the owner that writes to it."""

    def __init__(self) -> None:
        self.catalog = Catalog([PAYMENT, SEARCH])
        self.keeper = Keeper(self.catalog, 100)
        self.lexicon = Lexicon(self.catalog)
        self.intake = Intake(0, 1, 0, 1, self.lexicon, 5_000)
        self.records: dict[bytes, bytes] = {}
        self.deleted: Counter[str] = Counter()
        self.offset = 0

    def pass_minutes(self, minutes: int, *services: str) -> None:
        """Each service answers once every ten seconds, with errors at first; a checkpoint for every tick."""
        for _ in range(minutes * 6):
            pane = self.offset
            for service in services:
                self._feed(T0_MS + pane * PANE_MS, service, pane < 12)
            self.offset += 1
            list(self.keeper.advance(1))
            self.take(self.keeper)

    def take(self, keeper: Keeper) -> None:
        for key, value in keeper.changes().items():
            if value is not None:
                self.records[key] = value
            elif self.records.pop(key, None) is not None:
                self.deleted[parse_key(key)[0]] += 1

    def _feed(self, ts_ms: int, service: str, bad: bool) -> None:
        event = {
            "ts": ts_ms,
            "namespace": "shop",
            "service": service,
            "endpoint": f"/{service}/{ts_ms // 60_000 % 5}",
            "status": 500 if bad else 200,
            "latency_ms": 400 if bad else 7,
            "version": f"{service}-1",
        }
        at, value = self.intake.end, json.dumps(event).encode()
        sent = [
            *self.intake.feed(at, at + 1, [at], [ts_ms], [value], self.lexicon),
            self.intake.flush(),
        ]
        for sending in sent:
            if isinstance(sending, Sending):
                for message in sending.messages.values():
                    self.keeper.apply(message, self.keeper.position, ts_ms)

    def kinds_that_name(self, service: str) -> set[str]:
        """Kinds of records with the service in their key or value."""
        name = service.encode()
        return {parse_key(k)[0] for k, v in self.records.items() if name in k or name in v}


@pytest.fixture
def topic() -> Topic:
    """Payment fails, answers for ten minutes, and is not heard of again; search goes on for two hours."""
    topic = Topic()
    topic.pass_minutes(10, "payment", "search")
    topic.pass_minutes(120, "search")
    return topic


def test_at_any_time_there_are_as_many_panes_as_windows_reach_back_to() -> None:
    topic = Topic()
    most: Counter[str] = Counter()
    for _ in range(30):
        topic.pass_minutes(5, "payment", "search")
        most |= Counter(parse_key(key)[0] for key in topic.records)
    assert most["pane"] <= 20 * 6 + 2  # the longest window, on the grid of ten seconds
    assert most["hist"] <= 60 * 6 + 12 + 60  # by ten seconds for an hour, at most
    assert most["digest"] <= 62
    assert most["pending"] <= 2
    assert topic.deleted.keys() == {"pane", "hist", "digest", "pending", "alert", "sightings"}


def test_a_service_that_disappears_leaves_only_what_its_slo_file_says_behind(topic: Topic) -> None:
    # While its SLO is in the files, "shard" numbers its row; "row" and "service" are those of a fresh start,
    # but for what it was last decided by. Which versions served last is known through any silence.
    assert topic.kinds_that_name("payment") == {"row", "service", "shard", "version"}
    fresh = Keeper(topic.catalog, 100)
    fresh.shard.evaluator.policies.decided_by = fresh.shard.evaluator.policies.rules
    left = {k: v for k, v in topic.records.items() if parse_key(k)[0] != "version"}
    assert {k: v for k, v in left.items() if b"payment" in k} == {
        k: v for k, v in fresh.changes().items() if b"payment" in k
    }
    assert topic.kinds_that_name("search") >= {"pair", "endpoint", "row", "service"}, (
        "the other one is all there"
    )


def test_a_service_whose_slo_is_removed_leaves_nothing_behind(topic: Topic) -> None:
    topic.take(Keeper(Catalog([SEARCH]), 100, topic.records))
    assert topic.kinds_that_name("payment") == set()
    assert topic.kinds_that_name("search") >= {"pair", "endpoint", "row", "service"}
