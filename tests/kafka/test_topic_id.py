"""A topic is known by its id, not by its name."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NodeNotReadyError

from stream.kafka.topic_id import topic_id

pytestmark = pytest.mark.broker


async def until_there(client: AIOKafkaAdminClient, topic: str, *, there: bool) -> None:
    async with asyncio.timeout(30):
        while (topic in await client.list_topics()) is not there:  # noqa: ASYNC110 - asked of Kafka
            await asyncio.sleep(0.05)


def test_a_topic_that_was_made_again_has_another_id(broker: str, prefix: str) -> None:
    async def check() -> None:
        client, consumer = (
            AIOKafkaAdminClient(bootstrap_servers=broker),
            AIOKafkaConsumer(bootstrap_servers=broker),
        )
        await client.start()
        await consumer.start()
        try:
            topic, found = f"{prefix}made-again", []
            for _ in range(2):
                await client.create_topics([NewTopic(topic, 1, 1)])
                await until_there(client, topic, there=True)
                found += [await topic_id(consumer, topic), await topic_id(consumer, topic)]
                await client.delete_topics([topic])
                await until_there(client, topic, there=False)
            assert None not in found
            assert found[0] == found[1] != found[2] == found[3]
            assert await topic_id(consumer, topic) is None
        finally:
            await consumer.stop()
            await client.close()

    asyncio.run(check())


def test_brokers_that_are_gone_are_passed_over(
    broker: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=broker)
        await consumer.start()
        try:
            known, send = consumer._client.cluster.brokers(), consumer._client.send
            gone = next(iter(known))._replace(nodeId=99)

            async def sent(node: int, request: object) -> object:
                if node == 99:
                    raise NodeNotReadyError
                return await send(node, request)

            monkeypatch.setattr(consumer._client, "send", sent)
            monkeypatch.setattr(consumer._client.cluster, "brokers", lambda: [gone, *known])
            assert await topic_id(consumer, f"{prefix}nowhere") is None
            monkeypatch.setattr(consumer._client.cluster, "brokers", lambda: [gone])
            with pytest.raises(KafkaError):
                await topic_id(consumer, f"{prefix}nowhere")
        finally:
            await consumer.stop()

    asyncio.run(check())
