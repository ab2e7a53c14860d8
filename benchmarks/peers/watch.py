"""Following what a job puts out, into its ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.peers.ledger import Ledger
from benchmarks.peers.load import Load
from benchmarks.peers.peer import Peer, Run

FIRST_LIMIT_S = 120.0
"""For a job to start, or start again, and say something new."""
QUIET_S = 20.0
"""After so long without a word a job is taken to have said everything."""
_POLL_MS = 100
_DRAIN_MS = 2_000


class Watch:
    """Reads a job's output topic from its beginning; an async context manager."""

    def __init__(self, peer: Peer, run: Run, load: Load, ledger: Ledger, check: Callable[[], None]) -> None:
        self._peer, self._run, self._load = peer, run, load
        self.ledger = ledger
        self._consumer: AIOKafkaConsumer | None = None
        self.check = check

    async def __aenter__(self) -> Watch:
        topic = self._run.prefix + self._peer.output
        await _topic_exists(self._run.broker, topic, self.check)
        self._consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self._run.broker,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def until(self, done: Callable[[Ledger], bool], limit_s: float) -> None:
        """Until ``done``, or nothing more is said, or the time is up (which is an error)."""
        begun_s = time.monotonic()
        said_s: float | None = None
        while not done(self.ledger):
            self.check()
            now_s = time.monotonic()
            if await self._read():
                said_s = now_s
            if now_s - begun_s > limit_s or (said_s is None and now_s - begun_s > FIRST_LIMIT_S):
                raise TimeoutError(
                    f"after {now_s - begun_s:.0f} s it had counted {self.ledger.counted:,} "
                    f"of {self.ledger.expected:,} events"
                )
            if said_s is not None and now_s - said_s > QUIET_S:
                return

    async def drain(self) -> None:
        """Read what is there, so that anything later was said later. For when the job does not run."""
        while await self._read(_DRAIN_MS):
            pass

    async def _read(self, wait_ms: int = _POLL_MS) -> bool:
        assert self._consumer is not None
        found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=5_000)
        at_s = time.time()
        for records in found.values():
            for record in records:
                emission = self._peer.read(orjson.loads(record.value)) if record.value else None
                if emission is not None and emission.end_ms <= self._load.minute_ms:
                    self.ledger.add(emission, at_s)
        return bool(found)


async def _topic_exists(broker: str, topic: str, check: Callable[[], None]) -> None:
    async def there(admin: AIOKafkaAdminClient) -> None:
        async with asyncio.timeout(FIRST_LIMIT_S):
            while topic not in await admin.list_topics():
                check()
                await asyncio.sleep(0.1)

    await _administer(broker, there)


async def create(broker: str, topic: str) -> None:
    """An output topic of one partition: then the newest statement is the last in it."""

    async def made(admin: AIOKafkaAdminClient) -> None:
        arrival = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=arrival)])

    await _administer(broker, made)


async def clear(broker: str) -> None:
    """Delete every topic but the inputs, and wait until they are gone."""

    async def gone(admin: AIOKafkaAdminClient) -> None:
        while others := [
            name
            for name in await admin.list_topics()
            if not name.endswith("request-events") and not name.startswith("__")
        ]:
            await admin.delete_topics(others)
            await asyncio.sleep(0.2)

    await _administer(broker, gone)


async def _administer(broker: str, task: Callable[[AIOKafkaAdminClient], Awaitable[None]]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await task(admin)
    finally:
        await admin.close()
