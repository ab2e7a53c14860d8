"""Records of one partition between two offsets, for whoever is not their consumer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.kafka.failures import StateError
from stream.kafka.security import PLAINTEXT, Security

_STALL_LIMIT_S = 30.0
_POLL_MS = 500


async def peek(
    brokers: Sequence[str], topic: str, partition: int, begin: int, end: int, security: Security = PLAINTEXT
) -> AsyncIterator[bytes]:
    """The values from ``begin`` (0: from the oldest one) up to ``end``. Raises StateError if some of them are
    gone, or Kafka does not answer."""
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(brokers),
        **security.options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    try:
        await consumer.start()
        consumer.assign([tp])
        oldest = (await consumer.beginning_offsets([tp]))[tp]
        if 0 < begin < oldest:
            raise StateError(f"{topic}[{partition}]: records below {oldest} are gone, {begin} is asked for")
        consumer.seek(tp, position := max(begin, oldest))
        moved_s = time.monotonic()
        while position < end:
            for record in (await consumer.getmany(tp, timeout_ms=_POLL_MS)).get(tp, ()):
                if record.offset < end and record.value is not None:
                    yield record.value
            last, position = position, await consumer.position(tp)
            if position > last:
                moved_s = time.monotonic()
            elif time.monotonic() - moved_s > _STALL_LIMIT_S:
                raise StateError(f"reading {topic}[{partition}] stopped at {position}, below {end}")
    except KafkaError as error:
        raise StateError(f"cannot read {topic}[{partition}]: {error!r}") from error
    finally:
        await consumer.stop()
