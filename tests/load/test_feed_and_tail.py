"""Events into a real Kafka, signals out of it."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from stream.kafka.creation import Topic
from stream.kafka.feed import Feed, delete_topics
from stream.kafka.tail import Signal, Tail, TailError

pytestmark = pytest.mark.broker
WAIT_S = 20.0


async def read(brokers: str, topic: str, count: int) -> list[Signal]:
    async with Tail([brokers], {"wanted": topic}) as tail, asyncio.timeout(WAIT_S):
        signals: list[Signal] = []
        while len(signals) < count:
            signals += await tail.read(0.5)
        return signals


async def names(brokers: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        found: list[str] = await admin.list_topics()
        return found
    finally:
        await admin.close()


def test_events_reach_a_topic_made_for_them_in_order_on_every_partition(broker: str, prefix: str) -> None:
    events = [orjson.dumps({"n": n, "filling": "x" * 500}) for n in range(3_001)]

    async def run() -> list[Signal]:
        async with Feed([broker], Topic(prefix + "events", 3, {})) as feed:
            await feed.send(events[:2_000])
            await feed.send(events[2_000:])
            await feed.send([])
        return await read(broker, prefix + "events", len(events))

    signals = asyncio.run(run())
    assert {signal.topic for signal in signals} == {"wanted"}
    numbers = [signal.record["n"] for signal in signals]
    assert sorted(numbers) == list(range(3_001))
    for partition in range(3):
        own = [number for number in numbers if number % 3 == partition]
        assert own == sorted(own)


def test_an_existing_topic_keeps_its_shape(broker: str, prefix: str) -> None:
    async def run() -> list[Signal]:
        for partitions in (2, 5):
            async with Feed([broker], Topic(prefix + "events", partitions, {})) as feed:
                await feed.send([b"{}"] * 10)
        return await read(broker, prefix + "events", 20)

    assert len(asyncio.run(run())) == 20


def test_what_a_transaction_gave_up_is_not_read_and_deletions_are_skipped(broker: str, prefix: str) -> None:
    async def run() -> list[Signal]:
        topic = Topic(prefix + "signals", 1, {})
        async with Feed([broker], topic):
            producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=prefix + "t")
            await producer.start()
            for commits in (False, True):
                await producer.begin_transaction()
                await producer.send_and_wait(topic.name, orjson.dumps({"committed": commits}), key=b"k")
                await producer.send_and_wait(topic.name, None, key=b"k")
                await (producer.commit_transaction() if commits else producer.abort_transaction())
            await producer.stop()
        return await read(broker, topic.name, 1)

    assert asyncio.run(run()) == [Signal("wanted", {"committed": True})]


def test_a_record_that_is_no_json_object_is_named_with_its_topic(broker: str, prefix: str) -> None:
    async def run(value: bytes) -> None:
        topic = Topic(f"{prefix}{len(value)}", 1, {})
        async with Feed([broker], topic) as feed:
            await feed.send([value])
        await read(broker, topic.name, 1)

    for value in (b"{no", b"[1, 2]"):
        with pytest.raises(TailError, match=prefix):
            asyncio.run(run(value))


def test_topics_of_a_prefix_are_deleted_and_no_others(broker: str, prefix: str) -> None:
    async def run() -> list[str]:
        for name in ("a-1", "a-2", "b-1"):
            async with Feed([broker], Topic(prefix + name, 1, {})):
                pass
        await delete_topics([broker], prefix + "a-")
        return await names(broker)

    left = asyncio.run(run())
    assert [name for name in left if name.startswith(prefix)] == [prefix + "b-1"]
