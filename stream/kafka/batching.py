"""Many records at once into a transaction: packed into batches by hand, in the order given.

aiokafka's ``send`` costs 20 to 30 µs a record, and its partitioner, murmur2 in Python, as much again for a
key of 40 bytes. A minute of 10,000 objectives is 10,000 records, and most keys come again every minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from stream.kafka.sender import Headers

_MOST_KEYS = 200_000
"""Keys of which a partition is remembered."""
_TURN = 1_000
"""Records packed before others get their turn."""


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None


class Partitions:
    """The partitions of keys, as the producer's own partitioner has them."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._known: dict[tuple[str, int], dict[bytes | None, int]] = {}
        self._keys = 0

    async def of(self, topic: str, keys: Sequence[bytes | None]) -> list[int]:
        """One for each key. Raises KafkaError when the topic is not known."""
        partitions = sorted(await self._producer.partitions_for(topic))
        if self._keys > _MOST_KEYS:
            self._known.clear()
            self._keys = 0
        known = self._known.setdefault((topic, len(partitions)), {})
        found = []
        for key in keys:
            partition = known.get(key)
            if partition is None:
                partition = self._producer._partitioner(key, partitions, partitions)
                if key is not None:
                    known[key] = partition
                    self._keys += 1
            found.append(partition)
        return found


async def send_all(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[Record]
) -> list[asyncio.Future[object]]:
    """Send records to one partition; returns the answers to wait for, one a batch.

    Raises KafkaError: for a record that is larger than a request may be, too, as ``send`` would.
    """
    answers: list[asyncio.Future[object]] = []
    batch = producer.create_batch()
    for number, (key, value, headers, timestamp_ms) in enumerate(records):
        size = len(key or b"") + len(value or b"")
        if size > producer._max_request_size:
            raise MessageSizeTooLargeError(
                f"a record of {size} bytes is larger than the maximum request size"
            )
        fields = {"key": key, "value": value, "headers": list(headers), "timestamp": timestamp_ms}
        if batch.append(**fields) is None:
            answers.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**fields)
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
    if batch.record_count():
        answers.append(await producer.send_batch(batch, topic, partition=partition))
    return answers
