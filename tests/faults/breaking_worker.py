"""A worker that kills itself with SIGKILL at one point, for the n-th time that it comes there.

python breaking_worker.py POINT N worker [ARGUMENT OF burngate worker …]
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.agents import owner
from stream.agents.windows import Windows
from stream.cli import main
from stream.kafka.state import StateStore
from stream.kafka.transport import Consumer


def _kill_at(owner: Any, name: str, number: int, *, after: bool, first: str | None = None) -> None:
    """Let the ``number``-th call of an async method be the last thing that happens; before it, or after it.

    ``first`` is a method of the same object that is awaited before.
    """
    method: Callable[..., Awaitable[Any]] = getattr(owner, name)
    left = [number]

    async def patched(self: Any, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            if first is not None:
                await getattr(self, first)()
            os.kill(os.getpid(), signal.SIGKILL)
        result = await method(self, *arguments, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, patched)


def _kill_in_a_gap(number: int) -> None:
    """Behind the ``number``-th checkpoint that leaves ticks of a gap in event time to be decided. Here few of
    them make one."""
    owner.MOST_DUE = 20
    checkpoint, left = Windows._checkpoint, [number]

    async def patched(self: Windows, one: owner.Owner) -> None:
        await checkpoint(self, one)
        left[0] -= one.keeper.has_rest
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Windows._checkpoint = patched  # type: ignore[method-assign]


POINTS: dict[str, Callable[[int], None]] = {
    "while it fences": lambda n: _kill_at(StateStore, "_restore", n, after=False),
    "while it restores": lambda n: _kill_at(AIOKafkaConsumer, "getmany", n, after=True),
    "within a transaction": lambda n: _kill_at(
        AIOKafkaProducer, "commit_transaction", n, after=False, first="flush"
    ),
    "after a transaction": lambda n: _kill_at(AIOKafkaProducer, "commit_transaction", n, after=True),
    "before a chunk's commit": lambda n: _kill_at(Consumer, "commit_offset", n, after=False),
    "in the middle of a gap": _kill_in_a_gap,
    "after a chunk's commit": lambda n: _kill_at(Consumer, "commit_offset", n, after=True),
}
"""Point → what makes the worker end there."""


if __name__ == "__main__":
    point, number = sys.argv.pop(1), int(sys.argv.pop(1))
    POINTS[point](number)
    main()
