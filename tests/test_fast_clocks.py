"""One producer's clock is fast, and a total outage of another service fires all the same, live.

Each case: two partitions of events and one of nothing but refused records. Ten minutes of good events are
there before the worker starts, as after an outage of its own; behind them lie events of another service whose
clock was 55 min, and 40 d, ahead ten minutes ago. Then more of them come, and the service fails.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from workers import WorkerProcess

pytestmark = pytest.mark.broker
LIMIT_S = 90.0
GARBAGE = 2
"""The partition of refused records."""
AHEAD_MS = (55 * 60_000, 40 * 86_400_000)
SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up}
spec:
  service: s
  sli: {metric: availability}
  target: 99.9
  timeWindow: {type: rolling, duration: 30d}
  alerting: [{window: 5m, burnRateThreshold: 14.4, severity: critical}]
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: other-up}
spec:
  service: other
  sli: {metric: availability}
  target: 99.9
  timeWindow: {type: rolling, duration: 30d}
"""


class Case:
    def __init__(self, broker: str, app: str, directory: Path) -> None:
        self.broker, self.app = broker, app
        self.slos, self.log = directory / "slos.yaml", directory / "worker.log"
        self.slos.write_text(SLO)
        self.topic = f"{app}-request-events"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def worker(self) -> WorkerProcess:
        where = ("--metrics-port", str(self.port), "--metrics-host", "127.0.0.1", "--partitions", "1")
        return WorkerProcess(self.broker, self.app, self.slos, self.log, where)

    async def make_topic(self, stamps: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        config = {"message.timestamp.type": stamps, "message.timestamp.after.max.ms": str(2**62)}
        await admin.create_topics([NewTopic(self.topic, 3, 1, topic_configs=config)])
        await admin.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def send(
        self, producer: AIOKafkaProducer, partition: int, service: str, status: int, ts_ms: int
    ) -> None:
        value = json.dumps({"service": service, "status": status, "ts": ts_ms}).encode()
        await producer.send(self.topic, value, partition=partition, timestamp_ms=ts_ms)

    async def feed(self, stop: asyncio.Event, outage: asyncio.Event) -> None:
        """The service's events, and refused records, for as long as it is asked for."""
        async with self.producer() as producer:
            number = 0
            while not stop.is_set():
                for partition in (0, 1):
                    await self.send(producer, partition, "s", 503 if outage.is_set() else 200, now_ms())
                if number % 5 == 0:
                    await producer.send(self.topic, b"{", partition=GARBAGE)
                number += 1
                await asyncio.sleep(0.2)

    async def strays(self, ahead_of_ms: int) -> None:
        """On one partition only."""
        async with self.producer() as producer:
            for ahead_ms in AHEAD_MS:
                await self.send(producer, 0, "other", 200, ahead_of_ms + ahead_ms)

    async def history(self) -> None:
        """In the order of time; the strays as of ten minutes ago."""
        begin_ms = now_ms() - 600_000
        async with self.producer() as producer:
            await self.send(producer, 0, "s", 200, begin_ms)
            await producer.flush()
            await self.strays(begin_ms)
            for i in range(1, 300):
                await self.send(producer, i % 2, "s", 200, begin_ms + i * 2_000)

    async def firing(self) -> dict[str, Any]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(f"{self.app}-slo-alerts", p) for p in range(1)])
            async with asyncio.timeout(LIMIT_S):
                while True:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found: dict[str, Any] = json.loads(records[0].value)
                        return found
        finally:
            await consumer.stop()

    async def metric(self, name: str, least: float) -> float:
        """Once it is so large, or there was time enough."""
        found, deadline_s = -1.0, time.monotonic() + LIMIT_S
        while found < least and time.monotonic() < deadline_s:
            await asyncio.sleep(0.5)
            found = await asyncio.to_thread(self._metric, name)
        return found

    def _metric(self, name: str) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return -1.0
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith((name + " ", name + "{"))
        )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("stamps", ["CreateTime", "LogAppendTime"])
def test_an_outage_fires_though_other_clocks_are_fast(
    broker: str, prefix: str, tmp_path: Path, stamps: str
) -> None:
    case = Case(broker, prefix + stamps.lower(), tmp_path)
    by_producer = stamps == "CreateTime"

    async def run() -> tuple[dict[str, Any], int]:
        await case.make_topic(stamps)
        await case.history()
        stop, outage = asyncio.Event(), asyncio.Event()
        worker = case.worker()
        feeding = asyncio.create_task(case.feed(stop, outage))
        try:
            assert await case.metric("burngate_events_total", 300) >= 300
            await case.strays(now_ms())
            await asyncio.sleep(15)
            began_ms = now_ms()
            outage.set()
            alert = await case.firing()
            expected = 4 if by_producer else 0
            assert await case.metric("burngate_future_events_total", expected) == expected
            # Of each two strays one is 40 d ahead, and one waits for its pane.
            dropped = 2 if by_producer else 0
            assert await case.metric("burngate_too_late_events_total", dropped) == dropped
            assert await case.metric("burngate_late_events_total", 0) == 0
            assert await case.metric("burngate_dead_letters_total", 5) >= 5
            return alert, began_ms
        finally:
            stop.set()
            await feeding
            assert worker.stop() == 0

    alert, began_ms = asyncio.run(run())
    log = case.log.read_text()
    assert alert["state"] == "firing"
    evaluated_ms = time_ms(alert["starts_at"])
    assert began_ms < evaluated_ms <= began_ms + 40_000
    assert ("of the brokers' clock: it moves no time" in log) == by_producer, log
    assert log.count("moves no time") <= 2, "once a minute"
    assert "request-events[0]: the event at offset" in log or not by_producer


def time_ms(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)
