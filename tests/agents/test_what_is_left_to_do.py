"""What stage one still has to do is known to the watchdog, and to whoever reads the metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from faust.types import TP

from stream.agents.ingest import Ingest, Reader
from stream.agents.rules import Rules
from stream.agents.watchdog import Watchdog
from stream.errors import StalledError
from stream.kafka.fetching import Progress
from stream.kafka.sender import Sender
from stream.model.ruleset import Ruleset
from stream.model.stats import Stats
from stream.slo.intake import Intake
from stream.slo.reached import Resumption

REQUESTS, PARTIALS = TP("request-events", 0), TP("app-partials", 0)


@dataclass
class Consumer:
    assigned: frozenset[TP] = frozenset({REQUESTS, PARTIALS})
    fetched: dict[TP, Progress] = field(default_factory=dict)

    def progress(self, tp: TP) -> Progress | None:
        return self.fetched.get(tp)


async def _nothing_known() -> Mapping[int, Resumption | None]:
    return {}


async def _no_fence(epochs: Mapping[int, int], epoch: int) -> Mapping[int, int]:
    raise AssertionError("nothing was cut by another rule")


@pytest.fixture
def ingest() -> Ingest:
    topics, sender = ("request-events", "app-partials", "dead-letters"), cast(Any, None)
    return Ingest(
        *("app", topics, cast(Sender, sender), Rules(Ruleset(), 1), Stats(), 5_000, "earliest"),
        *(_nothing_known, _no_fence),
    )


def read(ingest: Ingest, end: int) -> None:
    intake = Intake(0, 1, end, 1, ingest.rules.lexicon, 5_000)
    ingest.readers[REQUESTS] = Reader(REQUESTS, 1, 1, "{}", intake)


def test_a_reader_that_stands_still_shows_a_lag_that_grows(ingest: Ingest) -> None:
    read(ingest, 100)
    consumer = Consumer()
    for high_water in (150, 400):
        consumer.fetched[REQUESTS] = Progress(100, high_water, high_water, 0.0)
        ingest.work(consumer)
        assert ingest.stats.lag == {REQUESTS: high_water - 100}


def test_an_assigned_partition_without_a_reader_is_noticed_and_one_that_was_given_up_is_not(
    ingest: Ingest,
) -> None:
    watchdog, consumer = Watchdog(), Consumer()
    for now_s in (0, 20):
        ingest.beats += 1
        watchdog.check(ingest.work(consumer), now_s)
    ingest.beats += 1
    with pytest.raises(StalledError, match=r"request-events\[0\] is assigned to this worker, which does not"):
        watchdog.check(ingest.work(consumer), 30)
    watchdog.check(ingest.work(Consumer(frozenset({PARTIALS}))), 31)


def test_a_partition_of_which_the_beginning_is_looked_for_is_not_stuck(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade may look at the state of hundreds of partitions; the consumer has a limit for that."""

    async def look_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ingest._beginnings, "find", look_for_ever)

    async def life() -> None:
        watchdog, consumer = Watchdog(), Consumer()
        taking_over = asyncio.create_task(ingest.acquire(consumer, [REQUESTS], 1))
        await asyncio.sleep(0)
        for now_s in (0, 20, 40, 80):
            ingest.beats += 1
            watchdog.check(ingest.work(consumer), now_s)
        taking_over.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking_over
        ingest.beats += 1
        assert "request-events[0] unread" in ingest.work(consumer)

    asyncio.run(life())


def test_a_heartbeat_that_no_longer_beats_is_noticed(ingest: Ingest) -> None:
    watchdog, consumer = Watchdog(), Consumer(frozenset())
    watchdog.check(ingest.work(consumer), 0)
    ingest.beats += 1
    watchdog.check(ingest.work(consumer), 10)
    watchdog.check(ingest.work(consumer), 39)
    with pytest.raises(StalledError, match="nothing was found out of which partitions are idle, for 30 s"):
        watchdog.check(ingest.work(consumer), 40)
