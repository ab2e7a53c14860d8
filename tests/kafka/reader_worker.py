"""A worker with two trivial agents, run by test_engine.py as a process of its own.

Each agent checks that what it reads is unbroken, commits after each batch, and notes what it did, one JSON
object a line. Arguments: broker, app name, two topics, the file to write to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

from faust.types import TP

from stream.errors import UserError
from stream.kafka.engine import BatchApp, make_app, run
from stream.kafka.failures import StaleGenerationError


class Reader:
    def __init__(self, app: BatchApp, notes: Path) -> None:
        self.app = app
        self.notes = notes.open("a", buffering=1)
        self.next_offset: dict[TP, int] = {}
        self.runs: dict[TP, int] = {}
        self.generation = -1

    def note(self, what: str, **more: Any) -> None:
        self.notes.write(json.dumps({"what": what, "generation": self.generation, **more}) + "\n")

    async def on_acquired(self, tps: frozenset[TP], generation: int) -> None:
        self.generation = generation
        self.next_offset.clear()
        for tp in tps:
            # A zombie may learn here what its successor has committed: reading must begin there too.
            committed = await self.app.consumer.committed_offset(tp)
            offset = committed.offset if committed else 0
            self.runs[tp] = await self.app.consumer.seek_offset(tp, offset)
            self.next_offset[tp] = offset
        self.note("acquired", count=len(tps))

    async def on_give_up(self, tps: frozenset[TP], generation: int) -> None:
        assert generation == self.generation
        committed = True
        for tp in tps:
            offset = self.next_offset[tp]  # an agent may come further during the loop
            try:
                await self.app.consumer.commit_offset(tp, offset, "last", generation=generation)
            except StaleGenerationError:
                committed = False
        self.next_offset.clear()
        self.note("gave up", committed=committed)

    async def read(self, stream: Any) -> None:
        consumer = self.app.consumer
        async for event in stream.noack().events():
            tp, batch, generation = event.message.tp, event.value, consumer.generation
            if tp not in self.next_offset or batch.run < self.runs[tp]:
                continue
            assert batch.begin == self.next_offset[tp], f"{tp}: {batch.begin} after {self.next_offset[tp]}"
            for offset, value in zip(batch.offsets, batch.values, strict=True):
                assert value == b"%d" % tp.partition, (tp, offset, value)
            await asyncio.sleep(random.random() * 0.02)
            if consumer.generation != generation:
                continue
            self.next_offset[tp] = batch.end
            self.note("read", tp=list(tp), begin=batch.begin, end=batch.end, count=len(batch.offsets))
            try:
                await consumer.commit_offset(tp, batch.end, "read", generation=generation)
            except StaleGenerationError:
                self.note("stale")


async def main(broker: str, name: str, topics: list[str], notes: Path) -> None:
    app = make_app(name, [broker], session_timeout_s=6.0, max_fetch_bytes=20_000)
    reader = Reader(app, notes)
    app.on_acquired, app.on_give_up = reader.on_acquired, reader.on_give_up
    for number, topic in enumerate(topics):
        app.agent(app.batched_topic(topic), name=f"reader-{number}")(reader.read)
    await run(app)
    reader.note("stopped")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:5], Path(sys.argv[5])))
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the command line of the tests
        sys.exit(error.exit_code)
