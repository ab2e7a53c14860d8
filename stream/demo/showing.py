"""One showing of the demo: the tasks of an event loop, and what they share.

The shop's traffic goes to Kafka, the signals that come back go onto the board, a view shows the board. When a
signal asks for a rollback or a promotion the shop obeys, as a deploy tool would.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from stream.config import load_objectives
from stream.console.board import Board, Happening
from stream.console.live import LiveView
from stream.console.plain import Chronicle, happening_lines, say, status_line
from stream.console.progress import Progress
from stream.console.text import clock, epoch_ms
from stream.demo.summary import Summary, so_far, what_next
from stream.demo.teller import Teller
from stream.demo.worker import WorkerProcess
from stream.kafka.feed import Feed
from stream.kafka.tail import Signal, Tail
from stream.kafka.topics import Topics
from stream.load import SHOP_SLOS
from stream.load.story import LENGTH_S, PLANS
from stream.load.traffic import Shop

TITLE = "a small shop's hour"

_EPILOGUE_MS = 30_000
"""Told after the end, so that the watermark passes it."""
_REACTION_MS = 30_000
"""Event time from a signal to its effect."""
_DECISION_LIMIT_S = 60.0
_DRAW_S = 0.2
_STATUS_S = 5.0
_READ_S = 0.5
_ALL_LINES = 1000
_CAUSES = (
    "dead-letters",
    "latency-percentiles",
    "slo-budgets",
    "slo-alerts",
    "deploy-freezes",
    "rollout-status",
    "canary-verdicts",
    "deploy-rollbacks",
)

T = TypeVar("T")
_Show = Callable[[Callable[[], Progress]], Coroutine[Any, Any, None]]


class Showing:
    """``status`` is what to exit with, once the story is over."""

    def __init__(
        self, console: Console, brokers: list[str], topics: Topics, worker: WorkerProcess, shop: Shop
    ) -> None:
        self._console = console
        self._brokers = brokers
        self._topics = topics
        self._worker = worker
        self._shop = shop
        self._end_ms = shop.story.start_ms + LENGTH_S * 1000
        self._board = Board(len(load_objectives([SHOP_SLOS])))
        self._noted_ms = shop.story.start_ms
        self._teller: Teller | None = None
        self._decided = asyncio.Event()
        self.status: int | None = None

    async def play(self, speed: float, is_live: bool, keep_running: bool) -> None:
        """Tell the story, say what happened, and go on if wanted."""
        topics = self._topics
        names = {name: topics.outputs[name].name for name in _CAUSES}
        async with (
            Feed(self._brokers, topics.requests) as feed,
            Feed(self._brokers, topics.deploys) as deploys,
            Tail(self._brokers, names) as tail,
        ):
            teller = self._teller = Teller(self._shop, feed, deploys)
            show = self._draw if is_live else self._print
            self._say(
                Text(f"an hour from {clock(teller.told_ms)} UTC on, told {speed:.3g} times as fast", "dim")
            )
            others = partial(self._others, tail, teller)
            sent = await self._together(self._story(teller, speed), *others(show, speed))
            if is_live:
                self._console.print(LiveView(self._board, self._progress(teller, speed)), height=_ALL_LINES)
            summary = Summary(self._board, self._shop.story, self._end_ms, sent)
            self._say(Text(""), *summary.lines(), *what_next(self._worker.metrics_url, runs=keep_running))
            self.status = 0 if summary.complete else 1
            if keep_running:
                self._say(Text(""), Text("going on as fast as the clock, until Ctrl-C", "dim"))
                await self._together(teller.tell(speed=1.0), *others(show, 1.0))

    def say_so_far(self) -> None:
        """What there is to say when the story ends before its end; nothing if it has not begun."""
        if (teller := self._teller) is not None:
            self._say(*so_far(self._board, self._shop.story.start_ms, teller.told_ms, teller.sent))

    async def _story(self, teller: Teller, speed: float) -> Counter[str]:
        """Tell it to its end and wait until all of it is decided; events sent of each service."""
        await teller.tell(speed=speed, until_ms=self._end_ms)
        sent = Counter(teller.by_service)
        await teller.tell(speed=speed, until_ms=self._end_ms + _EPILOGUE_MS)
        with contextlib.suppress(TimeoutError):  # the summary names what is missing
            await asyncio.wait_for(self._decided.wait(), _DECISION_LIMIT_S)
        return sent

    def _others(
        self, tail: Tail, teller: Teller, show: _Show, speed: float
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._listen(tail, speed > 1), self._watch(), show(partial(self._progress, teller, speed))

    @staticmethod
    async def _together(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
        """Run all until ``main`` is done; the first failure of any is raised."""
        first = asyncio.ensure_future(main)
        tasks: list[asyncio.Future[Any]] = [first, *map(asyncio.ensure_future, others)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return first.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, tail: Tail, patient: bool) -> None:
        while True:
            # All that is committed by now, of all topics: a busy machine reads one long before another, and
            # what is decided up to a time is then known up to it.
            found = await tail.read(_READ_S)
            async for more in tail.up_to_now():
                found += more
            for signal_ in sorted(found, key=_order):
                self._board.apply(signal_.topic, signal_.record)
                self._obey(signal_)
            self._note_chapters(patient)
            decided_ms = self._board.decided_ms
            if decided_ms is not None and decided_ms >= self._end_ms:
                self._decided.set()

    def _obey(self, found: Signal) -> None:
        """Do what a deploy tool would do with the signal, if the story has it."""
        asked = _asked(found)
        if asked is None:
            return
        service, version, is_promotion = asked
        at_ms, story = epoch_ms(found.record["evaluated_at"]), self._shop.story
        plan = PLANS.get(service)
        if plan and plan.is_promoted == is_promotion and version == story.version(service, at_ms):
            self._shop.end_release(service, at_ms + _REACTION_MS)

    def _note_chapters(self, patient: bool) -> None:
        """Tell what the shop did once the signals have got there too, so that lines are in order; if there is
        time, the signals of all objectives: what one of them asks for later may be of an earlier time."""
        reached_ms = self._board.decided_ms if patient else self._board.event_ms
        if reached_ms is not None and reached_ms >= self._noted_ms:
            until_ms = reached_ms + 1
            for at_ms, line in self._shop.story.chapters(self._noted_ms, until_ms):
                self._board.note(at_ms, line)
            self._noted_ms = until_ms

    async def _watch(self) -> None:
        while True:
            self._worker.check()
            await asyncio.sleep(_READ_S)

    def _progress(self, teller: Teller, speed: float) -> Progress:
        return Progress(
            title=f"{TITLE}, metrics at {self._worker.metrics_url}",
            start_ms=self._shop.story.start_ms,
            length_s=LENGTH_S,
            told_ms=teller.told_ms,
            elapsed_s=teller.elapsed_s,
            speed=speed,
            sent=teller.sent,
            events_per_s=teller.events_per_s,
        )

    async def _draw(self, progress: Callable[[], Progress]) -> None:
        view = LiveView(self._board, progress())
        with Live(view, console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                view.progress = progress()
                live.refresh()
                await asyncio.sleep(_DRAW_S)

    async def _print(self, progress: Callable[[], Progress]) -> None:
        # At the pace of the clock a minute of event time would be long to wait.
        chronicle = Chronicle(self._board, progress().told_ms, patient=progress().speed > 1)
        try:
            status_s = time.monotonic() + _STATUS_S
            while True:
                self._tell(chronicle.news())
                if time.monotonic() >= status_s:
                    self._say(status_line(self._board, progress(), chronicle.at_ms))
                    status_s += _STATUS_S
                await asyncio.sleep(_DRAW_S)
        finally:
            self._tell(chronicle.news(everything=True))

    def _tell(self, news: list[Happening]) -> None:
        for happening in news:
            self._say(*happening_lines(happening))

    def _say(self, *lines: Text | str) -> None:
        say(self._console, *lines)


def _asked(found: Signal) -> tuple[str, str, bool] | None:
    """(service, version, whether it is to be promoted; else it is to be taken back); None: nothing is."""
    record = found.record
    if found.topic == "deploy-rollbacks":
        return record["service"], record["version"], False
    if found.topic == "canary-verdicts" and record["final"] and record["recommendation"] == "promote":
        return record["service"], record["canary"]["version"], True
    return None


def _order(found: Signal) -> tuple[int, int]:
    """By time; what follows from the budget or from a canary comes after it."""
    evaluated_at = found.record.get("evaluated_at")
    return (epoch_ms(evaluated_at) if evaluated_at else 0, _CAUSES.index(found.topic))
