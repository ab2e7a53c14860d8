"""A worker with one thing in it that stands still, and with less patience than real ones have.

python stalling_worker.py CAUSE [ARGUMENT OF burngate …]
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.agents import windows
from stream.agents.ingest import Ingest
from stream.agents.watchdog import LoopGuard, Watchdog
from stream.agents.windows import Windows
from stream.cli import main
from stream.kafka.sender import Sender

PATIENCE_S = 8.0


async def for_ever(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def nothing(*_: object, **__: object) -> None:
    pass


def an_agent_that_hangs() -> None:
    Ingest.process = for_ever  # type: ignore[method-assign]


def an_owner_that_hangs() -> None:
    Windows.process = for_ever  # type: ignore[method-assign]


def a_partition_that_nobody_reads() -> None:
    Ingest.acquire = nothing  # type: ignore[method-assign]


def no_checkpoint() -> None:
    windows.CHECKPOINT_EVERY_S = 1.0
    Windows._checkpoint_due = lambda *_: False  # type: ignore[method-assign]
    Windows._checkpoint_later = nothing  # type: ignore[method-assign]


def a_send_without_an_answer() -> None:
    send = AIOKafkaProducer.send

    async def unanswered(producer: Any, topic: str, *values: Any, **options: Any) -> Any:
        if topic.endswith("-partials"):
            return asyncio.get_running_loop().create_future()
        return await send(producer, topic, *values, **options)

    AIOKafkaProducer.send = unanswered


def a_loop_that_stands_still() -> None:
    async def block(*_: object) -> None:
        threading.Event().wait(600)

    Ingest.process = block  # type: ignore[method-assign]


def turns_that_take_long() -> None:
    """It hangs nowhere: it has too much to do."""
    take = Ingest.process

    async def slowly(self: Ingest, consumer: Any, tp: Any, batch: Any) -> None:
        feed = self._feed

        async def slow_feed(*values: Any) -> None:
            await asyncio.sleep(2.0)
            await feed(*values)

        self._feed = slow_feed  # type: ignore[method-assign]
        try:
            await take(self, consumer, tp, batch)
        finally:
            self._feed = feed  # type: ignore[method-assign]

    Ingest.process = slowly  # type: ignore[method-assign]


def nothing_of_its_own() -> None:
    """What stands still is outside."""


def impatient() -> None:
    Watchdog.__init__.__defaults__ = (PATIENCE_S,)  # type: ignore[misc]
    LoopGuard.__init__.__kwdefaults__ = {"every_s": PATIENCE_S / 15}  # type: ignore[misc]
    (Sender.__init__.__kwdefaults__ or {})["delivery_timeout_s"] = PATIENCE_S


if __name__ == "__main__":
    causes: dict[str, Callable[[], None]] = {
        cause.__name__: cause
        for cause in (
            an_agent_that_hangs,
            an_owner_that_hangs,
            a_partition_that_nobody_reads,
            no_checkpoint,
            a_send_without_an_answer,
            a_loop_that_stands_still,
            turns_that_take_long,
            nothing_of_its_own,
        )
    }
    impatient()
    causes[sys.argv.pop(1)]()
    main()
