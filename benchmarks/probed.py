"""A worker whose event loops are watched: how long each callback holds its loop, and which ones hold it long.

    BENCH_PROBE=FILE python -m benchmarks.probed worker …

When the worker ends, FILE has the longest holds as JSON. Wall time is what heartbeats wait for; the thread's
own CPU time beside it tells what was work and what was waiting for a core.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
import time
from asyncio import events
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream.cli import main

LONG_S = 0.015
_KEPT = 5_000


class Probe:
    """Times every callback of every event loop in the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holds: list[dict[str, Any]] = []
        self.count = 0

    def install(self) -> None:
        run: Callable[[events.Handle], None] = events.Handle._run
        clock, cpu_clock = time.perf_counter, time.thread_time

        def timed(handle: events.Handle) -> None:
            task = getattr(handle._callback, "__self__", None)
            before_s, before_cpu_s = clock(), cpu_clock()
            run(handle)
            held_s = clock() - before_s
            if held_s > LONG_S:
                self.note(task, handle, before_s, held_s, cpu_clock() - before_cpu_s)

        events.Handle._run = timed
        atexit.register(self.write)

    def note(self, task: object, handle: events.Handle, at_s: float, held_s: float, cpu_s: float) -> None:
        self.count += 1
        if len(self.holds) < _KEPT:
            self.holds.append(
                {
                    "at_s": at_s,
                    "held_ms": held_s * 1000,
                    "cpu_ms": cpu_s * 1000,
                    "thread": threading.current_thread().name,
                    "what": _where(task) if isinstance(task, asyncio.Task) else repr(handle)[:200],
                }
            )

    def write(self) -> None:
        self.path.write_text(json.dumps({"count": self.count, "holds": self.holds}))


def _where(task: asyncio.Task[Any]) -> str:
    """The chain of coroutines in which the task waits now, after what it did."""
    chain, coro = [], task.get_coro()
    while coro is not None and len(chain) < 12:
        chain.append(getattr(coro, "__qualname__", type(coro).__name__))
        coro = next(
            (
                found
                for name in ("cr_await", "ag_await", "gi_yieldfrom")
                if (found := getattr(coro, name, None))
            ),
            None,
        )
    return " > ".join(chain)


if __name__ == "__main__":
    Probe(Path(os.environ["BENCH_PROBE"])).install()
    main()
