"""Stage one: fetched batches of request events to partials and dead letters (``slo/intake.py`` decides).

A source offset is committed only at a chunk's end, and nothing of the next chunk is sent before everything of
this one is acknowledged: so whatever is read again is recognised as a repeat.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka.structs import RecordMetadata
from faust.types import TP
from msgspec.structs import replace

from stream.agents.beginning import Beginnings, Fence, Noted, Remember
from stream.agents.evidence import Present, Stamps
from stream.agents.rules import Rules
from stream.agents.tidings import BadRecords, Strangers
from stream.agents.watchdog import Turns, Work
from stream.errors import StalledError
from stream.kafka.batches import RecordBatch
from stream.kafka.failures import StaleGenerationError
from stream.kafka.sender import Sender, append_time_ms
from stream.model.stats import Stats
from stream.slo.intake import Intake, Refused, Sending
from stream.wire.deadletter import dead_letter
from stream.wire.partial import Report, encode_reports
from stream.wire.pieces import split
from stream.wire.signal import Signal, encode, headers
from stream.words import lasting

log = logging.getLogger(__name__)

IDLE_AFTER_S = 10.0
"""So long after its last record a partition that is read to its end counts as idle (contract, section 3)."""
HEARTBEAT_S = 1.0
STAMP_MAX_AGE_S = 10.0
"""A reader asks for a newer stamp of a broker before it reads on."""
WARN_EVERY_S = 60.0


@dataclass(slots=True)
class Reader:
    """One source partition in our hands."""

    tp: TP
    generation: int
    run: int
    """Batches of earlier runs were fetched before the seek to where we begin, and are not ours."""
    noted: Noted
    """Goes with every offset that is committed."""
    intake: Intake
    last_record_s: float = field(default_factory=time.monotonic)
    """When a record came that could move time."""
    told_s: float = 0.0
    """When the fetch was asked for that the newest report of idleness rests on."""
    noted_end: int | None = None
    """End of the open chunk as it is noted beside the committed offset."""
    unacknowledged: list[asyncio.Future[Any]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Ingest:
    """All source partitions of a worker."""

    def __init__(
        self,
        app: str,
        topics: tuple[str, str, str],
        sender: Sender,
        rules: Rules,
        stats: Stats,
        lateness_ms: int,
        start: str,
        remember: Remember,
        fence: Fence,
    ) -> None:
        """``topics``: request events, partials, dead letters. ``start``: earliest or latest. ``remember``:
        where the state says that the sources were left, by partition. ``fence``: ends epochs."""
        self.app = app
        self.requests, self.partials, self.dead_letters = topics
        self.sender = sender
        self.rules = rules
        self.stats = stats
        self.lateness_ms = lateness_ms
        self._beginnings = Beginnings(self.requests, start, remember, fence)
        self.readers: dict[TP, Reader] = {}
        self._stamps = [Stamps() for _ in range(rules.partitions)]
        """Of the partitions of the partials topic."""
        self._taking_over = 0
        """How many calls of :meth:`acquire` look for where to begin: the consumer has a limit for that."""
        self.turns = Turns()
        self._strangers, self._bad_records = Strangers(), BadRecords()
        self._present = Present()
        self._warned_s = -WARN_EVERY_S
        """When it was last said that an event is ahead of the clock."""
        self.beats = 0
        """How often idleness was looked for, partition by partition."""

    # ownership

    async def acquire(self, consumer: Any, tps: list[TP], generation: int) -> None:
        """Begin to read at the committed offsets; where there is none, at a resolved and committed start."""
        self._taking_over += 1
        try:
            found = await self._beginnings.find(consumer, tps, generation)
        finally:
            self._taking_over -= 1
        runs = await asyncio.gather(*(consumer.seek_offset(tp, begun.offset) for tp, begun in found.items()))
        for (tp, begun), run in zip(found.items(), runs, strict=True):
            term = begun.noted.term + generation
            intake = Intake(
                tp.partition, begun.noted.epoch, begun.offset, term, self.rules.lexicon, self.lateness_ms
            )
            self.readers[tp] = Reader(tp, generation, run, begun.noted, intake)

    def give_up(self, tps: list[TP]) -> None:
        """Drop what belongs to partitions; what was not committed is read again by their next reader."""
        for tp in tps:
            self.readers.pop(tp, None)
            self.stats.lag.pop((tp.topic, tp.partition), None)

    # records

    async def process(self, consumer: Any, tp: TP, batch: RecordBatch) -> None:
        reader = self.readers.get(tp)
        if reader is None or batch.run < reader.run:
            return
        with self.turns.turn(tp):
            await self._process(consumer, reader, batch)

    async def _process(self, consumer: Any, reader: Reader, batch: RecordBatch) -> None:
        tp = reader.tp
        async with reader.lock:
            if self.readers.get(tp) is not reader:
                return
            if batch.run > reader.run:
                await self._skip_deleted(consumer, reader, batch)
            try:
                await self._feed(consumer, reader, batch)
            except StaleGenerationError as error:
                self._lose(reader, error)

    def _lose(self, reader: Reader, error: StaleGenerationError) -> None:
        log.info("%s[%d] went to another worker: %s", reader.tp.topic, reader.tp.partition, error)
        self.readers.pop(reader.tp, None)

    async def _skip_deleted(self, consumer: Any, reader: Reader, batch: RecordBatch) -> None:
        """The broker deleted records before they were read: end the chunk here, go on behind the hole.

        Raises StalledError if offsets went back: what is to be read then is found out by a new start.
        """
        if batch.begin < reader.intake.end:
            name = f"{reader.tp.topic}[{reader.tp.partition}]"
            raise StalledError(
                f"{name} was read up to {reader.intake.end}, now it goes on at {batch.begin}: made again?"
            )
        log.error(
            "%s[%d]: records %d to %d were deleted before they were read: retention is too short",
            *(reader.tp.topic, reader.tp.partition, reader.intake.end, batch.begin),
        )
        if (sending := reader.intake.flush()) is not None:
            await self._dispatch(reader, sending)
        await self._acknowledged(reader)
        await self._commit(consumer, reader, batch.begin)
        reader.run = batch.run
        reader.intake = reader.intake.restarted(batch.begin)

    async def _feed(self, consumer: Any, reader: Reader, batch: RecordBatch) -> None:
        await self._renew_stamp(reader)
        started_s = time.monotonic()
        intake, before = reader.intake, reader.intake.events
        ahead = intake.ahead.count
        self._tell_time(intake)
        lexicon = self.rules.lexicon
        folded = lexicon.interner.fold_count
        assert batch.begin == intake.end, f"{reader.tp}: a hole from {intake.end} to {batch.begin}"
        for out in intake.feed(
            batch.begin, batch.end, batch.offsets, batch.timestamps_ms, batch.values, lexicon
        ):
            if isinstance(out, Refused):
                await self._refuse(reader, out)
            else:
                await self._dispatch(reader, out)
                if out.committable is not None:
                    await self._acknowledged(reader)
                    await self._commit(consumer, reader, out.committable)
            await asyncio.sleep(0)
        moving = intake.events - before - (intake.ahead.count - ahead)
        if moving:
            reader.last_record_s = started_s
        self.stats.events += intake.events - before
        self.stats.future += intake.ahead.count - ahead
        self._warn_of_ahead(reader)
        self.stats.series_overflow += lexicon.interner.fold_count - folded
        self.stats.batch_events.observe(len(batch.values))
        self.stats.batch_seconds.observe(time.monotonic() - started_s)
        self.stats.lag[reader.tp.topic, reader.tp.partition] = batch.high_water - batch.end
        self.stats.progress_at_s = time.time()

    async def _renew_stamp(self, reader: Reader) -> None:
        """A message without contents dates what is read next, when nothing else was acknowledged lately."""
        if self._present.age_s(time.monotonic()) > STAMP_MAX_AGE_S:
            await (await self._send(reader.tp.partition % self.rules.partitions, encode_reports([])))

    def _tell_time(self, intake: Intake) -> None:
        intake.stamp_ms, intake.present_ms = self._present.stamp_ms, self._present.at(time.monotonic())

    def _warn_of_ahead(self, reader: Reader) -> None:
        ahead, now_s = reader.intake.ahead, time.monotonic()
        if ahead.offset >= 0 and now_s - self._warned_s >= WARN_EVERY_S:
            self._warned_s = now_s
            log.warning(
                "%s[%d]: the event at offset %d is %s ahead of the brokers' clock: it moves no time; is a "
                "producer's clock fast?",
                *(reader.tp.topic, reader.tp.partition, ahead.offset, lasting(ahead.by_ms / 1000)),
            )
            ahead.offset = -1

    async def _commit(self, consumer: Any, reader: Reader, offset: int, sent: int | None = None) -> None:
        metadata = dataclasses.replace(reader.noted, sent=sent).encode()
        await consumer.commit_offset(reader.tp, offset, metadata, generation=reader.generation)

    async def _dispatch(self, reader: Reader, sending: Sending) -> None:
        report: bytes | None = None
        self.stats.count_unmatched(sending.unmatched)
        self._strangers.tell(sending.unmatched, self.rules.ruleset)
        for target in range(self.rules.partitions):
            message = sending.messages.get(target)
            if message is None:
                message = report = report or encode_reports([sending.report])
            for piece in split(message, sending.report):
                reader.unacknowledged.append(await self._send(target, piece))
            self.stats.partials_sent += 1
        reader.unacknowledged = [future for future in reader.unacknowledged if not _settled(future)]

    async def _send(self, target: int, message: bytes) -> asyncio.Future[RecordMetadata]:
        """One record of the partials topic on its way; its acknowledgement dates later evidence."""
        sent = await self.sender.send(self.partials, target, None, message)
        sent.add_done_callback(partial(self._on_acknowledged, target))
        return sent

    def _on_acknowledged(self, target: int, sent: asyncio.Future[RecordMetadata]) -> None:
        if _settled(sent) and (stamp_ms := append_time_ms(sent.result())) is not None:
            now_s = time.monotonic()
            self._stamps[target].add(now_s, stamp_ms)
            self._present.add(now_s, stamp_ms)

    async def _refuse(self, reader: Reader, refused: Refused) -> None:
        tp, reject = reader.tp, refused.reject
        source = {"topic": tp.topic, "partition": tp.partition, "offset": refused.offset}
        value = dead_letter(reject.error, reject.detail, source, refused.value, refused.timestamp_ms)
        signal = Signal("dead-letters", f"{tp.topic}:{tp.partition}:{refused.offset}", value)
        reader.unacknowledged.append(
            await self.sender.send(
                self.dead_letters, None, signal.key.encode(), encode(signal), headers(signal, self.app)
            )
        )
        self.stats.dead_letters[reject.error] += 1
        self._bad_records.tell(tp.topic, tp.partition, refused.offset, reject.error, reject.detail)

    async def _acknowledged(self, reader: Reader) -> None:
        """Wait until the broker has everything that was sent. Raises SendError if something was lost."""
        await asyncio.gather(*reader.unacknowledged)
        reader.unacknowledged.clear()

    def work(self, consumer: Any) -> dict[str, Work]:
        """How far each partition and the heartbeat have come, for the watchdog; notes what is to be read."""
        found = {
            "heartbeat": Work(
                self.beats, self.beats + 1, "nothing was found out of which partitions are idle"
            )
        }
        for tp in sorted(consumer.assigned):
            name, reader = f"{tp.topic}[{tp.partition}]", self.readers.get(tp)
            if tp.topic != self.requests:
                continue
            if reader is None and self._taking_over:
                continue
            if reader is None:
                found[f"{name} unread"] = Work(
                    0, 1, f"{name} is assigned to this worker, which does not read it"
                )
            elif (progress := consumer.progress(tp)) is not None:
                done = reader.intake.end
                others_s = self.turns.others_s(tp, done)
                found[name] = Work(done, progress.stable_offset, others_s=others_s)
                self.stats.lag[tp.topic, tp.partition] = max(0, progress.stable_offset - reader.intake.end)
        return found

    # idleness

    async def heartbeat(self, consumer_of: Callable[[], Any]) -> None:
        """For ever: tell stage two which partitions are idle, and as of when; and what the clock held back.

        A heartbeat's acknowledgement dates the evidence of the next one, where nothing else is sent.
        """
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.beats += 1
            idle = []
            for reader in list(self.readers.values()):
                await self._catch_up_with_clock(reader)
                if (found := await self._idle(consumer_of(), reader)) is not None:
                    idle.append(found)
                self.beats += 1
            if idle:
                await self._report(idle)

    async def _catch_up_with_clock(self, reader: Reader) -> None:
        """An event a little ahead of the brokers' clock passes its tick when the clock does."""
        if reader.lock.locked():
            return  # something of it is being read, which looks at the clock itself
        async with reader.lock:
            self._tell_time(reader.intake)
            if self.readers.get(reader.tp) is reader and (sending := reader.intake.held_back()) is not None:
                await self._dispatch(reader, sending)

    async def _idle(self, consumer: Any, reader: Reader) -> tuple[Report, float] | None:
        """A report to be dated, and when the fetch that shows idleness was asked for.

        None unless everything is read, sent and acknowledged, quiet for long enough, and shown anew: while
        Kafka does not answer there is nothing to tell.
        """
        if reader.lock.locked():
            return None  # something of it is being read
        async with reader.lock:
            progress = consumer.progress(reader.tp)
            quiet = (
                progress is not None
                and self.readers.get(reader.tp) is reader
                and progress.caught_up
                and progress.position == reader.intake.end
                and progress.asked_s >= reader.last_record_s + IDLE_AFTER_S
                and progress.asked_s > reader.told_s
            )
            if not quiet:
                return None
            if (sending := reader.intake.flush()) is not None:
                await self._dispatch(reader, sending)
            await self._acknowledged(reader)
            try:
                await self._note_sent(consumer, reader)
            except StaleGenerationError as error:
                self._lose(reader, error)
                return None
            reader.told_s = progress.asked_s
            return reader.intake.report(), progress.asked_s

    async def _note_sent(self, consumer: Any, reader: Reader) -> None:
        """Note beside the committed offset, which stays at the open chunk's start, how far it was sent.

        The chunk of a quiet partition may stay open until retention deletes its records. Read again from the
        oldest one that is left they would be counted twice.
        """
        intake = reader.intake
        if intake.start < intake.end != reader.noted_end:
            await self._commit(consumer, reader, intake.start, sent=intake.end)
            reader.noted_end = intake.end

    async def _report(self, idle: list[tuple[Report, float]]) -> None:
        for target in range(self.rules.partitions):
            stamps = self._stamps[target]
            dated = [replace(report, idle_as_of_ms=stamps.before(asked_s)) for report, asked_s in idle]
            await self._send(target, encode_reports(dated))


def _settled(future: asyncio.Future[Any]) -> bool:
    """Acknowledged. A failure stays, for whoever waits for the chunk to see it."""
    return future.done() and not future.cancelled() and future.exception() is None
