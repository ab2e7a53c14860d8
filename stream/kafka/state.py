"""State that is exactly as old as what has been published from it: one Kafka transaction for all of it.

The state of a partition lives in the same partition of a compacted topic. It is written only in a
transaction, together with the signals that are due and the offsets that it reflects, by a producer whose
transactional id belongs to that partition: starting one fences every earlier owner. So:

    held = await store.acquire(partition)     # 1. fence, 2. then read what the last owner had committed
    state = decode(held.records)
    await held.checkpoint(changed, signals, {tp: next_offset}, group)
    await held.release()

Why not Faust's tables: their changelog is written beside the offsets, not with them, and what came of it was
measured (83,685 counted of 60,000); over a transactional changelog their recovery waits for ever for the
commit marker. Why one id for each partition: aiokafka has no fencing by group generation (KIP-447).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from stream.kafka.batching import Partitions, Record, send_all
from stream.kafka.failures import FencedError, StateError
from stream.kafka.security import PLAINTEXT, Security
from stream.kafka.sender import BATCH_BYTES, COMPRESSION, MAX_RECORD_BYTES, Headers, mark_failures_as_seen
from stream.wire.parts import Parts

TRANSACTION_TIMEOUT_S = 15.0
"""The broker aborts a transaction that is open for longer. Until then the readers of its topics see nothing
that came after it: it is what a killed worker can cost them when no other takes over at once (which aborts it
too). A checkpoint must take less."""

_FENCED_EARLY_S = 1.0
"""The broker's clock of a transaction may be this far ahead of ours."""
_STALL_LIMIT_S = 30.0
_ABORT_LIMIT_S = 5.0
_POLL_MS = 500
_FETCH_BYTES = 8 << 20
_LINGER_MS = 2


@dataclass(frozen=True, slots=True)
class Signal:
    """A record for an output topic; ``partition`` by its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RestoreStatistics:
    """What an acquisition took; the counts are of all that was read, deleted keys included."""

    fence_s: float
    restore_s: float
    record_count: int
    byte_count: int


@dataclass(slots=True)
class Held:
    """One partition's state in our hands, until another worker acquires it.

    ``records`` is what was committed when it was acquired (key → value, without deleted ones); its reader may
    clear it. After any failure it can only be released.
    """

    partition: int
    records: dict[bytes, bytes]
    restored: RestoreStatistics
    _topic: str
    _producer: AIOKafkaProducer
    _parts: Parts
    _usable: bool = True
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _partitions: Partitions = field(init=False)

    def __post_init__(self) -> None:
        self._partitions = Partitions(self._producer)

    async def checkpoint(
        self,
        state: Mapping[bytes, bytes | None],
        signals: Iterable[Signal],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> None:
        """Commit state records (None deletes), signals and consumed offsets, all or nothing.

        Returns when the transaction is committed. Raises :class:`FencedError` if another worker has taken
        over, :class:`StateError` on anything else: whether it took effect is then unknown until the state is
        acquired anew.
        """
        async with self._lock:
            if not self._usable:
                raise StateError(f"the state of partition {self.partition} is no longer held")
            self._usable = False
            begun_s = time.monotonic()
            try:
                async with asyncio.timeout(TRANSACTION_TIMEOUT_S):
                    await self._transact(state, signals, offsets, group)
            except Exception as error:
                failure = self._explain(error, time.monotonic() - begun_s)
                mark_failures_as_seen(self._producer)
                await self._abort()
                raise failure from error
            self._usable = True

    async def _transact(
        self,
        state: Mapping[bytes, bytes | None],
        signals: Iterable[Signal],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> None:
        producer = self._producer
        await producer.begin_transaction()
        written = [Record(*one) for one in self._parts.split(state)]
        sent = await self._write(self._topic, self.partition, written)
        by_topic: dict[str, list[Signal]] = {}
        for signal in signals:
            by_topic.setdefault(signal.topic, []).append(signal)
        for topic, records in by_topic.items():
            shares: dict[int, list[Record]] = {}
            partitions = await self._partitions.of(topic, [signal.key for signal in records])
            for partition, signal in zip(partitions, records, strict=True):
                record = Record(signal.key, signal.value, signal.headers, signal.timestamp_ms)
                shares.setdefault(partition, []).append(record)
            for partition, share in shares.items():
                sent += await self._write(topic, partition, share)
        if offsets:
            consumed = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
            await producer.send_offsets_to_transaction(consumed, group)
        await asyncio.gather(*sent)  # a record that failed must stop the commit
        await producer.commit_transaction()

    async def _write(self, topic: str, partition: int, records: list[Record]) -> list[asyncio.Future[object]]:
        answers = await send_all(self._producer, topic, partition, records)
        for answer in answers:
            answer.add_done_callback(_see)
        return answers

    def _explain(self, error: Exception, took_s: float) -> StateError | FencedError:
        # aiokafka's sender dies of a fatal error; what is called afterwards fails on an assertion.
        sender = self._producer._sender.sender_task
        fatal = sender.exception() if sender.done() and not sender.cancelled() else None
        for cause in (error, fatal):
            if isinstance(cause, ProducerFenced | InvalidProducerEpoch):
                return FencedError(_why_fenced(self.partition, took_s))
        reason = (
            f"not done within {TRANSACTION_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else repr(error)
        )
        return StateError(f"the checkpoint of partition {self.partition} failed: {reason}")

    async def _abort(self) -> None:
        """Let readers go on at once; the broker would do it after the transaction's timeout."""
        if not self._producer._txn_manager.is_fatal_error():
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ABORT_LIMIT_S):
                    await self._producer.abort_transaction()

    async def release(self) -> None:
        """Close the producer; waits for a checkpoint under way."""
        async with self._lock:
            self._usable = False
            await _close(self._producer)


class StateStore:
    """The state of one app, partition by partition. One for each worker."""

    def __init__(self, brokers: Sequence[str], app: str, topic: str, security: Security = PLAINTEXT) -> None:
        self._client = {"bootstrap_servers": list(brokers), **security.options()}
        self._app = app
        self._topic = topic

    async def acquire(self, partition: int) -> Held:
        """Fence every earlier owner of a partition, then read what it had committed.

        Raises :class:`StateError` if Kafka does not answer. A worker that acquires it at the same time fences
        this one or is fenced: the next checkpoint tells.
        """
        start_s = time.monotonic()
        producer = AIOKafkaProducer(
            **self._client,
            transactional_id=f"{self._app}-{partition}",
            transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1000),
            compression_type=COMPRESSION,
            linger_ms=_LINGER_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
        )
        try:
            async with asyncio.timeout(_STALL_LIMIT_S):
                # Returns once the markers of the last owner's transaction, committed or aborted, are written.
                await producer.start()
            fenced_s = time.monotonic()
            stored, *statistics = await self._restore(partition)
            parts = Parts()
            records = parts.join(stored)
        except BaseException as error:
            await _close(producer)
            if isinstance(error, KafkaError | TimeoutError | ValueError):
                is_late = isinstance(error, TimeoutError)
                reason = f"no answer within {_STALL_LIMIT_S:g} s" if is_late else repr(error)
                raise StateError(f"cannot acquire the state of partition {partition}: {reason}") from error
            raise
        restored = RestoreStatistics(fenced_s - start_s, time.monotonic() - fenced_s, *statistics)
        return Held(partition, records, restored, self._topic, producer, parts)

    async def look(self, partition: int) -> dict[bytes, bytes]:
        """The committed records of a partition, without taking it over.

        Raises :class:`StateError` if Kafka does not answer.
        """
        try:
            stored, _, _ = await self._restore(partition)
            return Parts().join(stored)
        except (KafkaError, ValueError) as error:
            raise StateError(f"cannot read the state of partition {partition}: {error!r}") from error

    async def _restore(self, partition: int) -> tuple[dict[bytes, bytes], int, int]:
        """The committed records of a partition, from its beginning to its end as of now; and how many records
        and bytes were read."""
        tp = TopicPartition(self._topic, partition)
        records: dict[bytes, bytes] = {}
        record_count = byte_count = 0
        consumer = AIOKafkaConsumer(
            **self._client,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        try:
            await consumer.start()
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            position = await consumer.position(tp)
            moved_s = time.monotonic()
            # The last offset is a commit marker, which is never delivered: only the position tells the end.
            while position < max(end, consumer.highwater(tp) or 0):
                found = await consumer.getmany(tp, timeout_ms=_POLL_MS)
                for record in found.get(tp, ()):
                    record_count += 1
                    byte_count += len(record.key) + len(record.value or b"")
                    if record.value is None:
                        records.pop(record.key, None)
                    else:
                        records[record.key] = record.value
                last, position = position, await consumer.position(tp)
                if position > last:
                    moved_s = time.monotonic()
                elif time.monotonic() - moved_s > _STALL_LIMIT_S:
                    raise StateError(
                        f"reading {self._topic}[{partition}] stopped at {position}, below its end {end}"
                    )
        finally:
            await consumer.stop()
        return records, record_count, byte_count


def _why_fenced(partition: int, took_s: float) -> str:
    """The broker aborts what is open for too long, and then refuses its producer as if another had come."""
    reason = f"another worker has taken over the state of partition {partition}"
    if took_s < TRANSACTION_TIMEOUT_S - _FENCED_EARLY_S:
        return reason
    return (
        f"{reason}, or its transaction was aborted: it was open for {took_s:.0f} s, over the limit of "
        f"{TRANSACTION_TIMEOUT_S:g} s; the worker or the broker was too busy"
    )


def _see(answer: asyncio.Future[object]) -> None:
    """What failed is known by the first of them; asyncio would print a traceback for each of the others."""
    if not answer.cancelled():
        answer.exception()


async def _close(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(_ABORT_LIMIT_S):
            await producer.stop()
