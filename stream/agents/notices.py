"""Deploy events to the owners of the services they are about, by way of the partials: so that an owner knows
at each tick, after every crash, exactly those that it knew before. And change events to who judges them.

At least once: an event is committed when its message is acknowledged, and a repeat is known by the analyses
themselves, whose memory is checkpointed. Event time does not wait for this topic: what is late counts from
the next tick on (docs/canary.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from stream.agents.rules import Rules
from stream.agents.tidings import BadRecords
from stream.agents.watchdog import Turns, Work
from stream.kafka.batches import RecordBatch
from stream.kafka.failures import StaleGenerationError
from stream.kafka.sender import Sender
from stream.model.deploy import ChangeEvent, DeployEvent
from stream.model.stats import Stats
from stream.slo.catalog import partition_of
from stream.wire.deadletter import dead_letter
from stream.wire.notice import pack_deploy, read_change, read_deploy
from stream.wire.partial import encode_notices
from stream.wire.reject import RecordError
from stream.wire.signal import Signal, encode, headers

log = logging.getLogger(__name__)

MAX_STRANGERS = 100
"""Services that are named in the log because nothing analyses them."""


@dataclass(slots=True)
class Reader:
    """One partition of the topic in our hands."""

    tp: TP
    generation: int
    run: int
    end: int
    """Everything below this offset is where it belongs."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Notices:
    """All partitions of the deploy and change events of a worker."""

    def __init__(
        self,
        app: str,
        topics: tuple[str, str, str, str],
        sender: Sender,
        rules: Rules,
        stats: Stats,
        on_change: Callable[[ChangeEvent], Awaitable[None]],
    ) -> None:
        """``topics``: deploy events, change events, partials, dead letters. ``on_change`` returns when the
        change is judged; it may get one twice."""
        self.app = app
        self.deploys, self.changes, self.partials, self.dead_letters = topics
        self.on_change = on_change
        self.sender = sender
        self.rules = rules
        self.stats = stats
        self.readers: dict[TP, Reader] = {}
        self.turns = {topic: Turns() for topic in (self.deploys, self.changes)}
        self._bad_records = BadRecords()
        self._strangers: set[tuple[str, str]] = set()

    async def acquire(self, consumer: Any, tps: list[TP], generation: int) -> None:
        """Read on at the committed offsets; where there is none, or none that is left, from the beginning."""
        begin, end = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)

        async def begun(tp: TP) -> Reader:
            committed = await consumer.committed_offset(tp)
            known = committed is not None and begin[tp] <= committed.offset <= end[tp]
            offset = committed.offset if known else begin[tp]
            return Reader(tp, generation, await consumer.seek_offset(tp, offset), offset)

        self.readers.update(zip(tps, await asyncio.gather(*map(begun, tps)), strict=True))

    def give_up(self, tps: list[TP]) -> None:
        """What was not committed is read again by the next reader, and known as a repeat."""
        for tp in tps:
            self.readers.pop(tp, None)
            self.stats.lag.pop((tp.topic, tp.partition), None)

    def work(self, consumer: Any) -> dict[str, Work]:
        """How far each partition has come, for the watchdog."""
        return {
            f"{tp.topic}[{tp.partition}]": Work(
                reader.end, progress.stable_offset, others_s=self.turns[tp.topic].others_s(tp, reader.end)
            )
            for tp, reader in self.readers.items()
            if (progress := consumer.progress(tp)) is not None
        }

    async def process(self, consumer: Any, tp: TP, batch: RecordBatch) -> None:
        reader = self.readers.get(tp)
        if reader is None or batch.run < reader.run:
            return
        with self.turns[tp.topic].turn(tp):
            await self._process(consumer, reader, batch)

    async def _process(self, consumer: Any, reader: Reader, batch: RecordBatch) -> None:
        tp = reader.tp
        async with reader.lock:
            if self.readers.get(tp) is not reader:
                return
            sent = [
                await self._take(tp, offset, stamp_ms, value)
                for offset, stamp_ms, value in zip(
                    batch.offsets, batch.timestamps_ms, batch.values, strict=True
                )
            ]
            await asyncio.gather(*(one for one in sent if one is not None))
            reader.end = batch.end
            self.stats.lag[tp.topic, tp.partition] = batch.high_water - batch.end
            try:
                await consumer.commit_offset(tp, batch.end, generation=reader.generation)
            except StaleGenerationError as error:
                log.info("%s[%d] went to another worker: %s", tp.topic, tp.partition, error)
                self.readers.pop(tp, None)

    async def _take(
        self, tp: TP, offset: int, stamp_ms: int, value: bytes | None
    ) -> asyncio.Future[Any] | None:
        """On its way to whom it concerns; None if that is nobody."""
        try:
            if tp.topic == self.changes:
                await self.on_change(read_change(value, stamp_ms))
                return None
            event = read_deploy(value, stamp_ms)
        except RecordError as fault:
            return await self._refuse(tp, offset, stamp_ms, value, fault)
        if not self.rules.catalog.heeds_deploys(event.namespace, event.service):
            self._pass_over(event)
            return None
        self.stats.deploy_events["taken"] += 1
        target = partition_of(event.namespace, event.service, self.rules.partitions)
        return await self.sender.send(self.partials, target, None, encode_notices([pack_deploy(event)]))

    def _pass_over(self, event: DeployEvent) -> None:
        """Of a service that no analysis is about, and that is never rolled back."""
        self.stats.deploy_events["not_analysed"] += 1
        service = event.namespace, event.service
        if service not in self._strangers and len(self._strangers) < MAX_STRANGERS:
            self._strangers.add(service)
            log.warning(
                "%s: deploy event %s of %s/%s, which no CanaryAnalysis is about and no autoRollbackThreshold",
                *(self.deploys, event.deployment, *service),
            )

    async def _refuse(
        self, tp: TP, offset: int, stamp_ms: int, value: bytes | None, fault: RecordError
    ) -> asyncio.Future[Any]:
        source = {"topic": tp.topic, "partition": tp.partition, "offset": offset}
        letter = dead_letter(fault.error, fault.detail, source, value, stamp_ms)
        signal = Signal("dead-letters", f"{tp.topic}:{tp.partition}:{offset}", letter)
        self.stats.dead_letters[fault.error] += 1
        self._bad_records.tell(tp.topic, tp.partition, offset, fault.error, fault.detail)
        return await self.sender.send(
            self.dead_letters, None, signal.key.encode(), encode(signal), headers(signal, self.app)
        )
