"""What goes in: topics of the benchmark's events, and what a job must count in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.peers import traffic

PANE_MS, MINUTE_MS = 10_000, 60_000
LATENESS_MS = 5_000
MINUTES_S = 310
"""Of event time: five whole minutes and what closes the last."""
_LAYOUTS = {"even": (0, 1, 2, 3), "uneven": (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)}
"""Which partition the next event goes to, again and again. Uneven ones of equal lengths differ in time."""


@dataclass(frozen=True, slots=True)
class Load:
    """A topic: so many events, how dense they are in event time, how they lie in partitions."""

    count: int
    per_s: int
    layout: str

    @property
    def prefix(self) -> str:
        """Of the topic's name, and of everything that a job makes of it."""
        return f"{self.layout}-{self.count}-{self.per_s}."

    @property
    def end_ms(self) -> int:
        """Event time of the last event."""
        return traffic.START_MS + (self.count - 1) * 1000 // self.per_s

    @property
    def minute_ms(self) -> int:
        """The first whole minute after all events."""
        return (self.end_ms // MINUTE_MS + 1) * MINUTE_MS


Cells = dict[tuple[str, int], tuple[int, int]]
"""(scope, end of a pane or minute) → (count, errors)."""


def panes(load: Load) -> Cells:
    """What is to be counted, by series and pane."""
    found: Cells = {}
    for event in traffic.events(load.count, per_s=load.per_s):
        _count(found, event)
    return found


def _count(found: Cells, event: bytes) -> None:
    fields = orjson.loads(event)
    series = f"{fields['service']}|{fields['endpoint']}|{fields['version']}|{fields['track']}"
    key = series, fields["ts"] // PANE_MS * PANE_MS + PANE_MS
    count, errors = found.get(key, (0, 0))
    found[key] = count + 1, errors + (fields["status"] >= 500)


def minutes(by_pane: Mapping[tuple[str, int], tuple[int, int]], load: Load) -> Cells:
    """The same as totals since the beginning, by service, at each whole minute after which events came."""
    found: Cells = {}
    ends = range(traffic.START_MS // MINUTE_MS * MINUTE_MS + MINUTE_MS, load.minute_ms + 1, MINUTE_MS)
    for (series, pane_end_ms), (count, errors) in by_pane.items():
        service = series.partition("|")[0]
        for end_ms in ends:
            if pane_end_ms <= end_ms:
                known = found.get((service, end_ms), (0, 0))
                found[service, end_ms] = known[0] + count, known[1] + errors
    return found


def _closing(load: Load) -> Iterator[bytes]:
    """One event of each series, late enough to close every pane and the last whole minute before it."""
    ts = load.minute_ms + MINUTE_MS + LATENESS_MS
    for service in range(traffic.SERVICES):
        for endpoint in range(traffic.ENDPOINTS):
            yield (
                b'{"ts":%d,"service":"s%d","endpoint":"/v1/orders/{id}/%d","method":"GET","status":200,'
                b'"latency_ms":30.0,"version":"2.4.0","track":"stable"}' % (ts, service, endpoint)
            )


async def fill(broker: str, load: Load) -> None:
    """Produce the events in LZ4 batches and, in every partition, those that close."""
    topic = f"{load.prefix}request-events"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    arrival = {"message.timestamp.type": "LogAppendTime"}  # as Burngate makes it
    await admin.create_topics([NewTopic(topic, traffic.PARTITIONS, 1, topic_configs=arrival)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, compression_type="lz4", max_batch_size=256 << 10, linger_ms=50
    )
    await producer.start()
    batches = [producer.create_batch() for _ in range(traffic.PARTITIONS)]
    for partition, event in _placed(load):
        if batches[partition].append(key=None, value=event, timestamp=None) is None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            batches[partition].append(key=None, value=event, timestamp=None)
    for partition, batch in enumerate(batches):
        await producer.send_batch(batch, topic, partition=partition)
    await producer.stop()


def _placed(load: Load) -> Iterator[tuple[int, bytes]]:
    layout = _LAYOUTS[load.layout]
    for number, event in enumerate(traffic.events(load.count, per_s=load.per_s)):
        yield layout[number % len(layout)], event
    for event in _closing(load):
        for partition in range(traffic.PARTITIONS):
            yield partition, event
