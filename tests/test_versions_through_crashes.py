"""Versions that were taken back, on the real broker: told twice, of a service that no analysis is about, with
a worker that is killed in between."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from test_deploys_through_crashes import handed_on, send, until
from workers import WorkerProcess

from schemas import faults
from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, declare_topics
from stream.replay import replay

RULES = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: payment-up, namespace: shop}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 10m}
  budgetBasis: observed
  errorBudgetPolicy: {autoRollbackThreshold: 20}
"""
START_MS = 1_790_000_040_000
PARTITIONS = 2
SERVING = ("1", "1", "2", "2", "3", "3", "3")
"""By minute; in the last one every request fails."""
TOPICS = ("deploy-rollbacks", "slo-budgets")


def requests(from_minute: int, until_minute: int) -> list[bytes]:
    """Five a second."""
    events = (
        {
            "ts": START_MS + i * 200,
            "namespace": "shop",
            "service": "payment",
            "status": 500 if i >= 300 * (len(SERVING) - 1) else 200,
            "version": SERVING[i // 300],
        }
        for i in range(from_minute * 300, until_minute * 300)
    )
    return [json.dumps(event).encode() for event in events]


def taken_back(minute: int, version: str, **fields: Any) -> bytes:
    event = {"deployment": "4711", "namespace": "shop", "service": "payment", "state": "rolled_back"}
    return json.dumps(event | {"version": version, "at": START_MS + minute * 60_000} | fields).encode()


@pytest.mark.broker
@pytest.mark.timeout(400)
def test_a_rollback_does_not_go_back_to_what_a_deploy_event_took_back(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    app = f"{prefix}versions"
    topics = declare_topics(app, PARTITIONS, f"{app}-")
    names = {name: topics.outputs[name].name for name in TOPICS}
    options = ("--partitions", str(PARTITIONS))
    event = taken_back(4, "2")

    async def story() -> dict[str, list[dict[str, Any]]]:
        async with Admin([broker]) as admin:
            await admin.ensure(topics)
        producer = AIOKafkaProducer(bootstrap_servers=broker)
        partials = AIOKafkaConsumer(
            topics.partials.name, bootstrap_servers=broker, auto_offset_reset="earliest"
        )
        await producer.start()
        await partials.start()
        worker = WorkerProcess(broker, app, rules, tmp_path / "worker.log", options)
        try:
            await send(producer, topics.deploys.name, [event, event, taken_back(4, "2", service="nobody")])
            await handed_on(partials, 2)
            await send(producer, topics.requests.name, requests(0, 5))
            await until(broker, names["slo-budgets"], lambda found: len(found) >= 4)
            worker.kill()
            worker = WorkerProcess(broker, app, rules, tmp_path / "worker.log", options)
            await send(producer, topics.deploys.name, [event])
            await send(producer, topics.requests.name, requests(5, len(SERVING)))
            await until(broker, names["deploy-rollbacks"], len)
        finally:
            await partials.stop()
            await producer.stop()
            assert worker.stop() == 0, worker.log.read_text()
        found = {}
        for name, topic in names.items():
            async with Tail([broker], {name: topic}) as tail:
                found[name] = [s.record async for signals in tail.up_to_now() for s in signals]
        return found

    live = asyncio.run(story())
    events, deploys = tmp_path / "events.ndjson", tmp_path / "deploys.ndjson"
    events.write_bytes(b"\n".join(requests(0, len(SERVING))))
    deploys.write_bytes(event)
    replay([rules], [str(events)], tmp_path / "out", deploys=[str(deploys)])
    for name in TOPICS:
        expected = [json.loads(line) for line in (tmp_path / "out" / f"{name}.ndjson").open()]
        last = max(record["evaluated_at"] for record in live[name])
        assert live[name] == [record for record in expected if record["evaluated_at"] <= last], name
        assert all(faults(name, record) == [] for record in live[name])
    (rollback,) = live["deploy-rollbacks"]
    assert (rollback["version"], rollback["previous_version"]) == ("3", "1")
