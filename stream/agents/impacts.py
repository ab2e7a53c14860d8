"""Changes as they are told, judged by what the output topics say, to ``change-impacts``.

Nothing is read until the first change comes: who tells of none pays nothing. Then the book is made of the
committed records (of budgets only the newest), and brought up to date for each further change. So a change is
judged by everything that was committed when it came, and what was judged before is known after a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from stream.fleet.book import TOPICS, Book
from stream.kafka.sender import Sender
from stream.kafka.tail import Tail, TailError
from stream.model.deploy import ChangeEvent
from stream.model.ruleset import Ruleset
from stream.model.stats import Stats
from stream.wire.signal import Signal, encode, headers

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between attempts to read, longer each time."""
_SPARE_OFFSETS = 1_000

OpenTail = Callable[[Mapping[str, str], Mapping[str, int]], Tail]
"""Of topics by bare name, and how many of the newest offsets of some are enough."""


def newest_needed(rules: Ruleset) -> dict[str, int]:
    """A minute's budgets are at most one for each SLO; two minutes, and markers of transactions between."""
    return {"slo-budgets": 2 * len(rules.objectives) + _SPARE_OFFSETS}


class Impacts:
    """The changes of a worker."""

    def __init__(
        self,
        app: str,
        topics: Mapping[str, str],
        open_tail: OpenTail,
        sender: Sender,
        rules: Ruleset,
        stats: Stats,
    ) -> None:
        """``topics``: each output topic's name, by its bare name."""
        self.app = app
        self.topics = topics
        self.open_tail = open_tail
        self.sender = sender
        self.stats = stats
        self._rules = self._used = rules
        self._book = Book(rules)
        self._tail: Tail | None = None
        self._closing = AsyncExitStack()
        self._one_at_a_time = asyncio.Lock()

    async def use(self, rules: Ruleset) -> None:
        """What the files say from the next change on. Does not wait for the one that is being judged."""
        self._rules = rules

    async def on_change(self, event: ChangeEvent) -> None:
        """Returns when the change's impact is published. A repeat is not judged again, unless it comes to two
        workers at once or the first is long forgotten."""
        async with self._one_at_a_time:
            if self._rules is not self._used:
                self._book.use(self._rules)
                self._used = self._rules
            await self._catch_up()
            if self._book.holds(event):
                return
            # In a thread: over a large graph and a long history it takes its time.
            await self._publish(await asyncio.to_thread(self._book.judge, event))

    async def stop(self) -> None:
        self._tail = None
        await self._closing.aclose()

    async def _publish(self, signal: Signal) -> None:
        """A failure ends the worker; the next one does not find the record, and judges anew."""
        topic = self.topics[signal.topic]
        sent = await self.sender.send(
            topic, None, signal.key.encode(), encode(signal), headers(signal, self.app)
        )
        await sent
        self.stats.signals[signal.topic] += 1

    async def _catch_up(self) -> None:
        """Tried until it succeeds: without Kafka there is nothing else to do."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await self._read()
            except TailError as error:
                log.warning("a change waits to be judged: %s; tried again in %.0f s", error, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _read(self) -> None:
        if self._tail is None:
            tail = self.open_tail({name: self.topics[name] for name in TOPICS}, newest_needed(self._rules))
            self._tail = await self._closing.enter_async_context(tail)
        async for signals in self._tail.up_to_now():
            for signal in signals:
                for _ in self._book.observe(signal.topic, signal.record):
                    raise AssertionError("no change waits in a worker")
