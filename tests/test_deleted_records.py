"""Retention deletes what was counted long ago, and what is left of its chunk is not counted again."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from workers import WorkerProcess

from stream.kafka.topics import Admin, declare_topics

pytestmark = pytest.mark.broker
LIMIT_S = 60.0
SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: availability, namespace: shop}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
BEFORE_MINUTE_MS = 1_790_000_040_000 - 5_000
"""The minute at which the budget is published is over soon after."""


class Shop:
    def __init__(self, broker: str, app: str, directory: Path) -> None:
        self.broker, self.app, self.log = broker, app, directory / "worker.log"
        self.slos = directory / "slos.yaml"
        self.slos.write_text(SLO)
        self.requests = TopicPartition(f"{app}-request-events", 0)

    def worker(self) -> WorkerProcess:
        return WorkerProcess(self.broker, self.app, self.slos, self.log, ("--partitions", "1"))

    async def produce(self, count: int, first_ms: int) -> None:
        """In batches of ten, so that a part of them can be deleted."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker)
        await producer.start()
        for n in range(count):
            event = {"ts": first_ms + n, "namespace": "shop", "service": "payment", "status": 200}
            sent = await producer.send(self.requests.topic, json.dumps(event).encode(), partition=0)
            if n % 10 == 9:
                await sent
        await producer.stop()

    async def total(self, expected: float) -> float:
        """The newest budget's total, once it is as expected or there was time enough."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        consumer.assign([TopicPartition(f"{self.app}-slo-budgets", 0)])
        found, deadline_s = -1.0, time.monotonic() + LIMIT_S
        try:
            while found != expected and time.monotonic() < deadline_s:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found = float(json.loads(records[-1].value)["total"])
        finally:
            await consumer.stop()
        return found

    async def delete_below(self, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        await admin.delete_records({self.requests: RecordsToDelete(before_offset=offset)})
        await admin.close()


def test_what_is_left_of_a_counted_chunk_is_not_counted_again(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    shop = Shop(broker, f"{prefix}shop", tmp_path)

    async def story() -> None:
        async with Admin([broker]) as admin:
            await admin.ensure(declare_topics(shop.app, 1, f"{shop.app}-"))
        first = shop.worker()
        try:
            await shop.produce(50, BEFORE_MINUTE_MS)
            assert await shop.total(50) == 50, shop.log.read_text()
        finally:
            assert first.stop() == 0
        await shop.delete_below(30)
        second = shop.worker()
        try:
            await shop.produce(10, BEFORE_MINUTE_MS + 61_000)
            assert await shop.total(60) == 60, shop.log.read_text()
        finally:
            assert second.stop() == 0

    asyncio.run(story())
    said = shop.log.read_text()
    assert "records below 30 were deleted after they were counted: reading from 50" in said
    assert "outside of what is there" not in said
