"""What the tests do to a real Kafka, and how they read it without our code."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Cluster:
    """The local Kafka as seen by one test: ``name`` is unique to it."""

    brokers: list[str]
    name: str

    async def create_topic(self, suffix: str, partitions: int = 1, **config: str) -> str:
        topic = f"{self.name}-{suffix}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers)
        await admin.start()
        try:
            settings = {key.replace("_", "."): value for key, value in config.items()}
            answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
            assert [code for _, code, *_ in answer.topic_errors] == [0], answer
        finally:
            await admin.close()
        return topic

    async def produce(
        self,
        topic: str,
        values: Sequence[bytes | None],
        partition: int = 0,
        keys: Sequence[bytes] | None = None,
        transaction: str | None = None,
        abort: bool = False,
        **settings: Any,
    ) -> None:
        """Write values; with ``transaction`` (an id) in one that is committed, or aborted."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.brokers,
            transactional_id=f"{self.name}-{transaction}" if transaction else None,
            **settings,
        )
        await producer.start()
        try:
            if transaction:
                await producer.begin_transaction()
            for value, key in zip(values, keys or [b"k"] * len(values), strict=True):
                await producer.send(topic, value, key=key, partition=partition)
            await producer.flush()
            if transaction:
                await (producer.abort_transaction() if abort else producer.commit_transaction())
        finally:
            await producer.stop()

    async def read(
        self, topic: str, partition: int = 0, isolation: str = "read_committed"
    ) -> list[ConsumerRecord]:
        """All that a plain consumer finds in a partition, to its end."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.brokers, isolation_level=isolation, auto_offset_reset="earliest"
        )
        tp = TopicPartition(topic, partition)
        await consumer.start()
        try:
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            records: list[ConsumerRecord] = []
            while await consumer.position(tp) < end:
                found: Mapping[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=200)
                records += found.get(tp, [])
            return records
        finally:
            await consumer.stop()


async def eventually(read: Callable[[], Awaitable[T]], expected: T, limit_s: float = 8.0) -> None:
    """A commit is decided before its markers are written: what it holds is visible a little later."""
    deadline_s = time.monotonic() + limit_s
    while (found := await read()) != expected:
        assert time.monotonic() < deadline_s, f"{found!r} is not {expected!r}"
        await asyncio.sleep(0.05)


async def until(condition: Callable[[], object], limit_s: float = 30.0) -> None:
    """Wait for something that another process or thread brings about."""
    async with asyncio.timeout(limit_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def noise(size: int) -> bytes:
    """Bytes that no codec makes smaller."""
    return random.Random(size).randbytes(size)  # not a secret
