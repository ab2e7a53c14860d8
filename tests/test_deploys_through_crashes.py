"""Deploy events on the real broker: sent twice, told wrongly, with a worker that is killed in between."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from workers import WorkerProcess

from schemas import faults
from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, declare_topics
from stream.replay import replay
from stream.wire.partial import decode_message

RULES = """
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: payment-canary, namespace: shop}
spec:
  service: payment
  metrics: [{name: latency-p50}, {name: error-rate}, {name: throughput}]
  duration: {minimum: 1m, maximum: 3m}
  warmup: 20s
  stages: [20, 50, 100]
"""
START_MS = 1_790_000_000_000
MINUTES = 14
PARTITIONS = 2
TOPICS = ("canary-verdicts", "rollout-status", "deploy-rollbacks", "dead-letters")
LIMIT_S = 90.0


def requests(from_minute: int, until_minute: int) -> list[bytes]:
    """Ten requests a second; from minute 2 on the canary gets a fifth, from minute 6 on a half."""
    lines = []
    for i in range(from_minute * 600, until_minute * 600):
        share = 0 if i < 1200 else 5 if i < 3600 else 2
        is_canary = bool(share) and i % share == 0
        event = {
            "ts": START_MS + i * 100,
            "namespace": "shop",
            "service": "payment",
            "status": 200 if i % 97 else 500,
            "latency_ms": 20 + i * 7919 % 50,
            "version": "2" if is_canary else "1",
            "track": "canary" if is_canary else "stable",
        }
        lines.append(json.dumps(event).encode())
    return lines


def deploy(state: str, minute: int, **fields: Any) -> bytes:
    event = {"deployment": "4711", "namespace": "shop", "service": "payment", "state": state}
    return json.dumps(event | {"at": START_MS + minute * 60_000} | fields).encode()


DEPLOYS = (
    deploy("started", 2, stage=20, version="2", previous_version="1"),
    deploy("stage", 6, stage=50),
    deploy("finished", 12),
)


async def send(producer: AIOKafkaProducer, topic: str, lines: list[bytes]) -> None:
    sent = [await producer.send(topic, line) for line in lines]
    await asyncio.gather(*sent)


async def handed_on(partials: AIOKafkaConsumer, count: int) -> None:
    """Wait until so many more deploy events were handed to who they concern."""
    async with asyncio.timeout(LIMIT_S):
        while count > 0:
            for records in (await partials.getmany(timeout_ms=500)).values():
                count -= sum(len(decode_message(record.value).notices) for record in records)


async def until(broker: str, topic: str, enough: Any) -> list[dict[str, Any]]:
    """The topic's records, once they are ``enough``."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(LIMIT_S), Tail([broker], {topic: topic}) as tail:
        while not enough(found):
            found += [signal.record for signal in await tail.read(0.5)]
    return found


@pytest.mark.broker
@pytest.mark.timeout(240)
def test_each_deploy_event_counts_once_and_live_equals_replay(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    app = f"{prefix}deploys"
    topics = declare_topics(app, PARTITIONS, f"{app}-")
    names = {name: topics.outputs[name].name for name in TOPICS}
    options = ("--partitions", str(PARTITIONS))

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
        status = names["rollout-status"]
        try:
            bad = deploy("stage", 3)
            stranger = deploy("started", 3, service="nobody")
            await send(producer, topics.deploys.name, [DEPLOYS[0], bad, DEPLOYS[0], stranger])
            await handed_on(partials, 2)
            await until(broker, names["dead-letters"], len)
            await send(producer, topics.requests.name, requests(0, 5))
            await until(broker, status, lambda found: any(r["verdict"] for r in found))
            worker.kill()
            worker = WorkerProcess(broker, app, rules, tmp_path / "worker.log", options)
            await send(producer, topics.deploys.name, [DEPLOYS[1], DEPLOYS[0], DEPLOYS[2], DEPLOYS[1]])
            await handed_on(partials, 4)
            await send(producer, topics.requests.name, requests(5, MINUTES))
            await until(broker, status, lambda found: found and found[-1]["state"] == "finished")
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
    events.write_bytes(b"\n".join(requests(0, MINUTES)))
    deploys.write_bytes(b"\n".join(DEPLOYS))
    replay([rules], [str(events)], tmp_path / "out", deploys=[str(deploys)])
    for name in TOPICS[:-1]:
        expected = [json.loads(line) for line in (tmp_path / "out" / f"{name}.ndjson").open()]
        last = max(record["evaluated_at"] for record in live[name]) if live[name] else ""
        assert live[name] == [record for record in expected if record["evaluated_at"] <= last], name
        assert all(faults(name, record) == [] for record in live[name])
    stages = live["rollout-status"][-1]["stages"]
    assert [stage["percent"] for stage in stages] == [20.0, 50.0]
    assert [letter["error"] for letter in live["dead-letters"]] == ["missing_field"]
