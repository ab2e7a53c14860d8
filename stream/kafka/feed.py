"""Producing request events by the thousand, as a fleet of services would: unkeyed, over every partition.

Records are packed into batches by aiokafka's builder: a tenth of what its ``send`` costs a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import RecordMetadata

from stream.kafka.failures import SendError, TopicError
from stream.kafka.sender import mark_failures_as_seen
from stream.kafka.topics import Topic

_BATCH_BYTES = 512 << 10
_DELIVERY_LIMIT_S = 60.0
_MAX_COPIES = 3
_APPEARANCE_LIMIT_S = 30.0
_APPEARANCE_POLL_S = 0.1


class Feed:
    """Writes to one topic; an async context manager. Entering it creates the topic if it is missing.

    Every call of :meth:`send` shares its events out over all partitions, in turn, so that each partition
    keeps the order of the events and none falls silent. Raises :class:`TopicError` if there can be no topic.
    """

    def __init__(self, brokers: Sequence[str], topic: Topic) -> None:
        self._brokers = list(brokers)
        self._topic = topic
        self._partitions = 0
        self._next = 0

    async def __aenter__(self) -> Feed:
        self._partitions = await _partitions(self._brokers, self._topic)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            enable_idempotence=True,
            compression_type="lz4",
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
    assert prefix, "an empty prefix would delete every topic"
    admin = AIOKafkaAdminClient(bootstrap_servers=list(brokers))
    try:
        await admin.start()
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if names:
            await admin.delete_topics(names)
    except KafkaError as error:
        raise TopicError(f"cannot delete the topics {prefix}*: {error!r}") from error
    finally:
        await admin.close()


async def _partitions(brokers: list[str], topic: Topic) -> int:
    """How many partitions the topic has; it is created if there is no such topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    try:
        await admin.start()
        count = await _count(admin, topic.name)
        if count:
            return count
        await _create(admin, topic)
        async with asyncio.timeout(_APPEARANCE_LIMIT_S):
            while True:
                if count := await _count(admin, topic.name):
                    return count
                await asyncio.sleep(_APPEARANCE_POLL_S)
    except KafkaError as error:
        raise TopicError(f"cannot prepare topic {topic.name}: {error!r}") from error
    except TimeoutError as error:
        raise TopicError(f"topic {topic.name} is not ready after {_APPEARANCE_LIMIT_S:g} s") from error
    finally:
        await admin.close()


async def _count(admin: AIOKafkaAdminClient, name: str) -> int:
    """The number of partitions that can be written to; 0 while that is not all of them."""
    # Asking for a topic by its name could create it, where the broker creates topics by itself.
    for topic in await admin.describe_topics():
        if topic["topic"] == name and topic["error_code"] == 0:
            partitions = topic["partitions"]
            return len(partitions) if all(p["leader"] >= 0 for p in partitions) else 0
    return 0


async def _create(admin: AIOKafkaAdminClient, topic: Topic) -> None:
    brokers = (await admin.describe_cluster())["brokers"]
    copies = min(_MAX_COPIES, len(brokers))
    new = NewTopic(topic.name, topic.partitions, copies, topic_configs=dict(topic.config))
    for name, code, message in (await admin.create_topics([new])).topic_errors:
        error = for_code(code)
        if code != 0 and error is not TopicAlreadyExistsError:  # another was quicker
            raise TopicError(f"topic {name} cannot be created: {message or error.__name__}")
