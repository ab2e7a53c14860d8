"""Workers of the version before are stopped, those of this one go on: nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from msgspec import msgpack
from older_version import unpacked
from recorded_stream import objectives, recorded
from upgrade import NAME, UpgradeRun
from workers import WorkerProcess

from stream.kafka.local import LocalBroker
from stream.kafka.topics import Admin, declare_topics
from stream.wire import partial

EVENTS, RATE, GAPS, SEED = 20_000, 1_000.0, 3, 6


@pytest.mark.broker
@pytest.mark.timeout(400)
def test_an_upgrade_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")
    older = unpacked(tmp_path / "older")
    if older is None:
        pytest.skip("the history of the repository is not there")
    stream = recorded(SEED, EVENTS, RATE, GAPS)
    with LocalBroker() as broker:
        run = UpgradeRun(older, broker, "upgrade", stream, RATE, [UpgradeRun.fault()], SEED, tmp_path, print)
        outcome = asyncio.run(run.run())
    assert not outcome.differences
    assert outcome.tolls[NAME].times == 1
    assert all(toll.lost == 0 and toll.doubled == 0 for toll in outcome.tolls.values())
    assert len(list(tmp_path.glob("worker-*.log"))) >= 4, "two of the older version and two of this one"


@pytest.mark.broker
@pytest.mark.timeout(200)
def test_a_worker_that_meets_a_newer_partial_says_so_and_asks_to_be_started_again(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    app, slos = f"{prefix}newer", objectives(tmp_path)
    topics = declare_topics(app, 1, f"{app}-")
    newer = msgpack.encode([partial.VERSION + 1, {"of another form": True}])

    async def send() -> None:
        async with Admin([broker]) as admin:
            await admin.ensure(topics)
        async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
            await producer.send_and_wait(topics.partials.name, newer, partition=0)

    asyncio.run(send())
    worker = WorkerProcess(broker, app, slos, tmp_path / "worker.log", ("--partitions", "1"))
    try:
        assert worker.process.wait(120) == 3
    finally:
        worker.kill()
    text = worker.log.read_text()
    assert (
        f"a newer Burngate wrote a partial that this one was to count: format {partial.VERSION + 1}," in text
    )
    assert "Traceback" not in text
