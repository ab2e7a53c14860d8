"""The yardstick: aiokafka's getmany and one orjson.loads per record, in one process, and nothing else.

    python -m benchmarks.yardstick BROKER TOPIC COUNT

Prints {"seconds": …, "cpu_seconds": …} for COUNT records.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.producing import PARTITIONS


async def read(broker: str, topic: str, count: int) -> dict[str, float]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker, auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    begun: tuple[float, float] | None = None
    left = count
    while left > 0:
        found = await consumer.getmany(timeout_ms=1000, max_records=20_000)
        begun = begun or (time.perf_counter(), time.process_time())
        for records in found.values():
            for record in records:
                orjson.loads(record.value)
            left -= len(records)
    assert begun is not None
    taken = {"seconds": time.perf_counter() - begun[0], "cpu_seconds": time.process_time() - begun[1]}
    await consumer.stop()
    return taken


if __name__ == "__main__":
    print(json.dumps(asyncio.run(read(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
