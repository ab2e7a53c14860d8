"""What can go wrong, one function each. It may happen at any moment, and must not change a count."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from breaking_worker import POINTS
from fleet import SESSION_S

if TYPE_CHECKING:
    from fault_run import FaultRun

_BREAK_LIMIT_S = 40.0
_IDLE_S = 14.0
"""Longer than it takes a reader to say that its partition is idle."""


@dataclass(frozen=True)
class Fault:
    name: str
    strike: Callable[[FaultRun], Awaitable[None]]
    needs_gap: bool = False
    """The feed pauses: only where event time jumps nothing comes late after it."""


async def killed(run: FaultRun) -> None:
    run.some_worker().process.kill()


async def killed_and_gone_for_long(run: FaultRun) -> None:
    slot = run.some_slot()
    run.fleet.remove(slot, kill=True)
    await asyncio.sleep(SESSION_S + 2)
    run.fleet.start(slot)


async def all_killed(run: FaultRun) -> None:
    for worker in list(run.fleet.workers.values()):
        worker.process.kill()


async def stopped_for(run: FaultRun, seconds: float) -> None:
    """SIGSTOP and SIGCONT: past the session timeout a zombie, which writes on; below it a dead reader."""
    worker = run.some_worker()
    worker.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        worker.process.send_signal(signal.SIGCONT)


async def restarted(run: FaultRun) -> None:
    slot = run.some_slot()
    await asyncio.to_thread(run.fleet.remove, slot, kill=False)
    run.fleet.start(slot)


async def rolling_restart(run: FaultRun) -> None:
    for slot in list(run.fleet.workers):
        await asyncio.to_thread(run.fleet.remove, slot, kill=False)
        run.fleet.start(slot)
        await asyncio.sleep(3)


async def scaled(run: FaultRun) -> None:
    """1, then 3, then 2 workers."""
    for slot in list(run.fleet.workers)[1:]:
        await asyncio.to_thread(run.fleet.remove, slot, kill=False)
    await asyncio.sleep(4)
    for slot in {0, 1, 2} - run.fleet.workers.keys():
        run.fleet.start(slot)
    await asyncio.sleep(8)
    slot = run.some_slot()
    await asyncio.to_thread(run.fleet.remove, slot, kill=False)


async def killed_at(run: FaultRun, point: str) -> None:
    """A worker takes another's place, and kills itself when it comes to the point."""
    slot = run.some_slot()
    run.fleet.remove(slot, kill=True)
    worker = run.fleet.start_breaking(slot, point, run.rng.randrange(1, 4))
    if not await run.fleet.wait_for_death(worker, _BREAK_LIMIT_S):
        run.say(f"the worker did not come to the point: {point}")
        worker.process.kill()


async def broker_killed(run: FaultRun) -> None:
    await _outage(run, 0.0)


async def broker_gone_for(run: FaultRun, seconds: float) -> None:
    await _outage(run, seconds)


async def _outage(run: FaultRun, seconds: float) -> None:
    run.fleet.outage = True
    try:
        await asyncio.to_thread(run.broker.kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(run.broker.restart)
    finally:
        run.fleet.outage = False


async def transaction_aborted(run: FaultRun) -> None:
    """While it is open nothing behind it can be read; what is in it must never count."""
    run.feed.abort_next = 300


async def one_partition_idle(run: FaultRun) -> None:
    silent = run.rng.choice(run.feed.active)
    run.feed.active = [p for p in run.feed.active if p != silent]
    await asyncio.sleep(_IDLE_S)
    run.feed.active = sorted([*run.feed.active, silent])


async def all_idle(run: FaultRun) -> None:
    await asyncio.sleep(_IDLE_S)


async def partition_added(run: FaultRun) -> None:
    """Events go to the new partition once it has a reader: before, nobody could wait for them."""
    number = len(run.feed.active)
    client = AIOKafkaAdminClient(bootstrap_servers=run.broker.bootstrap)
    await client.start()
    try:
        await client.create_partitions({run.feed.topic: NewPartitions(number + 1)})
        deadline_s = time.monotonic() + 60
        tp = TopicPartition(run.feed.topic, number)
        while tp not in await client.list_consumer_group_offsets(run.app) or not await run.feed.knows(number):
            assert time.monotonic() < deadline_s, f"nobody reads the new partition {number}"
            await asyncio.sleep(0.5)
    finally:
        await client.close()
    run.feed.active = [*run.feed.active, number]


def kinds(long_stop_s: float) -> list[Fault]:
    """Every fault that may strike while a stream goes on."""
    return [
        Fault("worker SIGKILL", killed),
        Fault("worker SIGKILL, gone for longer than the session", killed_and_gone_for_long),
        Fault("all workers SIGKILL", all_killed),
        Fault(
            "worker SIGSTOP beyond the session timeout, SIGCONT", partial(stopped_for, seconds=SESSION_S + 3)
        ),
        Fault("worker SIGSTOP for 3 s: a dead reader", partial(stopped_for, seconds=3.0)),
        Fault("worker SIGTERM, started again", restarted),
        Fault("rolling restart", rolling_restart),
        Fault("1, then 3, then 2 workers", scaled),
        *(Fault(f"worker SIGKILL {point}", partial(killed_at, point=point)) for point in POINTS),
        Fault("transaction in the input aborted", transaction_aborted),
        Fault("one partition idle", one_partition_idle),
        Fault("partition added to the input", partition_added),
        Fault("all partitions idle", all_idle, needs_gap=True),
        Fault("broker SIGKILL, started again", broker_killed, needs_gap=True),
        Fault(
            f"broker gone for {long_stop_s:g} s",
            partial(broker_gone_for, seconds=long_stop_s),
            needs_gap=True,
        ),
    ]
