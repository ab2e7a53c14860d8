"""Kafka forgets the group's offsets, records, or the whole topic: what can still be read counts, and once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from against_replay import replayed
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata
from fleet import Fleet
from recorded_stream import START_MS
from test_stages import slo_file
from verdict import differences, published

from stream.kafka.topics import Admin, declare_topics

PARTITIONS = 2
LIMIT_S = 120.0
HALF = 6_000


def half(number: int, seed: int) -> list[bytes]:
    """Ten minutes of events, an hour after the half before."""
    rng = random.Random(seed)
    start_ms = START_MS + number * 3_600_000
    return [
        json.dumps(
            {
                "ts": start_ms + i * 100 - rng.randrange(3_000),
                "namespace": "shop",
                "service": rng.choice(["payment", "search", "cart"]),
                "endpoint": f"/{rng.randrange(3)}",
                "status": 500 if rng.random() < 0.05 else 200,
                "latency_ms": rng.randrange(1, 120),
                "version": "v1",
            }
        ).encode()
        for i in range(HALF)
    ]


class Shop:
    """An app with two workers, and what happens to it between two halves of a stream."""

    def __init__(self, broker: str, app: str, directory: Path) -> None:
        self.broker, self.app, self.directory = broker, app, directory
        self.topics = declare_topics(app, PARTITIONS, f"{app}-")
        self.topic = self.topics.requests.name
        self.slos = slo_file(directory)
        self.fleet = Fleet(broker, app, self.slos, directory, PARTITIONS)

    async def ensure(self) -> None:
        async with Admin([self.broker]) as admin:
            await admin.ensure(self.topics)

    async def feed(self, lines: list[bytes]) -> None:
        """Line i to partition i % PARTITIONS."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, linger_ms=5)
        await producer.start()
        try:
            for place, line in enumerate(lines):
                await producer.send(self.topic, line, partition=place % PARTITIONS)
        finally:
            await producer.stop()

    async def decided(self, lines: list[bytes]) -> list[str]:
        """What differs from replay, once everything up to its last tick is there."""
        expected, last = await asyncio.to_thread(replayed, self.slos, lines, self.directory)
        found = await published(self.broker, f"{self.app}-", expected, last, LIMIT_S)
        return differences(expected, found)

    async def until(self, done: Callable[[AIOKafkaAdminClient], Awaitable[bool]], what: str) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await client.start()
        try:
            deadline_s = time.monotonic() + LIMIT_S
            while not await done(client):
                assert time.monotonic() < deadline_s, what
                await asyncio.sleep(0.2)
        finally:
            await client.close()


Forget = Callable[[Shop], Awaitable[list[bytes]]]
"""What happens between the halves; returns the lines that are fed meanwhile, and count."""


async def offsets_expire(shop: Shop) -> list[bytes]:
    shop.fleet.stop()

    async def gone(client: AIOKafkaAdminClient) -> bool:
        node = await client.find_coordinator(shop.app)
        await client._send_request_to_node(node, DeleteGroupsRequest([shop.app]))
        return not await client.list_consumer_group_offsets(shop.app)

    await shop.until(gone, "the group's offsets were not deleted")
    shop.fleet.start(0)
    return []


async def topic_is_made_again(shop: Shop) -> list[bytes]:
    async def deleted(client: AIOKafkaAdminClient) -> bool:
        if shop.topic in await client.list_topics():
            await client.delete_topics([shop.topic])
        return shop.topic not in await client.list_topics()

    await shop.until(deleted, "the topic was not deleted")
    await shop.ensure()
    return []


async def topic_is_made_again_and_filled(shop: Shop) -> list[bytes]:
    """While nobody looks, and the group's offsets stay: they are good in the new topic too."""
    group = AIOKafkaConsumer(bootstrap_servers=shop.broker, group_id=shop.app, enable_auto_commit=False)
    client = AIOKafkaAdminClient(bootstrap_servers=shop.broker)
    await client.start()
    shop.fleet.stop()
    found = await client.list_consumer_group_offsets(shop.app)
    offsets = {tp: noted for tp, noted in found.items() if tp.topic == shop.topic}
    await client.close()
    await topic_is_made_again(shop)
    between = half(1, 3)
    await shop.feed(between)
    await group.start()
    group.assign(list(offsets))
    await group.commit({tp: OffsetAndMetadata(1_000, noted.metadata) for tp, noted in offsets.items()})
    await group.stop()
    shop.fleet.start(0)
    return between


async def retention_passes_the_reader(shop: Shop) -> list[bytes]:
    shop.fleet.stop()
    lost = half(1, 99)[: HALF // 2]
    await shop.feed(lost)

    async def deleted(client: AIOKafkaAdminClient) -> bool:
        ends = {TopicPartition(shop.topic, p): RecordsToDelete(-1) for p in range(PARTITIONS)}
        return bool(await client.delete_records(ends))

    await shop.until(deleted, "the records were not deleted")
    shop.fleet.start(0)
    return []


async def offsets_are_set_by_hand(shop: Shop) -> list[bytes]:
    """As ``kafka-consumer-groups --reset-offsets --to-latest`` does it: without metadata; or another tool,
    with its own."""
    shop.fleet.stop()
    await shop.feed(half(1, 77)[: HALF // 2])
    group = AIOKafkaConsumer(bootstrap_servers=shop.broker, group_id=shop.app, enable_auto_commit=False)
    await group.start()
    tps = [TopicPartition(shop.topic, p) for p in range(PARTITIONS)]
    group.assign(tps)
    ends = await group.end_offsets(tps)
    said = ("", "reset by hand")
    await group.commit({tp: OffsetAndMetadata(ends[tp], text) for tp, text in zip(tps, said, strict=True)})
    await group.stop()
    shop.fleet.start(0)
    return []


_FORGETTING: tuple[Forget, ...] = (
    offsets_are_set_by_hand,
    offsets_expire,
    topic_is_made_again,
    topic_is_made_again_and_filled,
    retention_passes_the_reader,
)


async def forgetting(shop: Shop, forget: Forget) -> list[str]:
    """What differs from replay.

    first half, all decided │ Kafka forgets │ second half, an hour later
    """
    first, second = half(0, 1), half(2, 2)
    await shop.ensure()
    supervising = None
    try:
        shop.fleet.start(0)
        shop.fleet.start(1)
        supervising = asyncio.create_task(shop.fleet.supervise())
        await shop.feed(first)
        assert not await shop.decided(first)
        between = await forget(shop)
        await shop.feed(second)
        found = await shop.decided(first + between + second)
        if supervising.done():
            supervising.result()
        return found
    finally:
        if supervising is not None:
            supervising.cancel()
        shop.fleet.kill()


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_what_can_still_be_read_counts_once(broker: str, prefix: str, tmp_path: Path) -> None:
    # Beside each other: most of it is waiting.
    async def all_of_them() -> dict[str, list[str]]:
        found = {}
        for forget in _FORGETTING:
            directory = tmp_path / forget.__name__
            directory.mkdir()
            shop = Shop(broker, f"{prefix}{forget.__name__}", directory)
            found[forget.__name__] = forgetting(shop, forget)
        return dict(zip(found, await asyncio.gather(*found.values()), strict=True))

    differences = asyncio.run(all_of_them())
    assert not any(differences.values()), differences
