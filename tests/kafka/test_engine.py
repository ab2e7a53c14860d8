"""Faust on the batch transport: rebalances, crashes, stops, seeks, and a fair share for each topic."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from kafka_cluster import Cluster, until

from stream.errors import InvariantError, StalledError
from stream.kafka.batches import RecordBatch
from stream.kafka.engine import QUEUED_BATCHES, make_app, run
from stream.kafka.failures import StaleGenerationError
from stream.kafka.transport import NO_GENERATION

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]
SCRIPT = Path(__file__).with_name("reader_worker.py")
ROOT = Path(__file__).parents[2]


class Worker:
    """A process that runs reader_worker.py, and its notes."""

    def __init__(self, cluster: Cluster, topics: list[str], directory: Path, name: str) -> None:
        self._notes = directory / f"{name}.notes"
        self.log = directory / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, SCRIPT, cluster.brokers[0], cluster.name, *topics, self._notes],
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    def notes(self, what: str = "") -> list[dict[str, Any]]:
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [note for note in found if what in ("", note["what"])]

    def holds(self) -> int:
        """Partitions assigned in its present generation."""
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        changes = [note for note in self.notes() if note["what"] in ("acquired", "gave up")]
        return int(changes[-1]["count"]) if changes and changes[-1]["what"] == "acquired" else 0


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def starter(topics: list[str], name: str) -> Worker:
        workers.append(Worker(cluster, topics, tmp_path, name))
        return workers[-1]

    yield starter
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


def assert_no_hole(workers: list[Worker], topic: str, partition: int, end: int) -> None:
    """All was read; what was read twice was not committed in between."""
    ranges = [
        (note["begin"], note["end"])
        for worker in workers
        for note in worker.notes("read")
        if note["tp"] == [topic, partition]
    ]
    reached = 0
    for begin, stop in sorted(ranges):
        assert begin <= reached, f"{topic}[{partition}]: nothing between {reached} and {begin}"
        reached = max(reached, stop)
    assert reached == end


def test_zombies_kills_and_rebalances_leave_no_hole(
    cluster: Cluster, start: Callable[..., Worker], run: Run
) -> None:
    """Two workers on two topics of two partitions each, while all kinds of records are written to them."""

    async def check() -> None:
        topics = [await cluster.create_topic("in", 2), await cluster.create_topic("partials", 2)]
        ends = {(topic, partition): 0 for topic in topics for partition in (0, 1)}

        async def write() -> None:
            for (topic, partition), end in ends.items():
                aborted = random.random() < 0.3
                values = [b"wrong" if aborted else b"%d" % partition] * random.randrange(1, 3_000)
                await cluster.produce(
                    topic, values, partition, transaction="writer", abort=aborted, linger_ms=1
                )
                ends[topic, partition] = end + len(values) + 1  # and the marker

        async def write_until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(40):
                while not condition():
                    await write()
                    await asyncio.sleep(0.05)

        first, second = start(topics, "first"), start(topics, "second")
        await write_until(lambda: first.holds() == second.holds() == 2)
        await write_until(lambda: bool(first.notes("read") and second.notes("read")))
        first.process.send_signal(signal.SIGSTOP)  # a zombie: its session ends, and it does not know
        await write_until(lambda: second.holds() == 4)
        first.process.send_signal(signal.SIGCONT)
        await write_until(lambda: first.holds() == second.holds() == 2)
        second.process.kill()
        await write_until(lambda: first.holds() == 4)
        third = start(topics, "third")
        await write_until(lambda: first.holds() == third.holds() == 2)
        third.process.terminate()
        await write_until(lambda: third.process.poll() is not None and first.holds() == 4)
        assert third.process.returncode == 0, third.log.read_text()[-3_000:]

        workers = [first, second, third]
        await until(lambda: {tuple(n["tp"]): n["end"] for n in first.notes("read")}.items() >= ends.items())
        first.process.terminate()
        await until(lambda: first.process.poll() is not None)
        assert first.process.returncode == 0, first.log.read_text()[-3_000:]
        for (topic, partition), end in ends.items():
            assert_no_hole(workers, topic, partition, end)
        for stopped in (first, third):
            gave_up, last = stopped.notes()[-2:]
            assert (gave_up["what"], gave_up["committed"], last["what"]) == ("gave up", True, "stopped")

    run(check())


class Session:
    """An app inside the test, running while the block does."""

    def __init__(self, cluster: Cluster, **settings: Any) -> None:
        self.app = make_app(cluster.name, cluster.brokers, **settings)
        self.stop = asyncio.Event()

    async def __aenter__(self) -> Session:
        self.running = asyncio.create_task(run(self.app, self.stop))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.stop.set()
        await self.running


def test_a_slow_agent_bounds_its_own_topic_and_not_the_other(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        busy, quiet = await cluster.create_topic("busy"), await cluster.create_topic("quiet")
        await cluster.produce(busy, [b"x" * 50] * 150_000, linger_ms=5, max_batch_size=1 << 17)
        session = Session(cluster)
        may_go_on = asyncio.Event()
        busy_count, quiet_count = 0, 0

        @session.app.agent(session.app.batched_topic(busy))
        async def slow(stream: Any) -> None:
            nonlocal busy_count
            async for event in stream.noack().events():
                await may_go_on.wait()
                busy_count += len(event.value.values)

        @session.app.agent(session.app.batched_topic(quiet))
        async def quick(stream: Any) -> None:
            nonlocal quiet_count
            async for event in stream.noack().events():
                quiet_count += len(event.value.values)

        async with session:
            tp = TP(busy, 0)
            await until(
                lambda: (p := session.app.consumer and session.app.consumer.progress(tp)) and p.position
            )
            for number in range(1, 6):
                await cluster.produce(quiet, [b"y"])
                await until(lambda number=number: quiet_count == number)
            await asyncio.sleep(0.5)
            position = session.app.consumer.progress(tp).position
            assert position <= (QUEUED_BATCHES + 2) * 10_000
            may_go_on.set()
            await until(lambda: busy_count == 150_000)

    run(check())


def test_batches_fetched_before_a_seek_are_told_from_those_after(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        count = 40_000
        await cluster.produce(topic, [b"%d" % n for n in range(count)], linger_ms=2)
        session = Session(cluster, max_fetch_bytes=50_000)
        chance = random.Random(7)
        seeks = 0
        done = asyncio.Event()

        @session.app.agent(session.app.batched_topic(topic))
        async def wander(stream: Any) -> None:
            nonlocal seeks
            wanted_run, expected = 0, 0
            async for event in stream.noack().events():
                tp, batch = event.message.tp, event.value
                if batch.run < wanted_run:
                    continue
                assert batch.begin == expected, (batch.begin, expected)
                assert batch.values[0] == b"%d" % batch.begin
                expected = batch.end
                if seeks == 60:
                    if expected == count:
                        done.set()
                elif chance.random() < 0.7 or expected == count:
                    await asyncio.sleep(0.03)  # the queue fills behind us
                    expected = chance.randrange(count - 1)
                    wanted_run = await session.app.consumer.seek_offset(tp, expected)
                    seeks += 1

        async with session:
            await asyncio.wait(
                {asyncio.create_task(done.wait()), session.running}, return_when="FIRST_COMPLETED"
            )
            assert done.is_set()

    run(check())


def test_batches_that_arrive_after_their_assignment_are_dropped(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        session = Session(cluster)
        seen: list[RecordBatch] = []

        @session.app.agent(session.app.batched_topic(topic))
        async def read(stream: Any) -> None:
            async for event in stream.noack().events():
                seen.append(event.value)

        async with session:
            await until(lambda: session.app.consumer and session.app.consumer.generation > 0)
            consumer = session.app.consumer
            await until(lambda: consumer.progress(TP(topic, 0)))
            take, generation = consumer._thread.fetcher.take, consumer.generation
            late = asyncio.Event()

            async def take_late(*asked: Any) -> Any:
                found = await take(*asked)
                if found:
                    consumer.generation = NO_GENERATION
                    late.set()
                return found

            consumer._thread.fetcher.take = take_late
            await asyncio.sleep(1.1)  # the call under way ends
            await cluster.produce(topic, [b"late"])
            await until(late.is_set)
            await asyncio.sleep(0.2)
            consumer._thread.fetcher.take, consumer.generation = take, generation
            await cluster.produce(topic, [b"in time"])
            await until(lambda: seen)
            assert [batch.values for batch in seen] == [[b"in time"]]

    run(check())


def test_an_added_partition_is_found_within_seconds(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        session = Session(cluster)
        seen: set[int] = set()

        @session.app.agent(session.app.batched_topic(topic))
        async def read(stream: Any) -> None:
            async for event in stream.noack().events():
                seen.add(event.message.partition)

        async with session:
            await cluster.produce(topic, [b"x"])
            await until(lambda: seen == {0})
            assert session.app.consumer.partition_count(topic) == 1
            admin = AIOKafkaAdminClient(bootstrap_servers=cluster.brokers)
            await admin.start()
            await admin.create_partitions({topic: NewPartitions(2)})
            await admin.close()
            await cluster.produce(topic, [b"x"], 1)
            await until(lambda: seen == {0, 1}, limit_s=8)
            assert session.app.consumer.partition_count(topic) == 2
            ends = await session.app.consumer.end_offsets([TP(topic, 0), TP(topic, 1)])
            assert ends == {TP(topic, 0): 1, TP(topic, 1): 1}

    run(check())


def test_the_hooks_frame_an_assignment_in_which_offsets_can_be_committed(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TP(topic, 0)
        session = Session(cluster)
        story: list[tuple[str, object]] = []

        async def acquired(tps: frozenset[TP], generation: int) -> None:
            await asyncio.sleep(1)  # nothing is delivered before it returns
            assert session.app.consumer.generation == generation
            story.append(("acquired", (tps, generation)))

        async def give_up(tps: frozenset[TP], generation: int) -> None:
            await session.app.consumer.commit_offset(tp, 1, "at the last moment")
            story.append(("gave up", (tps, generation)))

        session.app.on_acquired, session.app.on_give_up = acquired, give_up

        @session.app.agent(session.app.batched_topic(topic))
        async def read(stream: Any) -> None:
            async for event in stream.noack().events():
                story.append(("read", event.value.values))

        await cluster.produce(topic, [b"x"])
        async with session:
            await until(lambda: len(story) == 2)
        assert story == [("acquired", ({tp}, 1)), ("read", [b"x"]), ("gave up", ({tp}, 1))]
        with pytest.raises(StaleGenerationError):
            await session.app.consumer.commit_offset(tp, 0, generation=1)
        later = Session(cluster)

        @later.app.agent(later.app.batched_topic(topic))
        async def idle(stream: Any) -> None:
            async for _ in stream.noack().events():
                raise AssertionError("below the committed offset")

        async with later:
            await until(lambda: later.app.consumer and later.app.consumer.generation > 1)
            assert await later.app.consumer.committed_offset(tp) == (1, "at the last moment")
            await until(lambda: (p := later.app.consumer.progress(tp)) and p.caught_up)

    run(check())


@pytest.mark.parametrize("where", ["agent", "acquired", "give up"])
def test_a_failure_ends_the_worker_with_its_reason(cluster: Cluster, run: Run, where: str) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        await cluster.produce(topic, [b"x"])
        session = Session(cluster)
        gave_up, seen = [], asyncio.Event()

        async def acquired(tps: frozenset[TP], generation: int) -> None:
            if where == "acquired":
                raise ValueError(where)

        async def give_up(tps: frozenset[TP], generation: int) -> None:
            gave_up.append(generation)
            raise ValueError(where)

        session.app.on_acquired, session.app.on_give_up = acquired, give_up

        @session.app.agent(session.app.batched_topic(topic))
        async def read(stream: Any) -> None:
            async for _ in stream.noack().events():
                seen.set()
                if where == "agent":
                    raise ValueError(where)

        async def live() -> None:
            async with session:
                if where == "give up":
                    await seen.wait()
                else:
                    await asyncio.wait({session.running})

        with pytest.raises(StalledError, match=where) as caught:
            await live()
        assert caught.value.exit_code == 3
        assert gave_up == ([1] if where == "give up" else [])  # no checkpoint of what may be wrong

    run(check())


def test_what_kafka_refuses_at_the_start_is_one_reason_and_no_traceback(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def refuse(_: AIOKafkaConsumer) -> None:
        raise KafkaConnectionError("Unable to bootstrap")

    async def check() -> None:
        topic = await cluster.create_topic("in")
        session = Session(cluster)
        session.app.agent(session.app.batched_topic(topic))(never)
        monkeypatch.setattr(AIOKafkaConsumer, "start", refuse)
        async with session:
            await asyncio.wait({session.running})

    with pytest.raises(
        StalledError, match="reading cannot begin: KafkaConnectionError: Unable to boot"
    ) as caught:
        run(check())
    assert caught.value.exit_code == 3
    assert "Traceback" not in capfd.readouterr().err


def test_a_stop_during_the_start_is_clean(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        for delay_s in (0.0, 0.05, 0.5):
            session = Session(cluster)
            session.app.agent(session.app.batched_topic(topic))(never)
            async with session:
                await asyncio.sleep(delay_s)

    run(check())


def test_a_stop_within_a_rebalance_is_clean(cluster: Cluster, run: Run) -> None:
    """Faust takes the end of its fetcher for a crash then."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        session = Session(cluster)
        session.app.agent(session.app.batched_topic(topic))(never)
        async with session:
            await until(lambda: session.app.consumer and session.app.consumer.generation > 0)
            await until(lambda: session.app.consumer.progress(TP(topic, 0)))
            session.app.rebalancing = True

    run(check())


async def never(stream: Any) -> None:
    async for _ in stream.noack().events():
        raise AssertionError


def test_a_topic_that_is_not_batched_is_a_bug(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        session = Session(cluster)
        session.app.agent(session.app.topic(topic))(never)
        with pytest.raises(StalledError) as caught:
            async with session:
                await asyncio.wait({session.running})
        assert isinstance(caught.value.__cause__, InvariantError)

    run(check())
