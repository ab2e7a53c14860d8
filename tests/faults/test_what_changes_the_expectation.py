"""Kafka forgets at a bad moment: while a partition is silent, within a chunk, after a start with latest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError
from test_what_kafka_forgets import PARTITIONS, Shop, half, offsets_expire, topic_is_made_again

FIRST = 2_000
"""Events of the first half that are used."""


async def run(
    shop: Shop, first: list[bytes], forget: Callable[[Shop], Awaitable[None]], second: list[bytes]
) -> list[str]:
    """``forget`` feeds the second lines itself; returns what differs from replay of all."""
    await shop.ensure()
    supervising = None
    try:
        shop.fleet.start(0)
        supervising = asyncio.create_task(shop.fleet.supervise())
        await until_read(shop)
        shop.fleet.start(1)  # and the group comes to its second generation
        await shop.feed(first)
        assert not await shop.decided(first)
        await forget(shop)
        found = await shop.decided(first + second)
        if supervising.done():
            supervising.result()
        return found
    finally:
        if supervising is not None:
            supervising.cancel()
        shop.fleet.kill()


async def until_read(shop: Shop) -> None:
    """A start is committed for every partition: what is fed from now on is read with any ``--start``."""

    async def committed(client: AIOKafkaAdminClient) -> bool:
        try:
            found = await client.list_consumer_group_offsets(shop.app)
        except GroupCoordinatorNotAvailableError:  # the first group of this Kafka
            return False
        return all(TopicPartition(shop.topic, p) in found for p in range(PARTITIONS))

    await shop.until(committed, "nobody reads the topic")


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_partition_that_stays_silent_after_its_offsets_expired_holds_nothing_back(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    # Its reader comes to where the state ends and no further, in a group whose generations began anew.
    shop = Shop(broker, f"{prefix}silent", tmp_path)
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        await offsets_expire(shop)
        await feed_to(shop, 1, second)

    assert not asyncio.run(run(shop, first, forget, second))


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_start_latest_passes_over_nothing_of_a_topic_that_was_made_again(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    # Kafka deletes the group's offsets together with the topic; the app started long ago all the same.
    shop = Shop(broker, f"{prefix}latest", tmp_path)
    shop.fleet._options += ("--start", "latest")
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        shop.fleet.stop()
        await topic_is_made_again(shop)
        await shop.feed(second)
        shop.fleet.start(0)

    assert not asyncio.run(run(shop, first, forget, second))


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_retention_within_a_chunk_of_which_the_group_knows_nothing_counts_nothing_twice(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    # The open chunk, all counted, can be read from its middle only.
    shop = Shop(broker, f"{prefix}middle", tmp_path)
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        shop.fleet.stop()

        async def deleted(client: AIOKafkaAdminClient) -> bool:
            middle = {TopicPartition(shop.topic, p): RecordsToDelete(FIRST // 4) for p in range(PARTITIONS)}
            return bool(await client.delete_records(middle))

        await shop.until(deleted, "the records were not deleted")
        await offsets_expire(shop)
        await shop.feed(second)

    assert not asyncio.run(run(shop, first, forget, second))


async def feed_to(shop: Shop, partition: int, lines: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=shop.broker, linger_ms=5)
    await producer.start()
    try:
        for line in lines:
            await producer.send(shop.topic, line, partition=partition)
    finally:
        await producer.stop()
