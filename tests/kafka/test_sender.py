"""What has been acknowledged is there; what has not is nobody's secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka_cluster import Cluster, noise

from stream.kafka.failures import SendError
from stream.kafka.sender import Sender

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]


def test_acknowledged_records_are_there_in_order(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("out", 2)
        sender = Sender(cluster.brokers)
        await sender.start()
        sent = [
            await sender.send(topic, n % 2, b"k", b"%d" % n, [("h", b"%d" % n)], 1_000 + n)
            for n in range(2_000)
        ]
        assert [record.offset for record in await asyncio.gather(*sent)] == [n // 2 for n in range(2_000)]
        assert sender.in_flight_bytes == 0
        await sender.stop()
        found = await cluster.read(topic, 1)
        assert [(r.value, r.headers, r.timestamp) for r in found] == [
            (b"%d" % n, (("h", b"%d" % n),), 1_000 + n) for n in range(1, 2_000, 2)
        ]

    run(check())


def test_a_record_without_a_partition_goes_by_its_key(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("out", 4)
        sender = Sender(cluster.brokers)
        await sender.start()
        partitions = {(await (await sender.send(topic, None, b"same", b"v"))).partition for _ in range(5)}
        assert len(partitions) == 1
        await sender.stop()

    run(check())


def test_a_refused_record_fails_its_caller_and_everything_after_it(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("out", max_message_bytes="1000")
        sender = Sender(cluster.brokers, linger_ms=0)
        await sender.start()
        await (await sender.send(topic, 0, b"k", b"fits"))
        sender.check()
        refused = await sender.send(topic, 0, b"k", noise(5_000))
        with pytest.raises(SendError, match="MessageSizeTooLarge") as caught:
            await refused
        assert caught.value.exit_code == 3
        with pytest.raises(SendError):
            sender.check()
        with pytest.raises(SendError):
            await sender.send(topic, 0, b"k", b"later")
        with pytest.raises(SendError):
            await sender.flush()
        assert sender.in_flight_bytes == 0
        await sender.stop()

    run(check())


def test_a_failure_that_nobody_awaited_is_met_by_the_next_call(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("out", max_message_bytes="1000")
        sender = Sender(cluster.brokers, linger_ms=0)
        await sender.start()
        await sender.send(topic, 0, b"k", noise(5_000))
        with pytest.raises(SendError):
            await sender.flush()
        await sender.stop()

    run(check())


def test_what_is_in_flight_is_bounded(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("out")
        sender = Sender(cluster.brokers, max_in_flight_bytes=50_000)
        await sender.start()
        most = 0
        for _ in range(200):
            await sender.send(topic, 0, b"k", bytes(5_000))
            most = max(most, sender.in_flight_bytes)
        assert 40_000 < most <= 50_000
        large = await sender.send(topic, 0, b"k", bytes(100_000))  # more than all: goes alone
        assert (await large).offset == 200
        await sender.stop()

    run(check())


def test_silence_is_a_failure_after_the_delivery_timeout(cluster: Cluster, run: Run) -> None:
    """aiokafka's idempotent producer would try for ever."""

    async def check() -> None:
        topic = await cluster.create_topic("out")
        sender = Sender(cluster.brokers, delivery_timeout_s=0.5, max_in_flight_bytes=1_000)
        await sender.start()
        await (await sender.send(topic, 0, b"k", b"v"))

        async def silent(*_: object, **__: object) -> None:
            await asyncio.sleep(3600)

        answer, sender._producer.client.send = sender._producer.client.send, silent
        start_s = time.monotonic()
        waiting = await sender.send(topic, 0, b"k", bytes(900))
        with pytest.raises(SendError, match=r"no answer within 0\.5 s"):
            await sender.send(topic, 0, b"k", bytes(900))  # waits for room
        with pytest.raises(SendError):
            await waiting
        assert 0.4 < time.monotonic() - start_s < 5
        sender._producer.client.send = answer
        for task in asyncio.all_tasks():
            if "_send_produce_req" in repr(task.get_coro()):
                task.cancel()
        await sender.stop()

    run(check())
