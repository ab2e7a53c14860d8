"""Producing request events by the thousand, as a fleet of services would: unkeyed, over every partition.

Records are packed into batches by aiokafka's builder: a tenth of what its ``send`` costs a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from stream.kafka.creation import Topic
from stream.kafka.failures import SendError
from stream.kafka.security import PLAINTEXT, Security
from stream.kafka.sender import COMPRESSION, mark_failures_as_seen
from stream.kafka.topics import Admin

_BATCH_BYTES = 512 << 10
_DELIVERY_LIMIT_S = 60.0


class Feed:
    """Writes to one topic; an async context manager. Entering it creates the topic if it is missing.

    Every call of :meth:`send` shares its events out over all partitions, in turn, so that each partition
    keeps the order of the events and none falls silent. Raises :class:`TopicError` if there can be no topic.
    """

    def __init__(self, brokers: Sequence[str], topic: Topic, security: Security = PLAINTEXT) -> None:
        self._brokers = list(brokers)
        self._security = security
        self._topic = topic
        self._partitions = 0
        self._next = 0

    async def __aenter__(self) -> Feed:
        async with Admin(self._brokers, self._security) as admin:
            self._partitions = await admin.provide(self._topic)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            **self._security.options(),
            enable_idempotence=True,
            compression_type=COMPRESSION,
            max_batch_size=_BATCH_BYTES,
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise SendError(f"cannot write to {self._topic.name}: {error!r}") from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        mark_failures_as_seen(self._producer)
        try:
            async with asyncio.timeout(_DELIVERY_LIMIT_S):
                await self._producer.stop()
        except TimeoutError:
            return  # whatever was not acknowledged has been reported by send

    async def send(self, events: Sequence[bytes]) -> None:
        """Send events and return when the brokers have them all. Raises :class:`SendError`."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            async with asyncio.timeout(_DELIVERY_LIMIT_S):
                for turn in range(self._partitions):
                    partition = (self._next + turn) % self._partitions
                    sent += await self._send_to(partition, events[turn :: self._partitions])
                # Not gather: whoever cancels this call must not cancel what belongs to the producer.
                if sent:
                    await asyncio.wait(sent)
            for answer in sent:
                answer.result()
        except TimeoutError as error:
            raise SendError(f"{self._topic.name}: no answer within {_DELIVERY_LIMIT_S:g} s") from error
        except KafkaError as error:
            raise SendError(f"{self._topic.name}: {error!r}") from error
        self._next = (self._next + len(events)) % self._partitions

    async def _send_to(self, partition: int, events: Sequence[bytes]) -> list[asyncio.Future[RecordMetadata]]:
        sent = []
        batch = self._producer.create_batch()
        for event in events:
            if batch.append(key=None, value=event, timestamp=None) is None:
                batch.close()
                sent.append(await self._producer.send_batch(batch, self._topic.name, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=None, value=event, timestamp=None)
        if batch.record_count():
            batch.close()
            sent.append(await self._producer.send_batch(batch, self._topic.name, partition=partition))
        return sent


async def delete_topics(brokers: Sequence[str], prefix: str) -> None:
    """Delete every topic whose name starts with ``prefix``, which must not be empty."""
    async with Admin(brokers) as admin:
        await admin.delete_topics(prefix)
