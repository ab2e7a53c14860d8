"""The Faust transport that delivers one message per :class:`~stream.kafka.batches.RecordBatch`.

Faust keeps what it is good at: joining the group, rebalances, agents, starting and stopping. What it does per
record, and its own commits, are replaced here. Each override names the fault that it keeps away; numbers are
issues of faust-streaming/faust.

Faust runs the aiokafka consumer in a thread with an event loop of its own (see
:mod:`stream.kafka.consumer_thread`); every call below that reaches it goes through
:meth:`Consumer._in_thread`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, KafkaTimeoutError, RequestTimedOutError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from stream.errors import InvariantError, StalledError
from stream.kafka.batches import RecordBatch
from stream.kafka.consumer_thread import ConsumerThread
from stream.kafka.failures import StaleGenerationError, UnavailableError
from stream.kafka.fetching import Progress
from stream.kafka.group import Committed, commit_offset, committed_offset
from stream.kafka.topic_id import topic_id

T = TypeVar("T")
NO_GENERATION = -1

_POLL_S = 1.0  # how long one call waits for the broker
_FULL_POLL_S = 0.01  # the same while an agent's queue is full, and so how soon room in it is noticed
_JOINING_CHECK_S = 1.0
_TAKE_OVER_LIMIT_S = 120.0
"""The group does not wait for it, as it does for giving up: members are only slow to begin."""

AssignmentHook = Callable[[frozenset[TP], int], Awaitable[None]]


class Consumer(driver.Consumer):  # type: ignore[misc]  # Faust is untyped here
    """A Faust consumer for topics of batches, with explicit commits and seeks for its agents.

    ``generation`` is the group generation in which the partitions assigned at this moment are held, or
    ``NO_GENERATION`` between giving them up and the next assignment. An agent that finds it changed after an
    ``await`` must drop what it was about to do. All partitions are given up and assigned anew in every
    rebalance, and reading then begins at the committed offset.
    """

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.generation = NO_GENERATION
        self.deliveries = 0
        """How often batches were asked for."""
        self.assignments = 0
        self._assigned: frozenset[TP] = frozenset()
        self._giving_up = asyncio.Lock()
        self._timeout_s: float = self.app.conf.broker_request_timeout

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """``work``'s result, out of the consumer's thread. Raises :class:`UnavailableError` if Kafka refused
        it, or the thread has ended: work beside the agents may outlive it when the worker stops."""
        loop = self._thread.thread_loop
        try:
            answer = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError as error:
            work.close()
            if not loop.is_closed():
                raise
            raise UnavailableError("the consumer has stopped") from error
        try:
            return await asyncio.wrap_future(answer)
        except (KafkaTimeoutError, RequestTimedOutError) as error:
            raise UnavailableError(f"Kafka gave no answer within {self._timeout_s:g} s: {error!r}") from error
        except KafkaError as error:
            raise UnavailableError(f"Kafka does not answer as it should: {error!r}") from error

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch_joining(self) -> None:
        """A group that cannot be joined (the broker refuses the session timeout, or rights) ends the worker.

        aiokafka tells whoever fetches, and Faust fetches only after the first assignment: it would wait for
        that for ever, in good health.
        """

        async def check(consumer: AIOKafkaConsumer) -> None:
            if consumer._coordinator is not None:
                consumer._coordinator.check_errors()

        while not self.should_stop and self.generation == NO_GENERATION:
            await self.sleep(_JOINING_CHECK_S)
            consumer = self._thread._consumer
            if consumer is None or self.should_stop:
                continue
            failure: UnavailableError | None = None
            try:
                await self._in_thread(check(consumer))
            except UnavailableError as error:
                failure = UnavailableError(f"the group cannot be joined: {error.__cause__!r}")
            if failure is not None:
                await self.app.crash(failure)
                return

    # What agents use

    async def commit_offset(
        self, tp: TP, offset: int, metadata: str = "", *, generation: int | None = None
    ) -> None:
        """Commit where the next owner of ``tp`` begins to read; returns once the coordinator has it.

        ``generation``: the one in which the work was done; default: the present one. Raises
        :class:`StaleGenerationError` if it is over, :class:`CommitError` otherwise.
        """
        member_of = self.generation if generation is None else generation
        if member_of != self.generation:
            raise StaleGenerationError(
                f"{tp.topic}[{tp.partition}] was given up: offset {offset} is not committed"
            )
        committed = Committed(offset, metadata)
        consumer = self._thread._ensure_consumer()
        await self._in_thread(commit_offset(consumer, tp, committed, member_of, self._timeout_s))

    async def committed_offset(self, tp: TP) -> Committed | None:
        """The group's (offset, metadata) of a partition, as the coordinator knows it now."""
        return await self._in_thread(committed_offset(self._thread._ensure_consumer(), tp, self._timeout_s))

    async def pause(self, tp: TP) -> None:
        """Read nothing of a partition until :meth:`seek_offset`. Raises :class:`StaleGenerationError` if it
        is not assigned."""

        async def pause() -> None:
            self._thread.batches().pause(tp)

        await self._in_thread(pause())

    async def seek_offset(self, tp: TP, offset: int) -> int:
        """Read on at ``offset``; returns the ``run`` of the batches that will follow.

        Batches with a smaller run were fetched before: drop them. One with a larger run means that the broker
        no longer has ``offset``. Raises :class:`StaleGenerationError` if ``tp`` is not assigned.
        """

        async def seek() -> int:
            return self._thread.batches().seek(tp, offset)

        return await self._in_thread(seek())

    def progress(self, tp: TP) -> Progress | None:
        """How far reading has come; None until the first successful fetch in this assignment."""
        fetcher = self._thread.fetcher
        return None if fetcher is None else fetcher.progress.get(tp)

    @property
    def assigned(self) -> frozenset[TP]:
        return self._assigned

    @property
    def is_joining(self) -> bool:
        """Whether partitions were given up, or never had, and the next assignment is waited for."""
        return self.generation == NO_GENERATION

    @property
    def is_delivering(self) -> bool:
        return bool(self.flow_active) and not self.is_joining

    @property
    def waiting_since_s(self) -> float:
        """Since when a fetch is left without an answer; infinite if none is, or none could be asked for."""
        fetcher = self._thread.fetcher
        return math.inf if fetcher is None or self.generation == NO_GENERATION else fetcher.waiting_since_s

    @property
    def answered_s(self) -> float:
        """When a fetch was last answered."""
        fetcher = self._thread.fetcher
        return -math.inf if fetcher is None else fetcher.answered_s

    async def beginning_offsets(self, tps: Iterable[TP]) -> Mapping[TP, int]:
        """The oldest offset of each partition; they need not be assigned."""
        found = await self._in_thread(self._thread._ensure_consumer().beginning_offsets(list(tps)))
        return {TP(*tp): offset for tp, offset in found.items()}

    async def offset_at(self, tp: TP, time_ms: int) -> int | None:
        """The first offset whose record has this timestamp or a later one; None if there is none."""
        consumer = self._thread._ensure_consumer()
        found = await self._in_thread(consumer.offsets_for_times({TopicPartition(*tp): time_ms}))
        place = found[TopicPartition(*tp)]
        return None if place is None else int(place.offset)

    async def topic_id(self, topic: str) -> str | None:
        """The topic's id; None where brokers know none."""
        return await self._in_thread(topic_id(self._thread._ensure_consumer(), topic))

    async def end_offsets(self, tps: Iterable[TP]) -> Mapping[TP, int]:
        """The last stable offset (`read_committed`) of each partition; they need not be assigned."""
        found = await self._in_thread(self._thread._ensure_consumer().end_offsets(list(tps)))
        return {TP(*tp): offset for tp, offset in found.items()}

    def partition_count(self, topic: str) -> int:
        """Partitions of a subscribed topic as of the last metadata refresh; 0 if it is not known."""
        return len(self._thread._ensure_consumer().partitions_for_topic(topic) or ())

    # Delivery

    async def subscribe(self, topics: Iterable[str]) -> None:
        plain = set(topics) - self.app.batched_topics
        if plain:
            raise InvariantError(f"not declared with batched_topic(): {sorted(plain)}")
        await super().subscribe(topics)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand batches to the agents' queues for as long as the worker runs.

        In Faust a full queue of one agent blocks the delivery to all, and queues are filled record by record
        up to 4096: with batches that starves the other topic and fills the memory. Here each topic is read
        only as far as its agents have room, so delivery never waits. There is no bookkeeping of read offsets
        either: Faust drops what lies below them, which after a seek is what was asked for.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                if self.flow_active:
                    await self._deliver()
                else:
                    await self.wait(self.can_resume_flow)
        except ConsumerStoppedError:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            # A stop cancels this, or the consumer's thread what is left in it. Within a rebalance Faust would
            # take what it cancels itself for a crash.
            if not (self.app.should_stop or fetcher.should_stop):
                raise

    async def _deliver(self) -> None:
        self.deliveries += 1
        room = self._room()
        if not any(room.values()):
            await asyncio.sleep(_FULL_POLL_S)
            return
        generation = self.generation
        timeout_s = _POLL_S if all(room.values()) else _FULL_POLL_S
        held_back = self.app.held_back()
        for tp, batch in await self._in_thread(self._thread.batches().take(room, timeout_s, held_back)):
            if not self.flow_active or self.generation != generation:
                return  # given up meanwhile: the next assignment reads on from the committed offset
            message = self._batch_message(TP(*tp), batch)
            await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _room(self) -> dict[str, int]:
        """How many more batches the agents of each topic can take."""
        room: dict[str, int] = {}
        for channel in self.app.topics:
            free = channel.queue.maxsize - channel.queue.qsize()
            for topic in channel.topics:
                room[topic] = min(free, room.get(topic, free))
        return room

    def _batch_message(self, tp: TP, batch: RecordBatch) -> ConsumerMessage:
        newest_s = batch.timestamps_ms[-1] / 1000 if batch.timestamps_ms else None
        return ConsumerMessage(
            tp.topic, tp.partition, batch.begin, newest_s, 0, None, None, batch, None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    # Assignment

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._assigned, self.generation = frozenset(assigned), generation_id
        self.assignments += 1
        hook: AssignmentHook | None = self.app.on_acquired
        if hook is not None and not self.app.should_stop:
            await self._run_hook(
                hook, self._assigned, generation_id, "taking partitions over", _TAKE_OVER_LIMIT_S
            )
        await super().on_partitions_assigned(assigned, generation_id)  # delivery may begin

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)  # stops delivery and empties the queues
        await self.give_up()

    async def give_up(self, limit_s: float | None = None) -> None:
        """Let the owner of the app finish with its partitions: once for each assignment.

        ``limit_s``: for how long at most; by default as long as the group waits for its members. The group
        still counts this worker as their holder, so offsets and transactions can be committed.
        """
        async with self._giving_up:
            held, generation = self._assigned, self.generation
            hook: AssignmentHook | None = self.app.on_give_up
            try:
                if generation != NO_GENERATION and hook is not None and not self.app.crashed:
                    limit_s = limit_s or float(self.app.conf.broker_rebalance_timeout)
                    await self._run_hook(hook, held, generation, "giving partitions up", limit_s)
            finally:
                self._assigned, self.generation = frozenset(), NO_GENERATION

    async def _run_hook(
        self, hook: AssignmentHook, tps: frozenset[TP], generation: int, what: str, limit_s: float
    ) -> None:
        """Faust and aiokafka only log what a rebalance callback raises: here it ends the worker."""
        failure: Exception | None = None
        try:
            async with asyncio.timeout(limit_s):
                await hook(tps, generation)
        except TimeoutError:
            failure = StalledError(f"{what} was not done within {limit_s:g} s")
        except Exception as error:
            failure = error
        if failure is not None:  # out of the handlers, whose exception would be logged with its traceback
            await self.app.crash(failure)

    # What Faust must not do

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: Faust's commits can pass unacknowledged messages (#606), and it commits on every stop,
        error and interval. Agents use :meth:`commit_offset`."""
        return False

    async def perform_seek(self) -> None:
        """Nothing: a new assignment starts at the committed offset by itself. Faust seeks there once more
        whenever flow resumes, which would undo a seek of ours, or meet ``IllegalStateError`` for a partition
        lost meanwhile."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: raises AttributeError for a partition lost meanwhile, and takes our way of committing for
        a livelock."""

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: :meth:`_room` bounds the queues."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing: :meth:`_room` bounds the queues."""


class Transport(driver.Transport):  # type: ignore[misc]  # Faust is untyped here
    Consumer = Consumer
