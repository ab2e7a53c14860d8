"""Whatever stands still in a worker, or around it, ends it with code 3 and one line that says what it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from stalling_worker import PATIENCE_S

from stream.kafka.topics import Admin, declare_topics

pytestmark = pytest.mark.broker
LIMIT_S = 90.0
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
REASONS = {
    "an_agent_that_hangs": r"request-events[0] has not moved from 0 for",
    "an_owner_that_hangs": r"-partials[0] has not moved from 0 for",
    "a_partition_that_nobody_reads": "request-events[0] is assigned to this worker, which does not read it",
    "no_checkpoint": r"partials arrive for partition 0, and no checkpoint is taken, for",
    "a_send_without_an_answer": f"-partials: no answer within {PATIENCE_S:g} s",
    "a_loop_that_stands_still": f"the worker's event loop stands still, for {PATIENCE_S:.0f} s",
    "nothing_of_its_own": "the group shares out no partitions, for",
}
"""Cause → reason. The last one's group is held up by a member that never gives its partitions up."""


class StalledWorker:
    def __init__(self, broker: str, app: str, cause: str, directory: Path) -> None:
        (directory / "slos.yaml").write_text(SLO)
        self.app, self.log = app, directory / f"{cause}.log"
        script = Path(__file__).with_name("stalling_worker.py")
        options = ["--brokers", broker, "--slos", str(directory / "slos.yaml"), "--app", app]
        options += ["--topic-prefix", f"{app}-", "--partitions", "1", "--metrics-port", "0"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script), cause, "worker", *options],
                stderr=output,
                cwd=directory,
                env={k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")},
            )


@contextlib.asynccontextmanager
async def member_that_gives_nothing_up(broker: str, app: str) -> AsyncIterator[None]:
    """It holds a partition, and so its group up, for as long as Kafka allows."""
    assigned, released = asyncio.Event(), asyncio.Event()

    class Stubborn(ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked: object) -> None:
            if revoked:
                await released.wait()

        async def on_partitions_assigned(self, _: object) -> None:
            assigned.set()

    limit_ms = int(LIMIT_S * 1000)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=app, rebalance_timeout_ms=limit_ms)
    consumer.subscribe([f"{app}-request-events"], listener=Stubborn())
    await consumer.start()
    try:
        await asyncio.wait_for(assigned.wait(), LIMIT_S)
        yield
    finally:
        released.set()
        await consumer.stop()


async def feed(broker: str, apps: list[str], workers: list[StalledWorker]) -> None:
    """An event a second for each, by the clock, until all have ended."""
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    deadline_s = time.monotonic() + LIMIT_S
    while any(worker.process.poll() is None for worker in workers) and time.monotonic() < deadline_s:
        event = {"ts": int(time.time() * 1000), "namespace": "shop", "service": "payment", "status": 200}
        for app in apps:
            await producer.send(f"{app}-request-events", json.dumps(event).encode(), partition=0)
        await asyncio.sleep(1)
    await producer.stop()


@pytest.fixture(scope="module")
def ended(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StalledWorker]]:
    """One worker for each cause, all at once: each needs some seconds to lose its patience."""
    apps = {cause: f"stall{os.getpid()}-{number}" for number, cause in enumerate(REASONS)}
    workers: dict[str, StalledWorker] = {}

    async def life() -> None:
        async with Admin([broker]) as admin:
            for app in apps.values():
                await admin.ensure(declare_topics(app, 1, f"{app}-"))
        async with member_that_gives_nothing_up(broker, apps["nothing_of_its_own"]):
            for cause, app in apps.items():
                workers[cause] = StalledWorker(broker, app, cause, tmp_path_factory.mktemp(cause))
            await feed(broker, list(apps.values()), list(workers.values()))

    try:
        asyncio.run(life())
        yield workers
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()


@pytest.mark.parametrize("cause", REASONS)
def test_what_stands_still_ends_the_worker_with_its_reason(
    ended: dict[str, StalledWorker], cause: str
) -> None:
    worker = ended[cause]
    said = worker.log.read_text()
    assert worker.process.poll() == 3, said
    assert REASONS[cause] in said.splitlines()[-1], said
    assert "Traceback" not in said
