"""The worker: topics, agents and servers, wired in one place.

request-events ──► ingest  ──► <app>-partials ──► windows ──► signals, <app>-state
deploy-events  ──► notices ──┘
change-events  ──► notices ──► change-impacts
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib.metadata import version
from typing import Any, NoReturn

from faust.types import TP

from stream.agents.aside import in_own_thread
from stream.agents.contact import Contact, MissingTopics
from stream.agents.fence import Fences
from stream.agents.free_memory import use_one_arena
from stream.agents.impacts import Impacts
from stream.agents.ingest import Ingest
from stream.agents.notices import Notices
from stream.agents.overload import Overload
from stream.agents.rules import Rules
from stream.agents.slo_files import SloFiles
from stream.agents.watchdog import CHECK_EVERY_S, LoopGuard, Watchdog, Work
from stream.agents.windows import Windows
from stream.errors import UserError
from stream.export.server import MetricsServer
from stream.kafka.connect import wait_for_brokers, what_is_wrong
from stream.kafka.engine import BatchApp, make_app, run, stop_on_signals
from stream.kafka.failures import StateError
from stream.kafka.peek import peek
from stream.kafka.security import security_of
from stream.kafka.sender import Sender
from stream.kafka.state import StateStore
from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, Topics, declare_topics
from stream.logs import libraries_in_outage, set_up_logging
from stream.model.ruleset import Ruleset
from stream.model.stats import Stats
from stream.settings import Settings
from stream.slo.edits import edits
from stream.slo.reached import Resumption, memory, resumptions
from stream.wire.decode import is_compiled
from stream.words import counted

log = logging.getLogger(__name__)

CONTACT_CHECK_S = 1.0
MOST_SHOWN = 10
"""Partitions by number in one line."""


def run_worker(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Raises UserError for what ends it otherwise."""
    set_up_logging(settings.log_format, settings.log_level)
    files = SloFiles(settings.slos)
    rules = files.load()
    log.info("%s from %s", _told(rules), ", ".join(map(str, settings.slos)))
    _settle_in()
    asyncio.run(Worker(settings, Rules(rules, settings.partitions, settings.max_series), files).run())
    return 0


def _settle_in() -> None:
    """How the interpreter spends its time. Garbage is collected seldom: records are many, short-lived and
    without cycles."""
    use_one_arena()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    # Three threads take turns, and each lets go many times in one piece of work: at Python's 5 ms a turn
    # an event loop would wait longer than it works.
    sys.setswitchinterval(0.0005)


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings, rules: Rules, files: SloFiles) -> None:
        self.settings = settings
        self.rules = rules
        self.files = files
        self.stats = Stats()
        self.stats.slo_files_loaded_at_s = time.time()
        self.topics = declare_topics(settings.app, settings.partitions, settings.topic_prefix)
        self.tasks: set[asyncio.Task[None]] = set()
        self.contact = Contact()
        self.overload = Overload()
        self.missing = MissingTopics()
        self.is_told_ready = False
        self.lost = "the reason is looked for"
        """Why Kafka does not answer."""

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, which may come while Kafka is still waited for."""
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            stack.enter_context(stop_on_signals(stop))
            if not await _done_before(stop, self._prepare(stack)):
                return
            self._start(self.ingest.heartbeat(lambda: self.app.consumer))
            self._start(self._watch_slo_files())
            self._start(self._watch_progress(stop))
            self._start(self._watch_contact())
            try:
                await run(self.app, stop)
            except UserError as error:
                _end_at_once(error)
            for task in self.tasks:
                task.cancel()
            log.info("stopped: everything is checkpointed, and the group left")

    async def _prepare(self, stack: AsyncExitStack) -> None:
        """Everything up to joining the group; ``stack`` takes what has to be closed."""
        settings = self.settings
        brokers, security = settings.brokers, security_of(settings)
        await wait_for_brokers(brokers, settings.connect_timeout.total_seconds(), log.warning, security)
        admin = await stack.enter_async_context(
            Admin(brokers, security, replication_factor=settings.replication_factor)
        )
        await admin.ensure(self.topics, create=settings.create_topics)
        self.sender = Sender(brokers, security)
        await self.sender.start()
        stack.push_async_callback(self.sender.stop)
        session_timeout_s = settings.session_timeout.total_seconds()
        self.app = make_app(settings.app, brokers, security, session_timeout_s=session_timeout_s)
        store = StateStore(brokers, settings.app, self.topics.state.name, security)
        self._wire(self.app, store, admin)
        stack.push_async_callback(self.impacts.stop)
        if settings.metrics_port:
            server = MetricsServer(
                self.stats,
                host=settings.metrics_host,
                port=settings.metrics_port,
                healthy=self._healthy,
                ready=self._ready,
            )
            await stack.enter_async_context(server)

    def _wire(self, app: BatchApp, store: StateStore, admin: Admin) -> None:
        settings, topics = self.settings, self.topics
        partials = topics.partials.name

        def read(partition: int, begin: int, end: int) -> AsyncIterator[bytes]:
            return peek(settings.brokers, partials, partition, begin, end, security_of(settings))

        self.ingest = Ingest(
            settings.app,
            (topics.requests.name, topics.partials.name, topics.outputs["dead-letters"].name),
            self.sender,
            self.rules,
            self.stats,
            settings.allowed_lateness // timedelta(milliseconds=1),
            settings.start,
            lambda: _where_left(store, self.rules.partitions),
            Fences(self.sender, partials, self.rules.partitions, store.look, read).put_up,
        )
        self.impacts = Impacts(
            settings.app,
            {name: topic.name for name, topic in topics.outputs.items()},
            lambda names, newest: Tail(settings.brokers, names, security_of(settings), newest),
            self.sender,
            self.rules.ruleset,
            self.stats,
        )
        self.notices = Notices(
            settings.app,
            (
                *(topics.deploys.name, topics.changes.name),
                *(topics.partials.name, topics.outputs["dead-letters"].name),
            ),
            self.sender,
            self.rules,
            self.stats,
            self.impacts.on_change,
        )
        self.windows = Windows(
            settings.app,
            settings.topic_prefix,
            topics.requests.name,
            store,
            self.rules,
            self.stats,
            settings.max_series,
            lambda tp, offset: _delete(admin, tp, offset),
            self._start,
        )
        app.on_acquired, app.on_give_up = self._acquire, self._give_up
        app.held_back = self.windows.held_back
        add_agents(app, topics, self.ingest, self.notices, self.windows)

    async def _acquire(self, tps: frozenset[TP], generation: int) -> None:
        requests, notices, partials = self._split(tps)
        for tp in partials:
            self._start(self.windows.acquire(self.app.consumer, tp, generation))
        await self.notices.acquire(self.app.consumer, notices, generation)
        await self.ingest.acquire(self.app.consumer, requests, generation)

    async def _give_up(self, tps: frozenset[TP], generation: int) -> None:
        requests, notices, partials = self._split(tps)
        self.ingest.give_up(requests)
        self.notices.give_up(notices)
        await self.windows.give_up(partials)

    def _split(self, tps: frozenset[TP]) -> tuple[list[TP], list[TP], list[TP]]:
        """Of request events, of deploy and change events, and of partials."""
        requests = sorted(tp for tp in tps if tp.topic == self.topics.requests.name)
        partials = sorted(tp for tp in tps if tp.topic == self.topics.partials.name)
        return requests, sorted(tps - {*requests, *partials}), partials

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work beside the agents; if it fails, the worker ends."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                if not self.app.crashed:  # what fails next mostly fails because of it
                    await self.app.crash(error)

        task = asyncio.create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _watch_slo_files(self) -> None:
        """Take changed SLO files into use; keep the old ones while the new are faulty."""
        while True:
            await asyncio.sleep(self.settings.reload_interval.total_seconds())
            found = await self.files.look()
            if isinstance(found, UserError):
                self.stats.slo_files_valid = False
            elif found is not None:
                await self._use(found)
                self.stats.slo_files_valid, self.stats.slo_files_loaded_at_s = True, time.time()

    async def _use(self, found: Ruleset) -> None:
        if found != self.rules.ruleset:
            changes = edits(self.rules.ruleset, found)
            self.rules.take(await in_own_thread(lambda: self.rules.made_of(found), "slo-files"))
            await self.impacts.use(found)
            await self.windows.reload(self.app.consumer)
            log.info("%s in use after a change of the files: %s", _told(found), changes)
        elif not self.stats.slo_files_valid:
            log.info("the SLO files are good again, and say what is in use: %s", _told(found))

    async def _watch_progress(self, stop: asyncio.Event) -> None:
        """End the worker when something stands still. Stopping has a limit of its own."""
        watchdog, guard = Watchdog(), LoopGuard(_end_at_once)
        guard.start()
        while True:
            asked_s = time.monotonic()
            await asyncio.sleep(CHECK_EVERY_S / 2)
            guard.beat()
            if stop.is_set():
                continue
            self.sender.check()
            consumer, now_s = self.app.consumer, time.monotonic()
            work = _delivery(consumer)
            for agent in (self.ingest, self.notices, self.windows):
                work |= agent.work(consumer)
            watchdog.check(work, now_s, now_s - asked_s - CHECK_EVERY_S / 2)
            if not self.contact.is_lost:
                self._tell_of_overload(watchdog.waiting(work, now_s), work, now_s)

    def _tell_of_overload(self, waiting: Mapping[str, float], work: Mapping[str, Work], now_s: float) -> None:
        left = sum(max(0, one.left) for one in work.values() if one.stall is None)
        line = self.overload.look(waiting, left, now_s)
        self.stats.longest_wait_s = self.overload.longest_wait_s
        if line is not None:
            log.log(logging.WARNING if self.overload.text else logging.INFO, line)

    async def _watch_contact(self) -> None:
        """Say when Kafka does not answer any longer, and when it does again."""
        inputs = [topic.name for topic in (self.topics.requests, self.topics.deploys, self.topics.changes)]
        while True:
            await asyncio.sleep(CONTACT_CHECK_S)
            now_s, consumer = time.monotonic(), self.app.consumer
            self._tell_ready()
            for line in self.missing.look({topic: consumer.partition_count(topic) for topic in inputs}):
                log.error("%s", line)
            waiting_s = max(0.0, now_s - consumer.waiting_since_s)
            seconds = self.contact.look(waiting_s, consumer.answered_s, now_s)
            if seconds is None:
                continue
            libraries_in_outage(self.contact.is_lost)
            if self.contact.is_lost:
                wrong = await what_is_wrong(self.settings.brokers, security_of(self.settings))
                self.lost = wrong or "the brokers can be reached, but a partition's leader does not answer"
                log.error("Kafka has not answered for %.0f s (%s): trying on", seconds, self.lost)
            else:
                log.info("Kafka answers again, after %.0f s", seconds)

    def _tell_ready(self) -> None:
        """Once a start."""
        if self.is_told_ready or self._ready() is not None:
            return
        self.is_told_ready = True
        log.info(
            "ready: %d of %d partitions, Kafka %s, burngate %s, %s",
            *(len(self.windows.owners), self.rules.partitions, ",".join(self.settings.brokers)),
            *(version("burngate"), "compiled scanner" if is_compiled else "no compiled scanner"),
        )

    def _healthy(self) -> str | None:
        return "crashed" if self.app.crashed else None

    def _ready(self) -> str | None:
        if self.contact.lost_since_s is not None:
            lost_s = time.monotonic() - self.contact.lost_since_s
            return f"Kafka has not answered for {lost_s:.0f} s ({self.lost})"
        missing = sorted(tp.partition for tp in self.windows.wanted if tp not in self.windows.owners)
        if missing:
            return f"restoring {counted(len(missing), 'partition')}: {_shortened(missing)}"
        if self.overload.text is not None:
            return self.overload.text
        return None if self.windows.wanted or self.ingest.readers else "waiting for partitions"


def _shortened(partitions: list[int]) -> str:
    shown = ", ".join(map(str, partitions[:MOST_SHOWN]))
    return f"{shown}, …" if len(partitions) > MOST_SHOWN else shown


def _delivery(consumer: Any) -> dict[str, Work]:
    """The work of the consumer itself, for the watchdog."""
    assignments, deliveries = consumer.assignments, consumer.deliveries
    joining = Work(assignments, assignments + consumer.is_joining, "the group shares out no partitions")
    reading = Work(deliveries, deliveries + consumer.is_delivering, "nothing is asked of Kafka")
    return {"joining": joining, "delivery": reading}


def add_agents(app: BatchApp, topics: Topics, ingest: Ingest, notices: Notices, windows: Windows) -> None:
    """The Faust agents: each hands its batches on, in order."""

    @app.agent(app.batched_topic(topics.requests.name), name="ingest")  # type: ignore[untyped-decorator]
    async def _ingest(stream: Any) -> None:
        async for event in stream.noack().events():
            await ingest.process(app.consumer, event.message.tp, event.value)

    @app.agent(app.batched_topic(topics.deploys.name), name="deploys")  # type: ignore[untyped-decorator]
    async def _deploys(stream: Any) -> None:
        async for event in stream.noack().events():
            await notices.process(app.consumer, event.message.tp, event.value)

    @app.agent(app.batched_topic(topics.changes.name), name="changes")  # type: ignore[untyped-decorator]
    async def _changes(stream: Any) -> None:
        async for event in stream.noack().events():
            await notices.process(app.consumer, event.message.tp, event.value)

    @app.agent(app.batched_topic(topics.partials.name), name="windows")  # type: ignore[untyped-decorator]
    async def _windows(stream: Any) -> None:
        async for event in stream.noack().events():
            await windows.process(app.consumer, event.message.tp, event.value)


async def _done_before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether ``work`` was done before ``stop`` was set; it is cancelled otherwise."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set() and not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    await working
    return True


def _end_at_once(error: UserError) -> NoReturn:
    """Without closing anything: with their broker gone, the clients would keep the process for minutes, and
    nothing that they could still do would count."""
    log.critical("%s", error)
    logging.shutdown()
    os._exit(error.exit_code)


async def _where_left(store: StateStore, partitions: int) -> Mapping[int, Resumption | None]:
    """By source partition, where its reader left it, as the state of all service partitions has it."""
    looks = await asyncio.gather(*(store.look(partition) for partition in range(partitions)))
    try:
        return resumptions(memory(records) for records in looks)
    except ValueError as error:
        raise StateError(f"the state cannot be read: {error}") from error


async def _delete(admin: Admin, tp: TP, offset: int) -> None:
    await admin.delete_records(tp.topic, tp.partition, offset)


def _told(rules: Ruleset) -> str:
    slos = counted(len(rules.objectives), "SLO")
    if not rules.analyses:
        return slos
    return f"{slos} and {counted(len(rules.analyses), 'canary analysis', 'canary analyses')}"
