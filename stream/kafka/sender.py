"""Sending partials and dead letters: idempotent, acknowledged, bounded.

Order per partition and no duplicates by retrying are the idempotent producer's work. What it does not do is
give up (it retries for ever) or tell anyone but the awaiting caller; both matter here, because a chunk is
committed on the word that its partials have arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from stream.kafka.failures import SendError
from stream.kafka.reconnect import reconnect_patiently
from stream.kafka.security import PLAINTEXT, Security

MAX_RECORD_BYTES = 980_000
"""Of a record's key and value. With its headers, and a batch around it, it fits 1,000,000 bytes, which topics
take wherever nobody has forbidden it."""
BATCH_BYTES = 980_000
"""Before packing, which may make it larger by some bytes."""
COMPRESSION = "zstd"
"""aiokafka packs lz4 at its highest level: 14 times the time for partials, and no smaller."""
Headers = Sequence[tuple[str, bytes]]

_RECORD_OVERHEAD_BYTES = 100
_LOG_APPEND_TIME = 1


class Sender:
    """An idempotent producer whose failures cannot be overlooked.

    ``max_in_flight_bytes`` bounds what is sent and not yet acknowledged; a caller over it waits.
    ``delivery_timeout_s``: a record without acknowledgement for so long has failed. After the first failure
    every call raises :class:`SendError`: later records may not be relied on to follow the lost one.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        security: Security = PLAINTEXT,
        *,
        linger_ms: int = 5,
        max_in_flight_bytes: int = 32 << 20,
        delivery_timeout_s: float = 30.0,
    ) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=list(brokers),
            **security.options(),
            enable_idempotence=True,
            acks="all",
            compression_type=COMPRESSION,
            linger_ms=linger_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
        )
        self._max_in_flight_bytes = max_in_flight_bytes
        self._delivery_timeout_s = delivery_timeout_s
        self._waiting: dict[asyncio.Future[RecordMetadata], int] = {}
        self._settled = asyncio.Event()
        self._failure: SendError | None = None
        self.in_flight_bytes = 0

    async def start(self) -> None:
        reconnect_patiently(self._producer.client)
        await self._producer.start()

    async def stop(self) -> None:
        """Wait for what is in flight, but no longer than for a delivery, and close."""
        try:
            async with asyncio.timeout(self._delivery_timeout_s):
                await self._producer.stop()
        except TimeoutError:
            self._fail(f"not acknowledged within {self._delivery_timeout_s:g} s while stopping")

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Put one record on its way; the future is done when the broker has it (``acks=all``).

        ``partition`` None: by the key, as every Kafka client does. Awaiting the future raises
        :class:`SendError` if the record could not be delivered.
        """
        size = (len(key) if key else 0) + (len(value) if value else 0) + _RECORD_OVERHEAD_BYTES
        await self._wait_for_room(size)
        self.in_flight_bytes += size
        try:
            sent = await self._producer.send(
                topic, value, key=key, partition=partition, headers=list(headers), timestamp_ms=timestamp_ms
            )
        except BaseException as error:
            self.in_flight_bytes -= size
            if isinstance(error, Exception):
                raise self._fail(f"{topic}: {error!r}") from error
            raise
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[RecordMetadata] = loop.create_future()
        self._waiting[acknowledged] = size
        limit = loop.call_later(
            self._delivery_timeout_s, self._fail, f"{topic}: no answer within {self._delivery_timeout_s:g} s"
        )
        sent.add_done_callback(partial(self._on_answer, acknowledged, limit, topic))
        return acknowledged

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged. Raises :class:`SendError` if anything failed."""
        if self._waiting:
            await asyncio.gather(*self._waiting)
        self.check()

    async def _wait_for_room(self, size: int) -> None:
        self.check()
        while self._waiting and self.in_flight_bytes + size > self._max_in_flight_bytes:
            self._settled.clear()
            await self._settled.wait()
            self.check()

    def _on_answer(
        self,
        acknowledged: asyncio.Future[RecordMetadata],
        limit: asyncio.TimerHandle,
        topic: str,
        sent: asyncio.Future[RecordMetadata],
    ) -> None:
        limit.cancel()
        self.in_flight_bytes -= self._waiting.pop(acknowledged, 0)
        error = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        if error is None:
            if not acknowledged.done():
                acknowledged.set_result(sent.result())
        else:
            self._reject(acknowledged, self._fail(f"{topic}: {error!r}"))
        self._settled.set()

    def _fail(self, reason: str) -> SendError:
        """From here on everything fails, what is under way included."""
        mark_failures_as_seen(self._producer)
        if self._failure is None:
            self._failure = SendError(f"a record was not delivered: {reason}")
        for waiting, size in self._waiting.items():
            self._reject(waiting, self._failure)
            self.in_flight_bytes -= size
        self._waiting.clear()
        self._settled.set()
        return self._failure

    @staticmethod
    def _reject(waiting: asyncio.Future[RecordMetadata], failure: SendError) -> None:
        if not waiting.done():
            waiting.set_exception(failure)
            waiting.exception()  # whoever does not await it learns of it by the next call

    def check(self) -> None:
        """Raises :class:`SendError` if anything failed: whoever sends seldom should look now and then."""
        if self._failure is not None:
            raise self._failure


def append_time_ms(sent: RecordMetadata) -> int | None:
    """The broker's stamp on a record (``LogAppendTime``); None where it is the client's, or not known."""
    return sent.timestamp if sent.timestamp_type == _LOG_APPEND_TIME else None


def mark_failures_as_seen(producer: AIOKafkaProducer) -> None:
    """aiokafka leaves futures behind that nobody awaits: asyncio would print a traceback for each."""
    waiters = [producer._txn_manager._transaction_waiter]
    for batches in producer._message_accumulator._batches.values():
        waiters += [batch._drain_waiter for batch in batches]
    for waiter in waiters:
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()
