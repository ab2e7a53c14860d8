"""The Faust app of a worker: its settings in one place, and running it inside our own ``asyncio`` program.

app = make_app("burngate", ["localhost:9092"])
app.on_give_up = checkpoint_everything
requests = app.batched_topic("request-events")

@app.agent(requests)
async def ingest(stream):
    async for event in stream.noack().events():
        batch, tp = event.value, event.message.tp

asyncio.run(run(app))  # returns after SIGTERM or SIGINT; raises StalledError (exit 3) after a crash
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from stream.errors import StalledError, UserError
from stream.kafka.batches import check_internals
from stream.kafka.security import PLAINTEXT, Security
from stream.kafka.transport import AssignmentHook, Transport

log = logging.getLogger(__name__)

QUEUED_BATCHES = 4
"""Batches that wait for an agent: enough to keep it busy, and the bound of the memory they take."""

_STOP_LIMIT_S = 45.0
_LAST_CHECKPOINTS_LIMIT_S = 40.0
"""Of these. In a rebalance the group's patience is the limit."""
_CRASH_LIMIT_S = 5.0
"""For leaving the group, so that others take over at once; with the broker gone it cannot be done."""


class _Boot(BootStrategy):  # type: ignore[misc]  # Faust is untyped here
    enable_kafka_producer = (
        False  # records are sent by sender.py and state.py, which know what became of them
    )
    enable_web = False


class _Tables(TableManager):  # type: ignore[misc]  # Faust is untyped here
    async def on_start(self) -> None:
        """At once: Faust first sleeps for a second, in which the tables of a program may register."""
        await self._update_channels()
        await self.recovery.start()


class BatchApp(faust.App):  # type: ignore[misc]  # Faust is untyped here
    """A Faust app whose topics deliver batches.

    ``on_acquired(partitions, generation)`` is awaited when partitions have been assigned, before their
    first batch is delivered. The group waits for it: start long work as a task.
    ``on_give_up(partitions, generation)`` is awaited before they are given up, in a rebalance and on
    stopping, after the last batch has been delivered: the place for a last checkpoint. An agent may be in the
    middle of a batch at that time. Whatever either raises ends the worker.
    ``held_back()`` names partitions of which nothing more is to be delivered for now; a few batches may be on
    their way.
    """

    BootStrategy = _Boot

    def __init__(self, *args: Any, security: Security = PLAINTEXT, **kwargs: Any) -> None:
        self.client_options = security.options()
        self.batched_topics: set[str] = set()
        self.on_acquired: AssignmentHook | None = None
        self.on_give_up: AssignmentHook | None = None
        self.held_back: Callable[[], frozenset[TP]] = frozenset
        super().__init__(*args, **kwargs)

    def batched_topic(self, name: str) -> Any:
        """A topic whose events carry a ``RecordBatch`` as their value."""
        self.batched_topics.add(name)
        return self.topic(name, key_serializer="raw", value_serializer="raw")

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        """The first reason stays: what fails next mostly fails because of it."""
        if not self.crashed:
            super()._crash(reason)

    async def _stop_consumer(self) -> None:
        await super()._stop_consumer()  # stops delivery and empties the queues
        if self._consumer is not None:
            await self._consumer.give_up(_LAST_CHECKPOINTS_LIMIT_S)

    def _create_directories(self) -> None:
        """None: Faust makes them in the working directory, for tables, even where it cannot write."""

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: Faust closes the consumer's client from the wrong event loop."""


def make_app(
    name: str,
    brokers: Sequence[str],
    security: Security = PLAINTEXT,
    *,
    session_timeout_s: float = 10.0,
    rebalance_timeout_s: float = 20.0,
    max_poll_interval_s: float = 300.0,
    max_fetch_bytes: int = 4 << 20,
    queued_batches: int = QUEUED_BATCHES,
) -> BatchApp:
    """A worker's Faust app. ``name`` is the consumer group; ``brokers`` are ``HOST:PORT``.

    ``session_timeout_s``: a dead worker is replaced after this time. ``rebalance_timeout_s``: all that giving
    partitions up may take. ``max_poll_interval_s``: a worker whose agents take no batch for so long loses its
    partitions. ``max_fetch_bytes``: of one partition in one response; larger records are read all the same.
    Raises :class:`InternalsError` if the installed libraries are not the known ones.
    """
    check_internals()
    return BatchApp(
        name,
        security=security,
        broker=[f"kafka://{broker}" for broker in brokers],
        autodiscover=False,
        # The group.
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / 5,
        broker_rebalance_timeout=rebalance_timeout_s,
        broker_max_poll_interval=max_poll_interval_s,
        broker_request_timeout=max(30.0, session_timeout_s + 5),
        # Fetching: the rest is in consumer_thread.py.
        consumer_max_fetch_size=max_fetch_bytes,
        broker_check_crcs=True,
        # Queues: `app.topic(maxsize=…)` is ignored by Faust.
        stream_buffer_maxsize=queued_batches,
        # Else a rebalance and a stop wait for acknowledgements that `noack()` streams never give.
        stream_wait_empty=False,
        # An agent that raises ends the worker. Faust would acknowledge the event and start it again
        # (#315, #189, #527).
        agent_supervisor=CrashingSupervisor,
        # No tables (they lose and double counts, see state.py), no topics of Faust's own, no web server.
        TableManager=_Tables,
        store="memory://",
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


async def run(app: BatchApp, stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or ``stop``; then stop gracefully: ``on_give_up``, leave the group.

    Raises :class:`StalledError` (or the :class:`UserError` that was the reason) if the worker crashed or did
    not stop in time; then nothing was checkpointed, and the process should end at once.
    """
    stop = stop or asyncio.Event()
    with stop_on_signals(stop):
        starting = asyncio.create_task(app.start())
        stopping = asyncio.create_task(stop.wait())
        crashing = asyncio.create_task(app._crashed.wait())
        try:
            await asyncio.wait({starting, stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.exception() is None:
                await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stop(app, starting)
            for task in (stopping, crashing):
                task.cancel()
    failure = app.crash_reason or (None if starting.cancelled() else starting.exception())
    if failure is not None:
        raise (
            failure if isinstance(failure, UserError) else StalledError(f"the worker crashed: {failure!r}")
        ) from failure


async def _stop(app: BatchApp, starting: asyncio.Task[None]) -> None:
    limit_s = _CRASH_LIMIT_S if app.crashed else _STOP_LIMIT_S
    try:
        async with asyncio.timeout(limit_s):
            await app.stop()
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
    except TimeoutError as error:
        if not app.crashed:
            raise StalledError(f"the worker did not stop within {limit_s:g} s") from error


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop`` while the block runs; after an inner block they end the process."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
