"""A rebalance in the middle of taking a partition over, as at a reload, costs nothing but the attempt."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from stream.agents.rules import Rules
from stream.agents.windows import Windows
from stream.kafka.batches import RecordBatch
from stream.kafka.failures import StaleGenerationError
from stream.model.ruleset import Ruleset
from stream.model.stats import Stats

PLACES = [TP("app-partials", number) for number in range(3)]
SOON_S = 2.0


@dataclass
class Held:
    store: Store
    partition: int
    records: dict[bytes, bytes] = field(default_factory=dict)
    restored: Any = field(default_factory=lambda: SimpleNamespace(record_count=0))

    async def checkpoint(self, *_: object) -> None:
        self.store.checkpoints.append(self.partition)

    async def release(self) -> None:
        self.store.held.remove(self.partition)


@dataclass
class Store:
    """``slow``: it takes for ever to take a partition over."""

    slow: bool = False
    held: list[int] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)

    async def acquire(self, partition: int) -> Held:
        if self.slow:
            await asyncio.Event().wait()
        self.held.append(partition)
        return Held(self, partition)


@dataclass
class Consumer:
    assigned: set[TP] = field(default_factory=lambda: set(PLACES))

    async def beginning_offsets(self, tps: list[TP]) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def pause(self, tp: TP) -> None:
        if tp not in self.assigned:
            raise StaleGenerationError(f"{tp} is not assigned")

    async def seek_offset(self, tp: TP, offset: int) -> int:
        if tp not in self.assigned:
            raise StaleGenerationError(f"{tp} is not assigned")
        return 1

    def progress(self, tp: TP) -> None:
        return None


class GoesAway(Consumer):
    """Of its partitions all but one are assigned no longer when they are to be read on."""

    async def pause(self, tp: TP) -> None:
        pass


def windows_of(store: Store) -> Windows:
    async def nothing(*_: object) -> None:
        pass

    def start(work: Coroutine[Any, Any, None]) -> None:
        work.close()

    rules = Rules(Ruleset(), len(PLACES))
    return Windows(
        *("app", "", "request-events", cast(Any, store), rules, Stats(), 1_000),
        *(nothing, start),
    )


async def owners_of(windows: Windows, consumer: Consumer, generation: int = 1) -> None:
    await asyncio.gather(*(windows.acquire(consumer, tp, generation) for tp in PLACES))


@pytest.mark.parametrize("consumer", [Consumer({PLACES[0]}), GoesAway({PLACES[0]})])
def test_a_partition_that_goes_away_while_it_is_restored_is_let_go(consumer: Consumer) -> None:
    async def life() -> None:
        store = Store()
        windows = windows_of(store)
        await owners_of(windows, consumer)
        assert set(windows.owners) == set(windows.wanted) == {PLACES[0]}
        assert store.held == [0], "what went to another worker is not held on to"

    asyncio.run(life())


def test_records_of_a_partition_that_is_being_restored_hold_nobody_up() -> None:
    """They were fetched before the seek, and one agent serves all partitions."""

    async def life() -> None:
        store, consumer = Store(slow=True), Consumer()
        windows = windows_of(store)
        taking = asyncio.ensure_future(owners_of(windows, consumer))
        await asyncio.sleep(0.05)
        batch = RecordBatch(0, 1, array("q", [0]), [b"a partial"], array("q", [0]), 1, run=0)
        async with asyncio.timeout(SOON_S):
            await windows.process(consumer, PLACES[0], batch)
        await windows.give_up(PLACES)
        await taking

    asyncio.run(life())


def test_giving_up_does_not_wait_for_partitions_that_are_being_taken_over() -> None:
    """The group waits for it, and its patience ends the worker."""

    async def life() -> None:
        store = Store(slow=True)
        windows, consumer = windows_of(store), Consumer()
        taking = asyncio.ensure_future(owners_of(windows, consumer))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(SOON_S):
            await windows.give_up(PLACES)
            await taking
        assert (windows.owners, windows.wanted, store.held) == ({}, {}, [])
        store.slow = False
        await owners_of(windows, consumer, generation=2)
        assert set(windows.owners) == set(PLACES), "they are taken over by the next assignment"

    asyncio.run(life())


def test_a_reload_that_meets_a_rebalance_goes_on_with_what_is_left() -> None:
    async def life() -> None:
        store, consumer = Store(), Consumer()
        windows = windows_of(store)
        await owners_of(windows, consumer)
        store.slow = True
        reloading = asyncio.ensure_future(windows.reload(consumer))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(SOON_S):
            await windows.give_up(PLACES)
            store.slow = False
            consumer.assigned = set(PLACES[1:])
            await asyncio.gather(*(windows.acquire(consumer, tp, 2) for tp in PLACES[1:]))
            await reloading
        assert set(windows.owners) == set(PLACES[1:])
        assert sorted(store.held) == [1, 2]
        assert {owner.generation for owner in windows.owners.values()} == {2}

    asyncio.run(life())


def test_a_reload_that_is_cancelled_holds_nothing() -> None:
    async def life() -> None:
        store, consumer = Store(), Consumer()
        windows = windows_of(store)
        await owners_of(windows, consumer)
        store.slow = True
        reloading = asyncio.ensure_future(windows.reload(consumer))
        await asyncio.sleep(0.05)
        reloading.cancel()
        await asyncio.wait([reloading], timeout=SOON_S)
        assert reloading.cancelled()
        await windows.give_up(PLACES)
        assert not store.held

    asyncio.run(life())
