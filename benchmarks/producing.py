"""Getting the load into Kafka, and what workers left out of it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.traffic import Traffic

PARTITIONS = 4


async def fill(broker: str, topic: str, traffic: Traffic) -> int:
    """All events of a load and its closing ones, each to the next partition; returns how many."""
    await create(broker, topic)
    closing = traffic.closing_event()
    count = await produce(broker, topic, traffic.events())
    return count + await produce(broker, topic, [closing] * PARTITIONS)


async def create(broker: str, topic: str) -> None:
    """The input topic as the worker makes it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    arrival = {"message.timestamp.type": "LogAppendTime"}
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=arrival)])
    await admin.close()


def producer_of(broker: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=broker, compression_type="lz4", max_batch_size=256 << 10, linger_ms=0
    )


async def produce(broker: str, topic: str, events: Iterable[bytes]) -> int:
    """Events in LZ4 batches, each event to the next partition; returns how many."""
    producer = producer_of(broker)
    await producer.start()
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    number = -1
    for number, event in enumerate(events):
        partition = number % PARTITIONS
        if batches[partition].append(key=None, value=event, timestamp=None) is None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            batches[partition].append(key=None, value=event, timestamp=None)
    for partition, batch in enumerate(batches):
        if batch.record_count():
            await producer.send_batch(batch, topic, partition=partition)
    await producer.stop()
    return number + 1


async def clear(broker: str, keep: Iterable[str] = ()) -> None:
    """Delete every topic but these, and wait until they are gone: each round begins with nothing."""
    kept = set(keep)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    while others := [n for n in await admin.list_topics() if n not in kept and not n.startswith("__")]:
        await admin.delete_topics(others)
        await asyncio.sleep(0.2)
    await admin.close()
