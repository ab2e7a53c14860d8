"""The load of every benchmark: recorded request events and the objectives that look at them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

SERVICES, ENDPOINTS = 100, 10
PARTITIONS = 4
EVENTS_PER_S = 20_000
"""Of event time: a billion a day is 11,600 a second in the mean."""
START_MS = 1_790_000_040_000  # a whole minute, long ago

SLO = """\
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: s{service}-availability}}
spec:
  service: s{service}
  sli: {{metric: availability}}
  target: 99.9
  timeWindow: {{type: rolling, duration: 30d}}
  alerting:
    - {{window: 5m, burnRateThreshold: 14.4}}
    - {{window: 1h, burnRateThreshold: 6}}
    - {{window: 6h, burnRateThreshold: 1}}
  errorBudgetPolicy: {{freezeDeploymentsThreshold: 10, autoRollbackThreshold: 5}}
"""


def write_slos(directory: Path) -> Path:
    """One availability objective with three rules for each service."""
    directory.mkdir(exist_ok=True)
    text = "".join(SLO.format(service=service) for service in range(SERVICES))
    (directory / "slos.yaml").write_text(text)
    return directory


def events(count: int, seed: int = 1, per_s: int = EVENTS_PER_S) -> Iterator[bytes]:
    """``count`` events of 1,000 series in order of time, 1 % of them bad, about 140 bytes each."""
    rng = random.Random(seed)
    for number in range(count):
        ts = START_MS + number * 1000 // per_s
        service, endpoint = rng.randrange(SERVICES), rng.randrange(ENDPOINTS)
        status = 500 if rng.random() < 0.01 else 200
        yield (
            b'{"ts":%d,"service":"s%d","endpoint":"/v1/orders/{id}/%d","method":"GET","status":%d,'
            b'"latency_ms":%.1f,"version":"2.4.0","track":"stable"}'
            % (ts, service, endpoint, status, rng.lognormvariate(3.5, 0.6))
        )


async def fill(broker: str, topic: str, count: int) -> None:
    """Produce the events in LZ4 batches, each event to the next partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    arrival = {"message.timestamp.type": "LogAppendTime"}  # as the worker makes it
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=arrival)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, compression_type="lz4", max_batch_size=256 << 10, linger_ms=50
    )
    await producer.start()
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    for number, event in enumerate(events(count)):
        partition = number % PARTITIONS
        if batches[partition].append(key=None, value=event, timestamp=None) is None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            batches[partition].append(key=None, value=event, timestamp=None)
    for partition, batch in enumerate(batches):
        if batch.record_count():
            await producer.send_batch(batch, topic, partition=partition)
    await producer.stop()


async def clear(broker: str, topic: str) -> None:
    """Delete every topic but the input, and wait until they are gone: each round begins with nothing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    while others := [
        name for name in await admin.list_topics() if name != topic and not name.startswith("__")
    ]:
        await admin.delete_topics(others)
        await asyncio.sleep(0.2)
    await admin.close()
