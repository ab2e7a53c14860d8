"""A worker's changes, on a real Kafka: judged by what is committed, published once, known after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas import faults
from stream.agents.impacts import Impacts
from stream.fleet.book import TOPICS
from stream.kafka.sender import Sender
from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, declare_topics
from stream.model.deploy import ChangeEvent
from stream.model.graph import Node, ServiceGraph
from stream.model.objective import Availability, Objective, Rolling
from stream.model.ruleset import Ruleset
from stream.model.stats import Stats
from stream.wire.rfc3339 import format_ms

pytestmark = pytest.mark.broker
LIMIT_S = 60.0
START_MS = 1_790_000_040_000
GRAPH = ServiceGraph("shop", "all", (Node("web", ("payment",)), Node("payment"), Node("mail")))
SLO = Objective("shop", "payment-up", "payment", Availability(), Decimal(99), Rolling(3600))
RULES = Ruleset((SLO,), (), (GRAPH,))


def change(named: str, minute: int) -> ChangeEvent:
    return ChangeEvent(named, "shop", "payment", None, "deploy", START_MS + minute * 60_000)


def budget(minute: int, left_pct: float) -> dict[str, Any]:
    return {
        "schema": "burngate.budget/v1",
        "slo": "payment-up",
        "namespace": "shop",
        "service": "payment",
        "remaining_pct": left_pct,
        "total": 10.0,
        "window_s": 3600,
        "evaluated_at": format_ms(START_MS + minute * 60_000),
    }


def alert(starts: int, ends: int | None, left_pct: float) -> dict[str, Any]:
    return {
        "schema": "burngate.alert/v1",
        "id": str(starts),
        "slo": "payment-up",
        "namespace": "shop",
        "service": "payment",
        "budget_remaining_pct": left_pct,
        "starts_at": format_ms(START_MS + starts * 60_000),
        "ends_at": None if ends is None else format_ms(START_MS + ends * 60_000),
        "evaluated_at": format_ms(START_MS + (starts if ends is None else ends) * 60_000),
    }


class Stage:
    """An app's topics, something that writes signals as a worker does, and as many workers as one likes."""

    def __init__(self, broker: str, prefix: str) -> None:
        self.broker = broker
        self.declared = declare_topics(prefix + "app", 3, prefix)
        self.topics = {name: topic.name for name, topic in self.declared.outputs.items()}
        self.tails = 0

    async def __aenter__(self) -> Stage:
        async with Admin([self.broker]) as admin:
            await admin.ensure(self.declared)
        self.sender = Sender([self.broker])
        await self.sender.start()
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.broker, transactional_id=self.topics["slo-alerts"]
        )
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.stop()
        await self.producer.stop()

    def worker(self) -> Impacts:
        def open_tail(topics: Any, newest: Any) -> Tail:
            self.tails += 1
            return Tail([self.broker], topics, newest=newest)

        return Impacts("app", self.topics, open_tail, self.sender, RULES, Stats())

    async def write(self, topic: str, *records: dict[str, Any], commit: bool = True) -> None:
        await self.producer.begin_transaction()
        for record in records:
            sent = await self.producer.send_and_wait(
                self.topics[topic], orjson.dumps(record), key=b"shop/payment"
            )
        await (self.producer.commit_transaction() if commit else self.producer.abort_transaction())
        await self._until_readable(TopicPartition(sent.topic, sent.partition), sent.offset)

    async def _until_readable(self, tp: TopicPartition, offset: int) -> None:
        """The broker tells the producer of a transaction's end before it writes the marker."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker, isolation_level="read_committed")
        await consumer.start()
        try:
            while True:
                if (await consumer.end_offsets([tp]))[tp] > offset:
                    return
                await asyncio.sleep(0.05)
        finally:
            await consumer.stop()

    async def impacts(self) -> list[dict[str, Any]]:
        async with Tail([self.broker], {"change-impacts": self.topics["change-impacts"]}) as tail:
            return [signal.record async for signals in tail.up_to_now() for signal in signals]


@pytest.fixture
def play(broker: str, prefix: str) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    def run(story: Callable[[Stage], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(LIMIT_S), Stage(broker, prefix) as stage:
                await story(stage)

        asyncio.run(whole())

    return run


def test_a_change_is_judged_by_everything_that_was_committed_when_it_came(play: Any) -> None:
    async def story(stage: Stage) -> None:
        worker = stage.worker()
        await stage.write("slo-budgets", budget(1, 90.0))
        await stage.write("slo-budgets", budget(2, 10.0), commit=False)
        await worker.on_change(change("1", 3))
        await stage.write("slo-alerts", alert(5, None, 70.0), alert(5, 9, 60.0))
        await stage.write("slo-budgets", budget(60, 95.0))
        await worker.on_change(change("2", 60))
        await worker.stop()
        first, second = sorted(await stage.impacts(), key=lambda impact: str(impact["change"]))
        assert faults("change-impacts", first) == faults("change-impacts", second) == []
        assert [slo["budget_remaining_pct"] for slo in first["slo_impact"]] == [90.0]
        assert [one["service"] for one in first["affected"]] == ["payment", "web"]
        assert second["evaluated_at"] == format_ms(START_MS + 60 * 60_000)
        assert (second["history"]["changes"], second["history"]["incidents"]) == (1, 1)
        assert (second["history"]["detect_s"], second["history"]["resolve_s"]) == (120.0, 240.0)
        assert second["slo_impact"][0]["incident_burn_pct"] == (20.0 + 30.0) / 2
        assert stage.tails == 1

    play(story)


def test_another_worker_knows_what_was_judged_and_repeats_nothing(play: Any) -> None:
    async def story(stage: Stage) -> None:
        await stage.write("slo-budgets", budget(1, 90.0))
        first, second = stage.worker(), stage.worker()
        await first.on_change(change("1", 1))
        await second.on_change(change("1", 1))
        await first.on_change(change("1", 1))
        await second.on_change(change("1", 2))  # another change of this id
        await first.stop()
        await second.stop()
        assert len(await stage.impacts()) == 2
        assert (first.stats.signals["change-impacts"], second.stats.signals["change-impacts"]) == (1, 1)

    play(story)


def test_changed_files_count_from_the_next_change_on(play: Any) -> None:
    async def story(stage: Stage) -> None:
        worker = stage.worker()
        await stage.write("slo-budgets", budget(1, 90.0))
        await worker.on_change(change("1", 1))
        await worker.use(replace(RULES, graphs=()))
        await worker.on_change(change("2", 1))
        await worker.stop()
        first, second = sorted(await stage.impacts(), key=lambda impact: str(impact["change"]))
        assert [one["service"] for one in first["affected"]] == ["payment", "web"]
        assert [one["service"] for one in second["affected"]] == ["payment"]
        assert len(second["slo_impact"]) == 1

    play(story)


def test_nothing_is_read_until_a_change_comes(play: Any) -> None:
    async def story(stage: Stage) -> None:
        worker = stage.worker()
        await worker.stop()
        assert stage.tails == 0

    play(story)


def test_what_is_about_to_be_committed_is_waited_for(broker: str, prefix: str) -> None:
    async def story() -> None:
        async with asyncio.timeout(LIMIT_S), Stage(broker, prefix) as stage:
            names = {name: stage.topics[name] for name in TOPICS}
            async with Tail([broker], names) as tail:
                assert [signals async for signals in tail.up_to_now()] == []
                await stage.producer.begin_transaction()
                value = orjson.dumps(budget(1, 50.0))
                await stage.producer.send_and_wait(stage.topics["slo-budgets"], value, key=b"shop/payment")
                reading = aiter(tail.up_to_now())
                first = asyncio.ensure_future(anext(reading))
                done, _ = await asyncio.wait([first], timeout=5.0)
                assert not done or first.result() == []  # there is something to wait for
                await stage.producer.commit_transaction()
                read = await first + [signal async for signals in reading for signal in signals]
                assert [signal.record for signal in read] == [budget(1, 50.0)]

    asyncio.run(story())


def test_of_the_budgets_only_the_newest_are_read(broker: str, prefix: str) -> None:
    async def story() -> None:
        async with asyncio.timeout(LIMIT_S), Stage(broker, prefix) as stage:
            await stage.write("slo-budgets", *(budget(minute, 50.0) for minute in range(100)))
            names = {name: stage.topics[name] for name in TOPICS}
            async with Tail([broker], names, newest={"slo-budgets": 20}) as tail:
                read = [signal.record async for signals in tail.up_to_now() for signal in signals]
                assert [record["evaluated_at"] for record in read] == [
                    format_ms(START_MS + minute * 60_000) for minute in range(81, 100)
                ]  # the last offset is the marker's
                assert [signals async for signals in tail.up_to_now()] == []

    asyncio.run(story())
