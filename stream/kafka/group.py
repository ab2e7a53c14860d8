"""Offsets of the consumer group, committed by our own hand.

aiokafka's own ``commit`` retries with whatever generation the group has by then, and with none at all after
it has lost its session (which a group without members accepts): a worker could so overwrite the offset of a
partition's next owner. Here every attempt is made in the generation that the caller means, or not at all.

Runs in the event loop of the consumer.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from stream.kafka.failures import CommitError, StaleGenerationError

_RETRY_S = 0.1


class Committed(NamedTuple):
    offset: int
    metadata: str


async def commit_offset(
    consumer: AIOKafkaConsumer, tp: TopicPartition, committed: Committed, generation: int, timeout_s: float
) -> None:
    """Commit one offset with its metadata as a member of ``generation``.

    Raises :class:`StaleGenerationError` if the group has moved on or the partition is not assigned,
    :class:`CommitError` if the coordinator refuses or does not answer in time.
    """
    coordinator = consumer._coordinator
    offsets = {TopicPartition(*tp): OffsetAndMetadata(*committed)}
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                await coordinator.ensure_coordinator_known()
                async with coordinator._commit_lock:
                    # No await between this check and the building of the request.
                    _check_membership(consumer, tp, generation)
                    assignment = consumer._subscription.subscription.assignment
                    try:
                        await coordinator._do_commit_offsets(assignment, offsets)
                        return
                    except (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError) as error:
                        raise StaleGenerationError(_message(tp, committed, error)) from error
                    except KafkaError as error:
                        if not error.retriable:
                            raise CommitError(_message(tp, committed, error)) from error
                await asyncio.sleep(_RETRY_S)
    except TimeoutError as error:
        raise CommitError(_message(tp, committed, f"no answer within {timeout_s:g} s")) from error


async def committed_offset(
    consumer: AIOKafkaConsumer, tp: TopicPartition, timeout_s: float
) -> Committed | None:
    """The group's offset and metadata of a partition, None if there is none.

    Raises :class:`CommitError` if the coordinator does not answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            found = await consumer._coordinator.fetch_committed_offsets([TopicPartition(*tp)])
    except (TimeoutError, KafkaError) as error:
        reason = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else error
        raise CommitError(f"cannot read the offset of {tp.topic}[{tp.partition}]: {reason}") from error
    if tp not in found:
        return None
    return Committed(found[tp].offset, found[tp].metadata or "")


def _check_membership(consumer: AIOKafkaConsumer, tp: TopicPartition, generation: int) -> None:
    current = consumer._coordinator.generation
    if generation < 0 or current != generation:
        raise StaleGenerationError(
            f"{tp.topic}[{tp.partition}]: assigned in generation {generation}, the group is at {current}"
        )
    if not consumer._subscription.is_assigned(tp):
        raise StaleGenerationError(f"{tp.topic}[{tp.partition}] is not assigned to this worker")


def _message(tp: TopicPartition, committed: Committed, reason: object) -> str:
    return f"offset {committed.offset} of {tp.topic}[{tp.partition}] was not committed: {reason}"
