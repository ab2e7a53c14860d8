"""Reading signals as anyone would who is not a worker: from the beginning, committed ones only, no group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from stream.errors import StalledError
from stream.kafka.security import PLAINTEXT, Security

_MAX_RECORDS = 2_000
_METADATA_MAX_AGE_MS = 2_000
_POLL_MS = 500


class TailError(StalledError):
    """The signals cannot be read, or are not what they should be."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One output record (contract, section 5). ``topic`` is the caller's name of the topic."""

    topic: str
    record: dict[str, Any]


class Tail:
    """Follows topics from their beginning; an async context manager.

    ``topics``: the caller's name → the topic's. They must exist. Raises :class:`TailError` when Kafka cannot
    be read, or a record is no JSON object. ``newest``: of these topics, so many of a partition's last offsets
    are enough for :meth:`up_to_now`.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        topics: Mapping[str, str],
        security: Security = PLAINTEXT,
        newest: Mapping[str, int] | None = None,
    ) -> None:
        self._names = {topic: name for name, topic in topics.items()}
        self._newest = newest or {}
        self._client = {"bootstrap_servers": list(brokers), **security.options(), "group_id": None}
        self._asking: AIOKafkaConsumer | None = None
        """Asks where topics end, open transactions included, and reads nothing."""
        self._consumer = AIOKafkaConsumer(
            *self._names,
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        )

    async def __aenter__(self) -> Tail:
        try:
            await self._consumer.start()
        except KafkaError as error:
            await self._consumer.stop()
            raise TailError(f"cannot read the signals: {error!r}") from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._consumer.stop()
        if self._asking is not None:
            await self._asking.stop()

    async def read(self, wait_s: float) -> list[Signal]:
        """The next signals, each topic's partition in order; none if nothing comes within ``wait_s``."""
        try:
            found = await self._consumer.getmany(timeout_ms=round(wait_s * 1000), max_records=_MAX_RECORDS)
        except KafkaError as error:
            raise TailError(f"cannot read the signals: {error!r}") from error
        return self._signals(found)

    async def up_to_now(self) -> AsyncIterator[list[Signal]]:
        """What was committed by now and has not been read; of topics in ``newest`` what is left out is left
        out for good.

        Transactions that are open now are waited for: one is committed a while before the markers are written
        that let readers see it.
        """
        try:
            ends = await self._ends()
            for tp, end in ends.items():
                first = end - self._newest.get(self._names[tp.topic], end)
                if await self._consumer.position(tp) < first:
                    self._consumer.seek(tp, first)
            # The last offset is a commit marker, which is never delivered: only the position tells the end.
            while behind := [tp for tp, end in ends.items() if await self._consumer.position(tp) < end]:
                yield self._signals(
                    await self._consumer.getmany(*behind, timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
                )
        except KafkaError as error:
            raise TailError(f"cannot read the signals: {error!r}") from error

    async def _ends(self) -> dict[Any, int]:
        if self._asking is None:
            asking = AIOKafkaConsumer(**self._client, isolation_level="read_uncommitted")
            try:
                await asking.start()
            except KafkaError:
                await asking.stop()
                raise
            self._asking = asking
        found: dict[Any, int] = await self._asking.end_offsets(list(self._consumer.assignment()))
        return found

    def _signals(self, found: Mapping[Any, Sequence[Any]]) -> list[Signal]:
        return [
            Signal(self._names[tp.topic], _parsed(tp.topic, message.value))
            for tp, messages in found.items()
            for message in messages
            if message.value is not None  # a deletion
        ]


def _parsed(topic: str, value: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise TailError(f"a record of topic {topic} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise TailError(f"a record of topic {topic} is not a JSON object")
    return record
