"""A producer of events that happen now: in a process of its own, at a steady rate, until it is told to stop.

    python -m benchmarks.live BROKER TOPIC RATE BEHIND_S SEED

It begins with events of ``BEHIND_S`` seconds ago and hurries until it has reached the present. Prints a line
``{"level": …}`` then. When its standard input is closed it stops and prints ``{"sent": …, "passed": …}``:
by tick and partition, the broker's time of the first batch with an event that lets the tick be decided.

One service of two, in turn, answers 5 % of its requests of a pane with errors and none of the next pane's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
from aiokafka import AIOKafkaProducer

from benchmarks.producing import PARTITIONS, producer_of
from benchmarks.traffic import LATENESS_MS, write

SERVICES, ENDPOINTS = 100, 10
SLOT_MS = 20
PANE_MS = 10_000


class Live:
    def __init__(self, producer: AIOKafkaProducer, topic: str, rate: int, seed: int) -> None:
        self.producer, self.topic = producer, topic
        self.per_slot = rate * SLOT_MS // 1000
        self.rng = np.random.default_rng(seed)
        self.sent = 0
        self.passed: dict[int, dict[int, int]] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    async def run(self, start_ms: int, stop: threading.Event) -> None:
        """From ``start_ms`` on, slot by slot, none before its end."""
        slot_ms, is_level = start_ms, False
        while not stop.is_set():
            ahead_s = (slot_ms + SLOT_MS) / 1000 - time.time()
            if ahead_s > 0:
                if not is_level:
                    is_level = True
                    print(json.dumps({"level": self.sent}), flush=True)
                await asyncio.sleep(ahead_s)
            await self._send(slot_ms)
            slot_ms += SLOT_MS
        await asyncio.gather(*self._waiting)

    async def _send(self, slot_ms: int) -> None:
        ts = slot_ms + np.arange(self.per_slot) * SLOT_MS // self.per_slot
        events = list(self._events(ts))
        for partition in range(PARTITIONS):
            batch = self.producer.create_batch()
            for event in events[partition::PARTITIONS]:
                assert batch.append(key=None, value=event, timestamp=None) is not None, "the rate is too high"
            sent = await self.producer.send_batch(batch, self.topic, partition=partition)
            task = asyncio.create_task(self._note(sent, partition, int(ts[partition::PARTITIONS][-1])))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        self.sent += self.per_slot

    def _events(self, ts: np.ndarray) -> Iterator[bytes]:
        service = self.rng.integers(SERVICES, size=len(ts))
        endpoint = self.rng.integers(ENDPOINTS, size=len(ts))
        bad = np.where((ts // PANE_MS + service) % 2 == 0, 0.05, 0.0)
        return write(ts, service, endpoint, np.zeros(len(ts), np.int64), self.rng, bad)

    async def _note(self, sent: asyncio.Future, partition: int, last_ms: int) -> None:
        arrived_ms = (await sent).timestamp
        tick_ms = (last_ms - LATENESS_MS) // PANE_MS * PANE_MS
        seen = self.passed.setdefault(tick_ms, {})
        seen[partition] = min(arrived_ms, seen.get(partition, arrived_ms))


async def main(broker: str, topic: str, rate: int, behind_s: float, seed: int) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    producer = producer_of(broker)
    await producer.start()
    live = Live(producer, topic, rate, seed)
    await live.run(round((time.time() - behind_s) * 1000), stop)
    await producer.stop()
    print(json.dumps({"sent": live.sent, "passed": live.passed}), flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(arguments[0], arguments[1], int(arguments[2]), float(arguments[3]), int(arguments[4])))
