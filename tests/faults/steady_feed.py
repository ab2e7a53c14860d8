"""Feeding a recorded stream at a steady rate, each partition in file order, whatever happens to Kafka.

Part of it is written in transactions; others, of events that must never count, are aborted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from recorded_stream import Stream, junk

STEP_S = 0.1
_LIMIT_S = 300.0


class SteadyFeed:
    """``active`` partitions get events; it can be changed while it runs."""

    def __init__(
        self, broker: str, topic: str, partitions: int, stream: Stream, rate: float, rng: random.Random
    ) -> None:
        self.topic = topic
        self.stream = stream
        self.rate = rate
        self.rng = rng
        self.active = list(range(partitions))
        self.sent = 0
        """Lines that Kafka has."""
        self.abort_next = 0
        """So many events go into a transaction that stays open for a while and is aborted."""
        self.aborted = 0
        self.now_ms = 0
        """Event time of the last event sent."""
        self._broker = broker
        self.may_pass: Callable[[], bool] = lambda: True
        """Asked at a gap: whether what should have happened before it has."""
        self._wanted = asyncio.Event()
        self._held = asyncio.Event()
        self._released = asyncio.Event()
        self._finished = asyncio.Event()

    def _producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._broker,
            compression_type="lz4",
            max_batch_size=3 << 20,
            max_request_size=8 << 20,
            metadata_max_age_ms=500,
            **options,
        )

    async def run(self) -> None:
        self._plain = self._producer(enable_idempotence=True)
        self._transactional = self._producer(transactional_id=f"{self.topic}-feed")
        await self._plain.start()
        await self._transactional.start()
        loop, step = asyncio.get_running_loop(), max(1, round(self.rate * STEP_S))
        gaps = list(self.stream.gaps)
        due_s = loop.time()
        try:
            while self.sent < len(self.stream.lines):
                if gaps and self.sent >= gaps[0]:
                    gaps.pop(0)
                    await self._pause()
                    due_s = max(due_s, loop.time() - 1.0)
                end = min(self.sent + step, *gaps[:1], len(self.stream.lines))
                await self._send(self.stream.lines[self.sent : end])
                due_s += (end - self.sent) / self.rate
                self.sent = end
                await asyncio.sleep(max(0.0, due_s - loop.time()))
        finally:
            self._finished.set()
            self._held.set()
            await self._plain.stop()
            await self._transactional.stop()

    @property
    def is_finished(self) -> bool:
        return self._finished.is_set()

    async def hold(self) -> bool:
        """Pause at the next gap of event time; returns when nothing is under way. False: none is left."""
        self._released.clear()
        self._wanted.set()
        await self._held.wait()
        return not self.is_finished

    async def knows(self, partition: int) -> bool:
        """Whether events can be sent to a partition that was added."""
        producers = (self._plain, self._transactional)
        return all([partition in await producer.partitions_for(self.topic) for producer in producers])

    def release(self) -> None:
        self._wanted.clear()
        self._released.set()

    async def _pause(self) -> None:
        while not self.may_pass() and not self._wanted.is_set():  # noqa: ASYNC110
            await asyncio.sleep(STEP_S)
        if self._wanted.is_set():
            self._held.set()
            await self._released.wait()
            self._held.clear()

    async def _send(self, lines: list[bytes]) -> None:
        """In one batch for each partition, or in one transaction."""
        shares: dict[int, list[bytes]] = {}
        for line in lines:
            shares.setdefault(self.rng.choice(self.active), []).append(line)
            if line.startswith(b'{"ts": 1'):
                self.now_ms = max(self.now_ms, int(orjson.loads(line)["ts"]) if len(line) > 20 else 0)
        async with asyncio.timeout(_LIMIT_S):
            if self.rng.random() < 0.05:
                async with self._transactional.transaction():
                    await self._write(self._transactional, shares)
            else:
                await self._write(self._plain, shares)
            if self.abort_next:
                await self._abort(self.abort_next, 2.0)
                self.abort_next = 0
            elif self.rng.random() < 0.02:
                await self._abort(5, 0.0)

    async def _abort(self, count: int, open_s: float) -> None:
        """Write events to some partitions in a transaction, keep it open for a while, and abort it."""
        shares = {p: [junk(self.rng, self.now_ms)] * count for p in self.rng.sample(self.active, 2)}
        producer = self._transactional
        await producer.begin_transaction()
        await self._write(producer, shares)
        await asyncio.sleep(open_s)
        await producer.abort_transaction()
        self.aborted += 1

    async def _write(self, producer: AIOKafkaProducer, shares: dict[int, list[bytes]]) -> None:
        answers = []
        for partition, lines in shares.items():
            batch = producer.create_batch()
            for line in lines:
                if batch.append(key=None, value=line, timestamp=None) is None:
                    answers.append(await producer.send_batch(batch, self.topic, partition=partition))
                    batch = producer.create_batch()
                    assert batch.append(key=None, value=line, timestamp=None) is not None
            answers.append(await producer.send_batch(batch, self.topic, partition=partition))
        await asyncio.gather(*answers)
