"""Stage two: partials to signals (``slo/keeper.py`` decides), one owner for each partition of services.

An owner fences its predecessor, restores what that one had committed, and reads the partials from the
position in that state on. Whatever it decides is published in the transaction that writes the state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from faust.types import TP

from stream.agents.aside import in_thread
from stream.agents.free_memory import return_free_memory
from stream.agents.owner import READINGS_EVERY_S, TURN_S, Owner
from stream.agents.rules import Rules
from stream.agents.tidings import tell_decisions
from stream.agents.watchdog import Turns, Work
from stream.kafka import state
from stream.kafka.batches import RecordBatch
from stream.kafka.failures import FencedError, StaleGenerationError, StateError
from stream.kafka.state import Held, StateStore
from stream.model.stats import Stats
from stream.pipeline import canary_book
from stream.slo.catalog import Catalog
from stream.slo.keeper import Keeper
from stream.slo.readings import readings
from stream.window.upsert import Verdict
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal, encode, headers
from stream.words import counted, lasting

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 10.0
"""While partials arrive and no tick is decided."""
BEHIND_S = 60.0
"""A tick decided so long after its time is one of many to catch up with."""
CATCH_UP_EVERY_S = 1.0
"""Then several ticks share a checkpoint."""
DELETE_EVERY_S = 60.0
TRIM_EVERY_S = 20.0
"""What partitions freed at work goes back to the system."""
WARN_EVERY_S = 60.0
MAX_AHEAD_MS = 60_000
SLICE_S = 0.02
"""How long the event loop is held at a time."""


class Windows:
    """All partitions of services of a worker."""

    def __init__(
        self,
        app: str,
        prefix: str,
        requests: str,
        store: StateStore,
        rules: Rules,
        stats: Stats,
        max_series: int,
        delete_below: Callable[[TP, int], Coroutine[Any, Any, None]],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """``delete_below(tp, offset)`` deletes what of the partials topic is no longer needed; ``start`` runs
        work beside the agents, and ends the worker if it fails."""
        self.app = app
        self.prefix = prefix
        self.requests = requests
        self.store = store
        self.rules = rules
        self.stats = stats
        self.max_series = max(1, max_series // rules.partitions)
        self.delete_below = delete_below
        self.start = start
        self.owners: dict[TP, Owner] = {}
        self.wanted: dict[TP, int] = {}
        """Partitions that are ours, with the generation in which they became so."""
        self._locks: dict[TP, asyncio.Lock] = {}
        self._taking: dict[TP, asyncio.Task[None]] = {}
        """What is being taken over."""
        self._seeking: set[TP] = set()
        """What is restored, and about to be read on."""
        self._taken: list[tuple[float, int]] = []
        """(when that began, state records) of what was taken over, and is not told yet."""
        self._is_reloading = False
        self._restoring = asyncio.Lock()
        """One at a time: each holds a partition's records beside what is made of them, and two share one
        interpreter."""
        self._beside = asyncio.Lock()
        """Held by the one partition that is worked on beside the agent."""
        self._trimmed_s = time.monotonic()
        self.turns, self.turns_beside = Turns(), Turns()
        """The agent's, and those of partitions that have more to do than one turn."""
        self._warned_s = -WARN_EVERY_S
        """When it was last said that event time is ahead of the clock."""

    def _owns(self, tp: TP, generation: int) -> bool:
        return tp in self.owners and self.owners[tp].generation == generation

    def _lock(self, tp: TP) -> asyncio.Lock:
        return self._locks.setdefault(tp, asyncio.Lock())

    # ownership

    async def acquire(self, consumer: Any, tp: TP, generation: int) -> None:
        """Fence, restore, seek. Long: run as a task. It ends without an error when the partition is given up
        meanwhile: whoever gives it up does not wait for a restore that nobody needs any more."""
        self.wanted[tp] = generation
        async with self._lock(tp):
            if self.wanted.get(tp) != generation or self._owns(tp, generation):
                return
            taking = self._taking[tp] = asyncio.ensure_future(self._take_over(consumer, tp, generation))
            try:
                await asyncio.wait([taking])
            except asyncio.CancelledError:
                taking.cancel()
                await asyncio.wait([taking])
                raise
            finally:
                del self._taking[tp]
            if not taking.cancelled():
                taking.result()

    async def _take_over(self, consumer: Any, tp: TP, generation: int) -> None:
        started_s = time.monotonic()
        try:
            async with AsyncExitStack() as on_failure:
                await consumer.pause(tp)
                async with self._restoring:
                    held = await self.store.acquire(tp.partition)
                    on_failure.push_async_callback(held.release)
                    keeper = await self._restore(tp, held)
                self._seeking.add(tp)
                run = await self._seek(consumer, tp, keeper)
                on_failure.pop_all()
        except StaleGenerationError as error:
            log.info("partition %d went to another worker while it was restored: %s", tp.partition, error)
            self.wanted.pop(tp, None)
            return
        finally:
            self._seeking.discard(tp)
        due = [self._outgoing(signal) for signal in keeper.leftovers]
        owner = self.owners[tp] = Owner(tp, generation, held, keeper, run, due)
        seconds = time.monotonic() - started_s
        self.stats.restore_seconds.observe(seconds)
        log.debug(
            "took over partition %d in %.2f s: %d state records",
            *(tp.partition, seconds, held.restored.record_count),
            extra={"partition": tp.partition},
        )
        self._taken.append((started_s, held.restored.record_count))
        self._tell_of_taken()
        if keeper.has_rest:
            self._go_on_beside(owner, consumer)

    def _tell_of_taken(self) -> None:
        """One line for all, when all are there."""
        if self._is_reloading or not self._taken or any(tp not in self.owners for tp in self.wanted):
            return
        counts = [count for _, count in self._taken]
        seconds = time.monotonic() - min(started_s for started_s, _ in self._taken)
        self._taken.clear()
        each = f", {min(counts)} to {max(counts)} in each" if len(counts) > 1 else ""
        log.info(
            "took over %s in %.2f s: %s%s",
            *(counted(len(counts), "partition"), seconds, counted(sum(counts), "state record"), each),
        )

    async def _restore(self, tp: TP, held: Held) -> Keeper:
        def restored() -> Keeper:
            catalog = self._catalog_of(tp)
            return Keeper(catalog, self.max_series, held.records, [canary_book(catalog)])

        try:
            return await in_thread(restored)
        except ValueError as error:
            raise StateError(f"the state of partition {tp.partition} cannot be read: {error}") from error
        finally:
            held.records.clear()
            await asyncio.to_thread(return_free_memory)

    def _catalog_of(self, tp: TP) -> Catalog:
        return self.rules.catalog.of_partition(tp.partition, self.rules.partitions)

    async def _seek(self, consumer: Any, tp: TP, keeper: Keeper) -> int:
        oldest = (await consumer.beginning_offsets([tp]))[tp]
        if keeper.position < oldest:
            raise StateError(
                f"{tp.topic}[{tp.partition}] begins at {oldest}, but the state ends at {keeper.position}: "
                "state and partials do not belong together; was the state topic deleted?"
            )
        run: int = await consumer.seek_offset(tp, keeper.position)
        return run

    async def give_up(self, tps: list[TP]) -> None:
        """Checkpoint and let go, before the group gives the partitions to others."""
        for tp in tps:
            self.wanted.pop(tp, None)
            if tp in self._taking:
                self._taking[tp].cancel()
        await asyncio.gather(*(self._release(tp) for tp in tps))

    async def _release(self, tp: TP) -> None:
        if tp in self.owners:
            self.owners[tp].is_stopping = True
        async with self._lock(tp):
            owner = self.owners.pop(tp, None)
            self.stats.forget_partition(tp.partition)
            if owner is None:
                return
            try:
                if not owner.keeper.is_to_be_rewritten:  # else the next owner does that, and the rest
                    await self._checkpoint(owner)
            except (FencedError, StateError) as error:
                log.warning("partition %d was given up without a checkpoint: %s", tp.partition, error)
            await owner.held.release()

    async def reload(self, consumer: Any) -> None:
        """Take every partition over from ourselves, with the rules as they are now."""
        self._is_reloading = True
        try:
            for tp, generation in list(self.wanted.items()):
                await self._release(tp)
                if self.wanted.get(tp) == generation:
                    await self.acquire(consumer, tp, generation)
        finally:
            self._is_reloading = False
        self._tell_of_taken()

    # partials

    async def process(self, consumer: Any, tp: TP, batch: RecordBatch) -> None:
        """Returns when the batch is worked in, or a turn is over: then the rest is done beside the agent, for
        which there are other partitions."""
        owner = self.owners.get(tp)
        if owner is not None and owner.goes_on:
            owner.put(batch)
        elif owner is not None or tp in self._seeking:
            with self.turns.turn(tp):
                await self._process(consumer, tp, batch)
        # else it was fetched before the seek that comes: others need not wait for the restore

    async def _process(self, consumer: Any, tp: TP, batch: RecordBatch) -> None:
        async with self._lock(tp):
            owner = self.owners.get(tp)
            if owner is None:
                return
            owner.put(batch)
            if not owner.goes_on and not await self._work(owner, consumer):
                self._go_on_beside(owner, consumer)

    def _go_on_beside(self, owner: Owner, consumer: Any) -> None:
        if not owner.is_stopping:
            owner.goes_on = True
            self.start(self._go_on(owner, consumer))

    async def _go_on(self, owner: Owner, consumer: Any) -> None:
        """Turn by turn, as other partitions with much to do: one at a time, for each turn has its memory."""
        while owner.goes_on and self.owners.get(owner.tp) is owner:
            async with self._beside, self._lock(owner.tp):
                if self.owners.get(owner.tp) is not owner:
                    return
                with self.turns_beside.turn(owner.tp):
                    is_done = await self._work(owner, consumer)
                    owner.goes_on = not is_done or bool(owner.inbox)  # something came meanwhile

    def held_back(self) -> frozenset[TP]:
        """Partitions of which nothing more is to be delivered for now."""
        return frozenset(tp for tp, owner in self.owners.items() if owner.goes_on)

    async def _work(self, owner: Owner, consumer: Any) -> bool:
        """One turn: apply what came, and decide each tick before the message behind the one that brought it
        about. Then a checkpoint, if it is time. False: there is more to do."""
        until_s, sources = time.monotonic() + TURN_S, consumer.partition_count(self.requests)
        is_done = False
        while not (is_done or owner.is_over(until_s)):
            if owner.keeper.has_rest:
                await in_thread(lambda: owner.decide(self._outgoing, until_s))
            else:
                is_done = await self._apply(owner, sources, until_s)
        self._count(owner)
        if owner.is_stopping:
            return False
        if owner.is_full or self._checkpoint_due(owner):
            await self._checkpoint(owner)
        elif owner.has_decided and not owner.is_waiting:
            owner.is_waiting = True
            self.start(self._checkpoint_later(owner))
        return is_done

    async def _apply(self, owner: Owner, sources: int, until_s: float) -> bool:
        """Messages up to one that brings about a tick. False: there may be more."""
        keeper, held_s = owner.keeper, time.monotonic()
        keeper.sources = sources
        for offset, value, written_ms in owner.messages():
            verdict = keeper.apply(value, offset, written_ms)
            if verdict is Verdict.IGNORE:
                self.stats.partials_ignored += 1
            elif verdict is not None:
                self.stats.partials_applied += 1
            owner.applied_s = time.monotonic()
            self._warn_of_time_ahead(owner, written_ms)
            if keeper.has_rest or owner.is_over(until_s):
                return False
            held_s = await _breathe(held_s)
        return True

    def _warn_of_time_ahead(self, owner: Owner, written_ms: int) -> None:
        """State of a version that let event time run ahead. It says nothing in a minute's reach: a broker's
        clock may have been set back."""
        time_ms, now_s = owner.keeper.watermark_ms, time.monotonic()
        if time_ms is None or now_s - self._warned_s < WARN_EVERY_S:
            return
        ahead_ms = time_ms - written_ms
        if ahead_ms > MAX_AHEAD_MS:
            self._warned_s = now_s
            log.warning(
                "partition %d: event time, %s, is %s ahead of the brokers' clock: nothing is decided until "
                "that has come so far, and events may be dropped as too late; to begin anew, start with "
                "another --app",
                *(owner.tp.partition, format_ms(time_ms), lasting(ahead_ms / 1000)),
            )

    def _count(self, owner: Owner) -> None:
        """What happened, for the metrics."""
        shard, stats, partition = owner.keeper.shard, self.stats, owner.tp.partition
        registry, late = shard.ledger.registry, shard.ledger.late
        if registry.overflowed and not owner.counted_overflow:
            log.warning(
                "partition %d: more than %d series; further ones are counted together as __other__",
                *(partition, self.max_series),
            )
        stats.series[partition] = len(registry)
        stats.series_overflow += registry.overflowed - owner.counted_overflow
        stats.late += late.late - owner.counted_late[0]
        stats.too_late += late.too_late - owner.counted_late[1]
        owner.counted_overflow, owner.counted_late = registry.overflowed, (late.late, late.too_late)
        if owner.keeper.watermark_ms is not None:
            stats.watermark_s[partition] = owner.keeper.watermark_ms / 1000
        stats.progress_at_s = time.time()

    def work(self, consumer: Any) -> dict[str, Work]:
        """How far each partition has come, for the watchdog."""
        found = {}
        for tp, owner in self.owners.items():
            done, steps = owner.keeper.position, owner.steps
            turns = self.turns_beside if owner.goes_on else self.turns
            others_s = turns.others_s(tp, (done, steps))
            if (progress := consumer.progress(tp)) is not None:
                name = f"{tp.topic}[{tp.partition}]"
                found[name] = Work(done, progress.stable_offset, steps=steps, others_s=others_s)
            late = owner.applied_s - owner.checkpoint_s > CHECKPOINT_EVERY_S
            found[f"checkpoint {tp.partition}"] = Work(
                owner.checkpoints,
                owner.checkpoints + late,
                f"partials arrive for partition {tp.partition}, and no checkpoint is taken",
                steps,
                others_s,
            )
        return found

    # checkpoints

    def _checkpoint_due(self, owner: Owner) -> bool:
        age_s = time.monotonic() - owner.checkpoint_s
        if owner.has_decided:
            return not self._is_behind(owner) or age_s >= CATCH_UP_EVERY_S
        return age_s >= CHECKPOINT_EVERY_S

    def _is_behind(self, owner: Owner) -> bool:
        """Whether there are many ticks to catch up with."""
        decided_s = owner.keeper.shard.ledger.decided_s
        return decided_s is not None and time.time() - decided_s > BEHIND_S

    async def _checkpoint_later(self, owner: Owner) -> None:
        """What was decided while catching up is published in a while, though nothing more may come."""
        await asyncio.sleep(CATCH_UP_EVERY_S)
        async with self._lock(owner.tp):
            owner.is_waiting = False
            if self.owners.get(owner.tp) is owner and owner.has_decided:
                await self._checkpoint(owner)

    async def _checkpoint(self, owner: Owner) -> None:
        """State, signals and position in one transaction; where the rules have changed, before it what has to
        be written anew, for that may be long."""
        started_s, keeper, tp = time.monotonic(), owner.keeper, owner.tp
        rewriting = keeper.rewriting()
        while (part := await in_thread(lambda: next(rewriting, None))) is not None:
            await owner.held.checkpoint(part, [], {}, self.app)
            owner.rewritten += 1
            if owner.is_stopping:
                return
        due = owner.take_due()
        changes = await in_thread(keeper.changes)
        await owner.held.checkpoint(changes, due, {tp: keeper.position}, self.app)
        owner.decided_s = keeper.shard.ledger.decided_s
        owner.checkpoint_s = time.monotonic()
        owner.checkpoints += 1
        self.stats.checkpoint_seconds.observe(owner.checkpoint_s - started_s)
        self.stats.checkpoint_at_s[tp.partition] = time.time()
        self.stats.signals.update(signal.topic.removeprefix(self.prefix) for signal in due)
        tell_decisions((signal.topic.removeprefix(self.prefix), signal.value) for signal in due)
        if not self._is_behind(owner) or owner.checkpoint_s - owner.read_s >= READINGS_EVERY_S:
            owner.read_s = owner.checkpoint_s
            self.stats.readings[tp.partition] = await in_thread(
                lambda: readings(keeper.shard, owner.latencies)
            )
        if owner.checkpoint_s - self._trimmed_s >= TRIM_EVERY_S:
            self._trimmed_s = owner.checkpoint_s
            self.start(asyncio.to_thread(return_free_memory))
        if owner.checkpoint_s - owner.deleted_s >= DELETE_EVERY_S:
            owner.deleted_s = owner.checkpoint_s
            self.start(self.delete_below(tp, keeper.position))

    def _outgoing(self, signal: Signal) -> state.Signal:
        # A copy: what orjson gives keeps the room that it was written in, 8 KiB whatever its length.
        value = bytes(memoryview(encode(signal)))
        return state.Signal(self.prefix + signal.topic, signal.key.encode(), value, headers(signal, self.app))


async def _breathe(held_s: float) -> float:
    """Let others run when the event loop was held for long enough."""
    if time.monotonic() - held_s < SLICE_S:
        return held_s
    await asyncio.sleep(0)
    return time.monotonic()
