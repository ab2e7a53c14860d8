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


Scenario = tuple[Shop, list[bytes], Callable[[Shop], Awaitable[None]], list[bytes]]


def silent(shop: Shop) -> Scenario:
    """A partition that gets nothing after its offsets expired holds nothing back: its reader comes to where
    the state ends and no further, in a group whose generations began anew."""
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        await offsets_expire(shop)
        await feed_to(shop, 1, second)

    return shop, first, forget, second


def latest(shop: Shop) -> Scenario:
    """``--start latest`` passes over nothing of a topic that was made again: Kafka deletes the group's
    offsets together with the topic, and the app started long ago all the same."""
    shop.fleet._options += ("--start", "latest")
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        shop.fleet.stop()
        await topic_is_made_again(shop)
        await shop.feed(second)
        shop.fleet.start(0)

    return shop, first, forget, second


def middle(shop: Shop) -> Scenario:
    """Retention within a chunk of which the group knows nothing counts nothing twice: the open chunk, all
    counted, can be read from its middle only."""
    first, second = half(0, 1)[:FIRST], half(2, 2)[:FIRST]

    async def forget(shop: Shop) -> None:
        shop.fleet.stop()

        async def deleted(client: AIOKafkaAdminClient) -> bool:
            half_way = {TopicPartition(shop.topic, p): RecordsToDelete(FIRST // 4) for p in range(PARTITIONS)}
            return bool(await client.delete_records(half_way))

        await shop.until(deleted, "the records were not deleted")
        await offsets_expire(shop)
        await shop.feed(second)

    return shop, first, forget, second


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_what_is_forgotten_at_a_bad_moment_counts_once(broker: str, prefix: str, tmp_path: Path) -> None:
    # Beside each other: most of it is waiting.
    async def all_of_them() -> dict[str, list[str]]:
        found = {}
        for scenario in (silent, latest, middle):
            directory = tmp_path / scenario.__name__
            directory.mkdir()
            shop = Shop(broker, f"{prefix}{scenario.__name__}", directory)
            found[scenario.__name__] = run(*scenario(shop))
        return dict(zip(found, await asyncio.gather(*found.values()), strict=True))

    differences = asyncio.run(all_of_them())
    assert not any(differences.values()), differences


async def feed_to(shop: Shop, partition: int, lines: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=shop.broker, linger_ms=5)
    await producer.start()
    try:
        for line in lines:
            await producer.send(shop.topic, line, partition=partition)
    finally:
        await producer.stop()
