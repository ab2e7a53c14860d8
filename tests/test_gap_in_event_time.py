"""A system that was quiet over a weekend, or whose first event is of 1970, and a real worker."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from workers import WorkerProcess

from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, declare_topics

SERVICES = 60
MOST_MB = 150
"""Above rest. At once it was 8 KiB a record: 500 MB for these."""
ENOUGH = 60_000
"""Budgets, that are decided behind the rest's measure."""
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: NAME}
spec:
  service: NAME
  sli: {metric: availability}
  target: 99.9
  timeWindow: {type: rolling, duration: 30d}
"""


def memory_mb(worker: WorkerProcess) -> float:
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split("kB")[0]) / 1024


@pytest.mark.broker
@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", ["a weekend ago", "1970-01-01T00:00:00Z"])
def test_memory_and_a_stop_do_not_grow_with_a_gap(
    broker: str, prefix: str, tmp_path: Path, first: str
) -> None:
    asyncio.run(life(broker, prefix, tmp_path, first))


async def life(broker: str, prefix: str, tmp_path: Path, first: str) -> None:
    app = prefix.rstrip("-")
    topics = declare_topics(app, 1, prefix)
    async with Admin([broker]) as admin:
        await admin.ensure(topics)
    slos = tmp_path / "slos.yaml"
    slos.write_text("---".join(SLO.replace("NAME", f"s{i}") for i in range(SERVICES)))
    now_ms = int(time.time() * 1000)
    began: str | int = now_ms - 64 * 3_600_000 if first == "a weekend ago" else first
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for ts in (began, now_ms - 60_000):
        for i in range(SERVICES):
            event = {"service": f"s{i}", "status": 200, "ts": ts}
            await producer.send(topics.requests.name, json.dumps(event).encode(), partition=0)
    await producer.stop()
    worker = WorkerProcess(broker, app, slos, tmp_path / "worker.log", ("--partitions", "1"))
    budgets, rest_mb, peak_mb = 0, 0.0, 0.0
    try:
        async with Tail([broker], {"slo-budgets": f"{prefix}slo-budgets"}) as tail:
            while budgets < ENOUGH:
                assert worker.process.poll() is None, worker.log.read_text()
                budgets += len(await tail.read(1.0))
                peak_mb = max(peak_mb, memory_mb(worker))
                if not rest_mb and "took over" in worker.log.read_text():
                    rest_mb = memory_mb(worker)
        assert rest_mb, worker.log.read_text()
        assert peak_mb - rest_mb <= MOST_MB
        began_s = time.monotonic()
        assert worker.stop(30.0) == 0, worker.log.read_text()
        assert time.monotonic() - began_s < 20
    finally:
        worker.kill()
