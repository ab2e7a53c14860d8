"""Draining an aiokafka consumer batch by batch, fairly, within bounds, with exact positions.

Everything here runs in the event loop of the consumer (Faust gives it a thread of its own, so that heartbeats
go on while a batch is worked on). It knows nothing of Faust.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import ConsumerStoppedError

from stream.kafka.batches import MAX_RECORDS, BatchIterator, Columns, RecordBatch
from stream.kafka.failures import StaleGenerationError

_REASSIGNMENT_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of one assigned partition has come, as one consistent snapshot.

    ``position`` is the end of the last batch handed on, ``stable_offset`` and ``high_water`` are what the
    last successful fetch response showed (they differ while a transaction is open), and ``asked_s`` is the
    monotonic time just before that fetch was asked for: what the response shows was so then, or later.
    """

    position: int
    stable_offset: int
    high_water: int
    asked_s: float

    @property
    def caught_up(self) -> bool:
        return self.position == self.high_water


@dataclass(slots=True)
class _Run:
    assignment: Any
    number: int
    next_offset: int


class BatchFetcher:
    """Takes :class:`RecordBatch` after :class:`RecordBatch` out of a consumer's prefetched responses."""

    def __init__(self, consumer: AIOKafkaConsumer, max_records: int = MAX_RECORDS) -> None:
        self._consumer = consumer
        self._max_records = max_records
        self._run_numbers = itertools.count(1)
        self._runs: dict[TopicPartition, _Run] = {}
        self._asked: dict[TopicPartition, tuple[Any, float]] = {}
        """(assignment, when it was asked for) of the last successful fetch."""
        self._waiting: dict[TopicPartition, tuple[Any, float]] = {}
        """(assignment, since when) of partitions that are to be asked for, and have not answered since."""
        self.answered_s = -math.inf
        """When a fetch was last answered."""
        self._fetch = consumer._fetcher._proc_fetch_request
        consumer._fetcher._proc_fetch_request = self._observed_fetch
        self._latest: tuple[Any, Mapping[TopicPartition, Progress]] = (None, {})

    @property
    def progress(self) -> Mapping[TopicPartition, Progress]:
        """The partitions that have been fetched from in the present assignment."""
        assignment, progress = self._latest
        subscription = self._consumer._subscription.subscription
        return progress if subscription is not None and subscription.assignment is assignment else {}

    async def take(
        self, room: Mapping[str, int], timeout_s: float, held_back: Set[TopicPartition] = frozenset()
    ) -> list[tuple[TopicPartition, RecordBatch]]:
        """At most ``room[topic]`` batches of each topic, round-robin over its partitions but those held back.

        Waits up to ``timeout_s`` for the first. A caller that drops what it got (cancellation included)
        makes a hole: only an end of the assignment or a seek may follow.
        """
        fetcher, subscription = self._consumer._fetcher, self._consumer._subscription
        if self._consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        # Otherwise an error of the group (no authorization, ...) waits for ever to be fetched.
        self._consumer._coordinator.check_errors()
        if subscription.reassignment_in_progress:
            await asyncio.sleep(min(timeout_s, _REASSIGNMENT_POLL_S))
            return []
        assignment = subscription.subscription.assignment
        with subscription.fetch_context():
            taken = self._drain(room, held_back)
            if not taken and timeout_s > 0:
                await self._wait_for_response(timeout_s)
                # What a new assignment has fetched belongs to the caller's next generation.
                same = subscription.subscription is not None and not subscription.reassignment_in_progress
                if same and subscription.subscription.assignment is assignment:
                    taken = self._drain(room, held_back)
        self._look_at_fetches(assignment)
        return taken

    async def _wait_for_response(self, timeout_s: float) -> None:
        waiter = self._consumer._fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=timeout_s)
        if done:
            waiter.result()
        else:
            waiter.cancel()

    def _drain(
        self, room: Mapping[str, int], held_back: Set[TopicPartition]
    ) -> list[tuple[TopicPartition, RecordBatch]]:
        responses = self._consumer._fetcher._records
        left = dict(room)
        taken: list[tuple[TopicPartition, RecordBatch]] = []
        found = True
        while found:
            found = False
            for tp in list(responses):
                if left.get(tp.topic, 0) <= 0 or tp in held_back:
                    continue
                batch = self._next_batch(tp)
                if batch is not None:
                    found = True
                    left[tp.topic] -= 1
                    taken.append((tp, batch))
                    if tp in responses:  # to the back of the queue: the others come first next time
                        responses.move_to_end(tp)
        return taken

    def _next_batch(self, tp: TopicPartition) -> RecordBatch | None:
        response = self._consumer._fetcher._records[tp]
        if isinstance(response, FetchError):
            self._forget_response(tp)
            response.check_raise()
        records = response._partition_records
        if records is not None and not isinstance(records._records_iterator, BatchIterator):
            records._records_iterator = BatchIterator(records, self._max_records)
        # getall() checks that the assignment and the position are still the ones the response was asked for.
        columns = response.getall(max_records=1)
        if not columns or records._records_iterator.exhausted:
            self._forget_response(tp)
        if not columns:
            return None
        batch: Columns = columns[0]
        run = self._continue_run(tp, response._assignment, batch.begin)
        run.next_offset = batch.end
        return RecordBatch(*batch, response._assignment.state_value(tp).highwater, run.number)

    def _forget_response(self, tp: TopicPartition) -> None:
        """Make way for the next fetch of this partition."""
        fetcher = self._consumer._fetcher
        del fetcher._records[tp]
        self._waiting[tp] = (self._consumer._subscription.subscription.assignment, time.monotonic())
        fetcher._notify(fetcher._wait_consume_future)

    def _continue_run(self, tp: TopicPartition, assignment: Any, begin: int) -> _Run:
        run = self._runs.get(tp)
        if run is None or run.assignment is not assignment or run.next_offset != begin:
            run = self._runs[tp] = _Run(assignment, next(self._run_numbers), begin)
        return run

    def pause(self, tp: TopicPartition) -> None:
        """Read nothing more of it until the next seek. Raises :class:`StaleGenerationError` if the partition
        is not assigned."""
        if not self._consumer._subscription.is_assigned(tp):
            raise StaleGenerationError(f"{tp.topic}[{tp.partition}] is not assigned to this worker")
        self._consumer.pause(TopicPartition(*tp))
        self._waiting.pop(tp, None)

    def seek(self, tp: TopicPartition, offset: int) -> int:
        """Read on at ``offset``; returns the number of the run that begins there.

        If the broker no longer has the offset, the run that follows has another number and begins at its
        oldest one. Raises :class:`StaleGenerationError` if the partition is not assigned.
        """
        if not self._consumer._subscription.is_assigned(tp):
            raise StaleGenerationError(f"{tp.topic}[{tp.partition}] is not assigned to this worker: no seek")
        assignment = self._consumer._subscription.subscription.assignment
        self._consumer.seek(tp, offset)
        self._consumer.resume(TopicPartition(*tp))
        run = self._runs[tp] = _Run(assignment, next(self._run_numbers), offset)
        return run.number

    async def _observed_fetch(self, assignment: Any, node_id: int, request: Any) -> bool:
        """aiokafka's fetch; notes of which partitions it told something, and when it was asked for."""
        asked_s = time.monotonic()
        tps = [TopicPartition(topic, place[0]) for topic, places in request.topics for place in places]
        before = {tp: _answered(assignment, tp) for tp in tps}
        found: bool = await self._fetch(assignment, node_id, request)
        for tp in tps:
            # Two answers within a millisecond look like one, and count as the earlier: evidence only ages.
            if _answered(assignment, tp) != before[tp]:
                self._asked[tp] = (assignment, asked_s)
                self.answered_s = time.monotonic()
                if tp in self._consumer._fetcher._records:
                    self._waiting.pop(tp, None)  # it is asked for again when that is taken
                else:
                    self._waiting[tp] = (assignment, self.answered_s)
        return found

    @property
    def waiting_since_s(self) -> float:
        """Since when the partition that has waited longest is due for a fetch without an answer; infinite:
        none is. Asked for or not: without a known leader it cannot be. May be called from another thread.
        """
        assignment, _ = self._latest
        return min(
            (since_s for of, since_s in list(self._waiting.values()) if of is assignment), default=math.inf
        )

    def _is_asked(self, tp: TopicPartition, assignment: Any) -> bool:
        """Whether a fetch was answered in this assignment."""
        return tp in self._asked and self._asked[tp][0] is assignment

    def _look_at_fetches(self, assignment: Any) -> None:
        """Note what the last fetch response of each partition has shown."""
        progress: dict[TopicPartition, Progress] = {}
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            if state.paused:
                continue
            if not self._is_asked(tp, assignment) and self._waiting.get(tp, (None,))[0] is not assignment:
                self._waiting[tp] = (assignment, time.monotonic())
            if not self._is_asked(tp, assignment) or not state.has_valid_position:
                continue
            high_water = state.highwater
            stable = high_water if state.lso is None or state.lso < 0 else state.lso
            progress[tp] = Progress(state.position, stable, high_water, self._asked[tp][1])
        self._latest = (assignment, progress)  # replaced as a whole, so that another thread can read it


def _answered(assignment: Any, tp: TopicPartition) -> int | None:
    """When the last successful response of a partition came, by the wall clock: only good for comparing."""
    state = assignment.state_value(tp)
    return None if state is None else state.timestamp
