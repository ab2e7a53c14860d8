"""Live equals replay (contract, section 6), with real worker processes that are killed, on a real Kafka."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import orjson
import pytest
from against_replay import Records, comparable, replayed
from aiokafka import AIOKafkaProducer
from test_stages import events, slo_file
from workers import WorkerProcess

from stream.kafka.tail import Tail
from stream.kafka.topics import Admin, declare_topics
from stream.wire.signal import TOPICS

EVENTS = 200_000
PARTITIONS = 4
KILLS = 3
FEED_S = 24.0
OPTIONS = ("--partitions", str(PARTITIONS), "--session-timeout", "6s")


async def feed(broker: str, topic: str, lines: list[bytes], rng: random.Random) -> None:
    """Produce at a steady rate, each partition in file order."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, compression_type="lz4", linger_ms=20)
    await producer.start()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    for i, line in enumerate(lines):
        await producer.send(topic, line, partition=rng.randrange(PARTITIONS))
        if i % 500 == 0:
            await asyncio.sleep(max(0.0, started_s + FEED_S * i / len(lines) - loop.time()))
    await producer.stop()


async def kill_now_and_then(workers: list[WorkerProcess], start: object) -> None:
    """SIGKILL one worker after the other while events come in, and start another in its place."""
    for number in range(KILLS):
        await asyncio.sleep(FEED_S / (KILLS + 1))
        victim = workers[number % len(workers)]
        victim.kill()
        workers[number % len(workers)] = start()  # type: ignore[operator]


async def read_until_complete(
    broker: str, prefix: str, expected: Records, last: str, limit_s: float
) -> Records:
    """Committed records up to replay's last tick, until nothing expected is missing."""
    found: Records = {topic: Counter() for topic in TOPICS}
    async with Tail([broker], {topic: prefix + topic for topic in TOPICS}) as tail:
        deadline_s = asyncio.get_running_loop().time() + limit_s
        seen_letters = set()
        while asyncio.get_running_loop().time() < deadline_s:
            for signal in await tail.read(1.0):
                if str(signal.record.get("evaluated_at", "")) > last:
                    continue
                if signal.topic == "dead-letters":  # one may be sent again after a crash, byte for byte
                    whole = orjson.dumps(signal.record)
                    if whole in seen_letters:
                        continue
                    seen_letters.add(whole)
                found[signal.topic][comparable(signal.topic, signal.record)] += 1
            if not any((expected[topic] - found[topic]) for topic in TOPICS):
                break
        for signal in await tail.read(2.0):  # what should not be there would come now
            if signal.topic != "dead-letters" and str(signal.record["evaluated_at"]) <= last:
                found[signal.topic][comparable(signal.topic, signal.record)] += 1
    return found


@pytest.mark.broker
@pytest.mark.timeout(240)
def test_two_workers_killed_three_times_decide_what_replay_decides(
    broker: str, prefix: str, tmp_path: Path
) -> None:
    rng = random.Random(11)
    slos, lines = slo_file(tmp_path), events(rng, EVENTS)
    expected, last = replayed(slos, lines, tmp_path)
    app = prefix + "exact"
    names = declare_topics(app, PARTITIONS, f"{app}-")
    logs = iter(range(100))

    def start() -> WorkerProcess:
        return WorkerProcess(broker, app, slos, tmp_path / f"worker-{next(logs)}.log", OPTIONS)

    async def scenario() -> Records:
        async with Admin([broker]) as admin:
            await admin.ensure(names)
        workers = [start(), start()]
        try:
            await asyncio.gather(
                feed(broker, names.requests.name, lines, rng), kill_now_and_then(workers, start)
            )
            return await read_until_complete(broker, f"{app}-", expected, last, 120.0)
        finally:
            codes = [worker.stop() for worker in workers]
            assert codes == [0, 0], codes

    found = asyncio.run(scenario())
    happens = [topic for topic in TOPICS if topic != "change-impacts"]  # nobody tells of a change
    assert all(expected[topic] for topic in happens), "the scenario lets every other kind of record happen"
    for topic in TOPICS:
        missing, extra = expected[topic] - found[topic], found[topic] - expected[topic]
        assert not missing, (topic, len(missing), min(missing))
        assert not extra, (topic, len(extra), min(extra))
