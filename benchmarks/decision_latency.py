"""How long a decision takes once the events that allow it have arrived: 50,000 events/s, as they happen.

A tick T may be decided when every source partition holds an event of T + lateness or later. The clock starts
at the broker's own time of the batch that brought the last of these events, and stops when a reader of
committed records has the decision in hand; so it holds fetching, counting, deciding, the checkpoint's
transaction and delivery. One machine, one clock. Objectives are such that each service's alert changes at
every tick: a hundred decisions each ten seconds, and the budgets of every minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer
from rich.table import Table

from benchmarks import producing
from benchmarks.lab import Lab
from benchmarks.live import SERVICES
from benchmarks.live_process import LiveProducer
from benchmarks.rows import Measured
from stream.wire.rfc3339 import parse_ms

RATE = 50_000
WARM_UP_S = 25.0
TOPICS = ("slo-alerts", "slo-budgets")

_SLO = """\
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: s{service}-availability}}
spec:
  service: s{service}
  sli: {{metric: availability}}
  target: 99
  timeWindow: {{type: rolling, duration: 30d}}
  alerting:
    - {{window: 10s, shortWindow: "off", burnRateThreshold: 2, minBadEvents: 0, keepFiringFor: 0s}}
    - {{window: 1h, burnRateThreshold: 14.4}}
    - {{window: 6h, burnRateThreshold: 6}}
  errorBudgetPolicy: {{freezeDeploymentsThreshold: 10, autoRollbackThreshold: 5}}
"""

Seen = tuple[str, int, float]
"""(topic, tick in ms, when it was in a reader's hands in ms)."""


def measure(lab: Lab) -> Measured:
    duration_s = 60.0 if lab.quick else 260.0
    slos = lab.slos("latency", (_SLO.format(service=number) for number in range(SERVICES)))
    lab.clear()
    asyncio.run(producing.create(lab.broker, "request-events"))
    with LiveProducer(lab.broker, "request-events", RATE) as producer, lab.worker(slos) as worker:
        while worker.events() == 0:
            worker.check()
            time.sleep(0.1)
        lab.say(f"{RATE:,} events/s for {duration_s:.0f} s")
        cpu_s, counted, begun_s = worker.cpu_s(), worker.events(), time.time()
        seen = asyncio.run(_read(lab.broker, duration_s))
        cpu_s, counted = worker.cpu_s() - cpu_s, worker.events() - counted
        rate = counted / (time.time() - begun_s)
        passed = producer.stop()["passed"]
        worker.stop()
    lab.say(f"counted {rate:,.0f} events/s, {cpu_s / counted * 1e6:.2f} CPU seconds per million")
    if rate < 0.98 * RATE:
        raise RuntimeError(f"the load was {rate:,.0f} events/s and not {RATE:,}: this machine is too slow")
    allowed = {int(tick): max(by.values()) for tick, by in passed.items() if len(by) == producing.PARTITIONS}
    from_ms = (begun_s + WARM_UP_S) * 1000
    samples = [s for s in seen if s[1] >= from_ms and s[1] in allowed]
    delays = {topic: [at - allowed[tick] for name, tick, at in samples if name == topic] for topic in TOPICS}
    table = Table("decisions on", "number", "p50 ms", "p99 ms", "max ms")
    for topic, found in delays.items():
        table.add_row(topic, str(len(found)), *(f"{v:,.0f}" for v in _summary(found)))
    ticks = [
        max(at for _, tick, at in samples if tick == one) - allowed[one] for one in {s[1] for s in samples}
    ]
    table.add_row("last of each tick", str(len(ticks)), *(f"{v:,.0f}" for v in _summary(ticks)))
    lab.show(table)
    return {"latency": [float(np.percentile([d for found in delays.values() for d in found], 99))]}


def _summary(delays: list[float]) -> Iterator[float]:
    yield from np.percentile(delays, (50, 99, 100)) if delays else ()


async def _read(broker: str, duration_s: float) -> list[Seen]:
    """Every decision that appears for so long, and when it was here."""
    consumer = AIOKafkaConsumer(
        *TOPICS, bootstrap_servers=broker, isolation_level="read_committed", auto_offset_reset="latest"
    )
    await consumer.start()
    seen: list[Seen] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            while True:
                found = await consumer.getmany(timeout_ms=1000)
                at_ms = time.time() * 1000
                for tp, records in found.items():
                    for record in records:
                        tick_ms = parse_ms(orjson.loads(record.value)["evaluated_at"])
                        seen.append((tp.topic, tick_ms, at_ms))
    await consumer.stop()
    return seen
