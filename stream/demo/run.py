"""``burngate demo``: the whole main job on one machine, from an empty Kafka to a summary.

Kafka and the worker are child processes that end with this one, however it ends; what is shown of them is in
:mod:`stream.demo.showing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from stream.console.plain import say
from stream.demo.play import check_load
from stream.demo.showing import Showing
from stream.demo.worker import WorkerProcess
from stream.errors import UsageError
from stream.kafka.connect import wait_for_brokers
from stream.kafka.failures import TopicError, UnreachableError
from stream.kafka.feed import delete_topics
from stream.kafka.local import existing_or_local
from stream.kafka.topics import Topics, declare_topics
from stream.load import SHOP_SLOS
from stream.load.story import LENGTH_S
from stream.load.traffic import DEFAULT_RATE, Shop
from stream.setting_values import parse_brokers

DURATION_S = 60.0

_VARIABLE = "BURNGATE_KAFKA"
_CONNECT_LIMIT_S = 20.0
_PARTITIONS = 4
_ROUND_MS = 300_000
_LATEST_START_MS = (LENGTH_S + 60) * 1000
"""How long ago the story starts at least: no event may be of the future, its epilogue's neither."""


def run(
    *,
    duration_s: float | None = None,
    headless: bool = False,
    keep_running: bool = False,
    seed: int = 1,
    rate: float = DEFAULT_RATE,
    console: Console | None = None,
) -> int:
    """Tell an hour of event time in ``duration_s`` of the clock (default 60); then the summary.

    ``rate``: events a second of event time. ``BURNGATE_KAFKA`` names a Kafka to use instead of a local one.
    Returns 0 when the story was seen whole and every event was counted, 1 otherwise. Raises ``UserError``
    for what cannot be had, ``KeyboardInterrupt`` on Ctrl-C (SIGTERM, SIGHUP) before the summary.
    """
    duration_s = DURATION_S if duration_s is None else duration_s
    if not 5 <= duration_s <= LENGTH_S:
        raise UsageError(f"--duration {duration_s:g}: the hour can be told in 5 to {LENGTH_S:,} seconds")
    check_load(rate, LENGTH_S / duration_s, seed, None)
    console = console or Console()
    # What they retry would be written across the screen; what they give up is raised.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with _Interruption() as interruption, _surroundings(console, interruption) as (brokers, topics, worker):
        demo = Showing(console, brokers, topics, worker, Shop(_start_ms(), seed=seed, rate=rate))
        is_live = console.is_terminal and not console.is_dumb_terminal and not headless
        try:
            interruption.run(demo.play(LENGTH_S / duration_s, is_live, keep_running))
        except KeyboardInterrupt:
            if demo.status is None:
                demo.say_so_far()
                raise
        assert demo.status is not None, "a story ends with a status"
        return demo.status


@contextlib.contextmanager
def _surroundings(
    console: Console, interruption: _Interruption
) -> Iterator[tuple[list[str], Topics, WorkerProcess]]:
    """A Kafka and a worker at work on topics of our own."""

    def report(line: str) -> None:
        say(console, Text(line, "dim"))

    existing = os.environ.get(_VARIABLE)
    if existing:
        brokers = parse_brokers(existing, _VARIABLE)
        report(f"using the Kafka at {existing}, as {_VARIABLE} says")
        try:
            interruption.run(wait_for_brokers(brokers, _CONNECT_LIMIT_S, report))
        except UnreachableError as error:
            raise UnreachableError(f"{_VARIABLE}: {error}") from None
    else:
        report("starting a local Kafka")
    app = f"demo-{secrets.token_hex(4)}"
    with existing_or_local(report) as bootstrap:
        report("starting a worker")
        brokers = parse_brokers(bootstrap)
        options = ["--brokers", ",".join(brokers), "--slos", str(SHOP_SLOS), "--partitions", str(_PARTITIONS)]
        options += ["--app", app, "--topic-prefix", f"{app}-"]
        try:
            with WorkerProcess(*options) as worker:
                yield [*brokers], declare_topics(app, _PARTITIONS, f"{app}-"), worker
        finally:
            if existing:
                with contextlib.suppress(TopicError):
                    asyncio.run(delete_topics(brokers, f"{app}-"))


def _start_ms() -> int:
    """A round time so long ago that the whole story is in the past."""
    latest_ms = int(time.time() * 1000) - _LATEST_START_MS
    return latest_ms - latest_ms % _ROUND_MS


class _Interruption:
    """SIGTERM, and SIGHUP where it is not ignored, end the demo as Ctrl-C does. A context manager."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """``asyncio.run``; raises ``KeyboardInterrupt`` when a signal came, once all tasks have ended."""

        async def interruptible() -> None:
            self._task = asyncio.current_task()
            try:
                await main
            finally:
                self._task = None

        try:
            asyncio.run(interruptible())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self._task is None:
            raise KeyboardInterrupt
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def __enter__(self) -> _Interruption:
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        for number, handler in self._previous.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
