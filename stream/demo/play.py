"""``burngate load``: the shop's traffic into any Kafka, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from stream.console import text
from stream.demo.teller import Teller
from stream.errors import UsageError
from stream.kafka.connect import wait_for_brokers
from stream.kafka.feed import Feed
from stream.kafka.security import PLAINTEXT, Security
from stream.kafka.topics import declare_topics
from stream.load.story import LENGTH_S
from stream.load.traffic import DEFAULT_RATE, Shop

MOST_EVENTS_PER_S = 200_000
_REPORT_S = 10.0
_DELAY_MS = 1000
"""How far behind the clock live traffic is, so that no event is of the future."""


def load(
    brokers: Sequence[str],
    *,
    rate: float = DEFAULT_RATE,
    duration_s: float | None = None,
    speed: float = 1.0,
    seed: int = 1,
    topic_prefix: str = "",
    partitions: int = 8,
    connect_timeout_s: float = 60.0,
    security: Security = PLAINTEXT,
    report: Callable[[str], object] = lambda line: None,
) -> int:
    """Play the shop until SIGTERM, SIGINT or ``duration_s``: into ``request-events``, and its releases into
    ``deploy-events``; both are created if missing.

    ``rate``: events a second of event time; ``speed``: event seconds a second. At speed 1 the story starts
    now. A faster one starts an hour back, catches up with the clock and goes on with it. Returns the exit
    status. Raises ``UsageError`` for numbers out of range, ``UnreachableError``, ``TopicError`` and
    ``SendError``.
    """
    check_load(rate, speed, seed, duration_s)
    start_ms = _now_ms() - (LENGTH_S * 1000 if speed > 1 else 0)
    shop = Shop(start_ms - start_ms % 1000, seed=seed, rate=rate)
    topics = declare_topics("load", partitions, topic_prefix)
    topic = topics.requests

    async def play() -> None:
        await wait_for_brokers(brokers, connect_timeout_s, report, security)
        async with Feed(brokers, topic, security) as feed, Feed(brokers, topics.deploys, security) as deploys:
            teller = Teller(shop, feed, deploys)
            await _until_stopped(
                duration_s,
                teller.tell(speed=speed, now_ms=lambda: _now_ms() - _DELAY_MS),
                _report(teller, topic.name, report),
            )
            report(f"{text.count(teller.sent)} events sent to {topic.name}")

    asyncio.run(play())
    return 0


def check_load(rate: float, speed: float, seed: int, duration_s: float | None) -> None:
    """Raise ``UsageError`` with everything that is out of range."""
    problems = []
    if not 1 <= rate <= MOST_EVENTS_PER_S:
        problems.append(f"--rate {rate:g}: 1 to {MOST_EVENTS_PER_S:,} events a second are possible")
    if not 0.01 <= speed <= 10_000:
        problems.append(f"--speed {speed:g}: 0.01 to 10,000 is possible")
    if not 0 <= seed < 1 << 63:
        problems.append(f"--seed {seed}: a seed is a whole number from 0 on")
    if duration_s is not None and not 1 <= duration_s <= 365 * 86_400:
        problems.append(f"--duration {duration_s:g}: a second to a year is possible")
    if problems:
        raise UsageError("\n".join(problems))


async def _until_stopped(duration_s: float | None, *works: Coroutine[Any, Any, None]) -> None:
    """Run ``works`` until the time is over or a signal asks to stop; the first failure is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [loop.create_task(work) for work in works]
    ending = loop.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait(
            [*tasks, ending], timeout=duration_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()
    finally:
        for task in (*tasks, ending):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, ending, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _report(teller: Teller, topic: str, report: Callable[[str], object]) -> None:
    report(f"sending to {topic}, from {text.clock(teller.told_ms)} UTC on; Ctrl-C stops it")
    while True:
        await asyncio.sleep(_REPORT_S)
        report(
            f"{text.clock(teller.told_ms)}  {text.count(teller.events_per_s)} events/s, "
            f"{text.count(teller.sent)} sent"
        )


def _now_ms() -> int:
    return int(time.time() * 1000)
