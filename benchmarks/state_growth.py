"""What checkpoints write: by changed panes and not by events, and what compaction leaves of it.

Events come as they happen, first 10,000 and then 40,000 a second, of the same series, so that there is a
checkpoint for every tick; then the state topic is read as its owner's successor would read it, and once more
when the broker has compacted it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.table import Table

from benchmarks.lab import Lab
from benchmarks.live import SERVICES
from benchmarks.live_process import LiveProducer
from benchmarks.producing import PARTITIONS, create
from benchmarks.rows import Measured
from benchmarks.traffic import one_each
from stream.wire.state import parse_key

RATES = (10_000, 40_000)
_COMPACTION_LIMIT_S = 150.0


@dataclass(slots=True)
class Written:
    """What a state topic holds, all partitions together."""

    checkpoints: int = 0
    records: int = 0
    size_bytes: int = 0
    keys: set[tuple[int, bytes]] = field(default_factory=set)
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    records_by_kind: Counter[str] = field(default_factory=Counter)

    @property
    def mean_bytes(self) -> float:
        """Of a checkpoint."""
        return self.size_bytes / self.checkpoints


def measure(lab: Lab) -> Measured:
    duration_s = 45 if lab.quick else 95
    slos = lab.slos("state", one_each(SERVICES))
    table = Table(
        "events/s", "events", "checkpoints", "records", "bytes", "panes changed", "bytes/checkpoint"
    )
    found: list[Written] = []
    for rate in RATES:
        lab.clear()
        asyncio.run(create(lab.broker, "request-events"))
        app = f"growth-{rate}"
        with (
            LiveProducer(lab.broker, "request-events", rate) as producer,
            lab.worker(slos, app=app) as worker,
        ):
            lab.say(f"{rate:,} events/s for {duration_s} s")
            time.sleep(duration_s)
            worker.check()
            producer.stop()
            events = worker.events()
            worker.stop()
        written = asyncio.run(read(lab.broker, f"{app}-state"))
        found.append(written)
        panes = written.records_by_kind["pane"] + written.records_by_kind["hist"]
        figures = events, written.checkpoints, written.records, written.size_bytes, panes, written.mean_bytes
        table.add_row(f"{rate:,}", *(f"{figure:,.0f}" for figure in figures))
    lab.show(table)
    _show_kinds(lab, found[-1])
    if not lab.quick:
        _show_compaction(lab, f"growth-{RATES[-1]}-state", found[-1])
    return {"state": [100 * (found[1].mean_bytes / found[0].mean_bytes - 1)]}


def _show_kinds(lab: Lab, written: Written) -> None:
    table = Table("records of", "number", "bytes", "share")
    for kind, size in written.bytes_by_kind.most_common():
        share = 100 * size / written.size_bytes
        table.add_row(kind, f"{written.records_by_kind[kind]:,}", f"{size:,}", f"{share:.1f} %")
    lab.show(table)


def _show_compaction(lab: Lab, topic: str, before: Written) -> None:
    """Wait for the broker to compact, and say what is left."""
    started_s = time.perf_counter()
    left = before
    while time.perf_counter() - started_s < _COMPACTION_LIMIT_S and left.records > 1.5 * len(left.keys):
        time.sleep(10)
        left = asyncio.run(read(lab.broker, topic))
    lab.say(
        f"compaction: {before.records:,} records of {len(before.keys):,} keys, {left.records:,} records "
        f"after {time.perf_counter() - started_s:.0f} s"
    )


async def read(broker: str, topic: str) -> Written:
    """Everything committed in a state topic."""
    tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    consumer.assign(tps)
    end = await consumer.end_offsets(tps)
    written = Written()
    while any([await consumer.position(tp) < end[tp] for tp in tps]):
        for tp, records in (await consumer.getmany(timeout_ms=500)).items():
            for record in records:
                kind, _ = parse_key(record.key)
                size = len(record.key) + len(record.value or b"")
                written.records += 1
                written.size_bytes += size
                written.keys.add((tp.partition, record.key))
                written.bytes_by_kind[kind] += size
                written.records_by_kind[kind] += 1
                written.checkpoints += kind == "shard"
    await consumer.stop()
    return written
