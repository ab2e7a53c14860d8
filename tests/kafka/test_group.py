"""Offsets are committed in the generation that is meant, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka_cluster import Cluster, until

from stream.kafka.failures import CommitError, StaleGenerationError
from stream.kafka.group import Committed, commit_offset, committed_offset

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]
TIMEOUT_S = 10.0


@contextlib.asynccontextmanager
async def member(cluster: Cluster, topic: str, **settings: Any) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=cluster.brokers,
        group_id=cluster.name,
        enable_auto_commit=False,
        metadata_max_age_ms=1_000,
        heartbeat_interval_ms=300,
        **settings,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def generation(consumer: AIOKafkaConsumer) -> int:
    return int(consumer._coordinator.generation)


def test_an_offset_comes_back_with_its_metadata(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with member(cluster, topic) as consumer:
            assert await committed_offset(consumer, tp, TIMEOUT_S) is None
            for committed in (Committed(17, "epoch=3 µ"), Committed(5, ""), Committed(0, "epoch=4")):
                await commit_offset(consumer, tp, committed, generation(consumer), TIMEOUT_S)
                assert await committed_offset(consumer, tp, TIMEOUT_S) == committed

    run(check())


def test_a_former_generation_cannot_commit(cluster: Cluster, run: Run) -> None:
    """Although it is still a member, and perhaps still holds the partition."""

    async def check() -> None:
        topic = await cluster.create_topic("in", 2)
        async with member(cluster, topic) as first:
            before = generation(first)
            async with member(cluster, topic) as second:
                await until(lambda: len(first.assignment()) == 1)
                (tp,) = first.assignment()
                assert generation(first) == generation(second) > before
                with pytest.raises(StaleGenerationError):
                    await commit_offset(first, tp, Committed(1, ""), before, TIMEOUT_S)
                assert await committed_offset(first, tp, TIMEOUT_S) is None

    run(check())


def test_a_partition_of_another_member_cannot_be_committed(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        async with member(cluster, topic) as consumer:
            with pytest.raises(StaleGenerationError):
                await commit_offset(
                    consumer, TopicPartition(topic, 1), Committed(1, ""), generation(consumer), TIMEOUT_S
                )

    run(check())


def test_a_member_that_the_group_has_forgotten_cannot_commit(cluster: Cluster, run: Run) -> None:
    """The broker says so: it does not know the generation that the member believes in."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with member(cluster, topic) as consumer:
            coordinator = consumer._coordinator
            coordinator.generation += 5
            with pytest.raises(StaleGenerationError):
                await commit_offset(consumer, tp, Committed(1, ""), generation(consumer), TIMEOUT_S)

    run(check())


def test_a_member_without_a_generation_cannot_commit_to_an_empty_group(cluster: Cluster, run: Run) -> None:
    """The broker would accept it."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with member(cluster, topic) as consumer:
            await consumer._coordinator._maybe_leave_group()
            with pytest.raises(StaleGenerationError):
                await commit_offset(consumer, tp, Committed(1, ""), -1, TIMEOUT_S)

    run(check())


def test_a_coordinator_that_does_not_answer_is_an_error_in_time(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with member(cluster, topic) as consumer:
            send = consumer._coordinator._send_req

            async def silent(_: object) -> None:
                await asyncio.sleep(3600)

            consumer._coordinator._send_req = silent
            with pytest.raises(CommitError, match="no answer"):
                await commit_offset(consumer, tp, Committed(1, ""), generation(consumer), 0.2)
            with pytest.raises(CommitError, match="no answer"):
                await committed_offset(consumer, tp, 0.2)
            consumer._coordinator._send_req = send

    run(check())
