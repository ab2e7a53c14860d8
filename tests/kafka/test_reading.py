"""Batches off a real broker: no holes, nothing invented, seeks and progress that can be relied on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka_cluster import Cluster

from stream.kafka.batches import RecordBatch
from stream.kafka.failures import StaleGenerationError
from stream.kafka.fetching import BatchFetcher
from stream.kafka.topics import Admin

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]


@contextlib.asynccontextmanager
async def reading(
    cluster: Cluster, *tps: TopicPartition, max_records: int = 10_000
) -> AsyncIterator[BatchFetcher]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=cluster.brokers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    consumer.assign(list(tps))
    try:
        yield BatchFetcher(consumer, max_records)
    finally:
        await consumer.stop()


async def take_until(fetcher: BatchFetcher, tp: TopicPartition, end: int) -> list[RecordBatch]:
    batches: list[RecordBatch] = []
    while not batches or batches[-1].end < end:
        batches += [batch for found, batch in await fetcher.take({tp.topic: 4}, 0.5) if found == tp]
    return batches


def assert_unbroken(batches: list[RecordBatch], begin: int, end: int) -> None:
    assert [batch.begin for batch in batches] == [begin, *(batch.end for batch in batches[:-1])]
    assert batches[-1].end == end
    assert len({batch.run for batch in batches}) == 1


def columns(batches: list[RecordBatch]) -> list[tuple[int, bytes | None, int]]:
    return [
        row for batch in batches for row in zip(batch.offsets, batch.values, batch.timestamps_ms, strict=True)
    ]


def test_aborted_and_control_records_leave_no_hole(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"a0", b"a1"], transaction="x", abort=True)  # 0, 1, marker 2
        await cluster.produce(topic, [b"c3", None, b"c5"], transaction="y")  # 3 … 5, marker 6
        await cluster.produce(topic, [b"p%d" % n for n in range(100)])  # 7 … 106
        await cluster.produce(topic, [b"a"] * 10, transaction="x", abort=True)  # 107 … 116, marker 117
        async with reading(cluster, tp, max_records=30) as fetcher:
            batches = await take_until(fetcher, tp, 118)
        assert_unbroken(batches, 0, 118)
        assert columns(batches) == [(r.offset, r.value, r.timestamp) for r in await cluster.read(topic)]
        assert batches[-1].high_water == 118

    run(check())


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd", "snappy"])
def test_values_are_what_plain_aiokafka_reads(cluster: Cluster, run: Run, codec: str | None) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        values = [b"%d" % n * (n % 50) for n in range(5_000)]
        await cluster.produce(topic, values, compression_type=codec, linger_ms=2)
        async with reading(cluster, tp, max_records=700) as fetcher:
            batches = await take_until(fetcher, tp, len(values))
        assert_unbroken(batches, 0, len(values))
        assert columns(batches) == [(r.offset, r.value, r.timestamp) for r in await cluster.read(topic)]

    run(check())


def test_compaction_leaves_no_hole(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic(
            "compacted", cleanup_policy="compact", segment_bytes="1048576", segment_ms="100",
            min_cleanable_dirty_ratio="0.01", max_compaction_lag_ms="100",
        )  # fmt: skip
        tp = TopicPartition(topic, 0)
        count = 0
        deadline_s = time.monotonic() + 40
        while True:  # writing rolls the segment, so that the ones before it can be compacted
            await cluster.produce(topic, [b"v%d" % n for n in range(50)], keys=[b"k"] * 50)
            count += 50
            if len(await cluster.read(topic)) < count:
                break
            assert time.monotonic() < deadline_s, "the broker did not compact"
            await asyncio.sleep(1)
        async with reading(cluster, tp) as fetcher:
            batches = await take_until(fetcher, tp, count)
        assert_unbroken(batches, 0, count)
        assert len(columns(batches)) < count

    run(check())


def test_a_seek_begins_a_run_of_its_own_exactly_there(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"%d" % n for n in range(1_000)], max_batch_size=1_000)
        async with reading(cluster, tp, max_records=100) as fetcher:
            first = (await take_until(fetcher, tp, 200))[0].run
            for target in (150, 0, 999, 333):
                run_number = fetcher.seek(tp, target)
                batches = await take_until(fetcher, tp, 1_000)
                assert {batch.run for batch in batches} == {run_number}
                assert_unbroken(batches, target, 1_000)
                assert columns(batches)[0][:2] == (target, b"%d" % target)
                assert run_number > first

    run(check())


def test_what_the_broker_has_deleted_begins_another_run(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"%d" % n for n in range(100)])
        async with Admin(cluster.brokers) as admin:
            assert await admin.delete_records(topic, 0, 60) == 60
        async with reading(cluster, tp) as fetcher:
            asked = fetcher.seek(tp, 10)
            batches = await take_until(fetcher, tp, 100)
        assert_unbroken(batches, 60, 100)
        assert batches[0].run > asked

    run(check())


def test_a_partition_that_is_not_ours_cannot_be_sought(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        async with reading(cluster, TopicPartition(topic, 0)) as fetcher:
            await fetcher.take({topic: 1}, 0.1)
            with pytest.raises(StaleGenerationError):
                fetcher.seek(TopicPartition(topic, 1), 0)

    run(check())


def test_no_topic_is_taken_beyond_its_room_nor_starved_by_another(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        busy, quiet = await cluster.create_topic("busy", 2), await cluster.create_topic("quiet", 2)
        for partition in (0, 1):
            await cluster.produce(busy, [b"x" * 100] * 5_000, partition, linger_ms=5)
            await cluster.produce(quiet, [b"y"] * 10, partition)
        tps = [TopicPartition(topic, partition) for topic in (busy, quiet) for partition in (0, 1)]
        async with reading(cluster, *tps, max_records=100) as fetcher:
            counts = dict.fromkeys(tps, 0)
            while sum(counts.values()) < 6 or not all(counts[tp] for tp in tps):
                taken = await fetcher.take({busy: 3, quiet: 2}, 0.5)
                per_topic = [tp.topic for tp, _ in taken]
                assert per_topic.count(busy) <= 3
                assert per_topic.count(quiet) <= 2
                for tp, _ in taken:
                    counts[tp] += 1
            assert counts[tps[0]] + counts[tps[1]] < 30  # the quiet topic came early on
            assert abs(counts[tps[0]] - counts[tps[1]]) <= 3
            assert all(tp.topic == quiet for tp, _ in await fetcher.take({busy: 0, quiet: 2}, 0.05))

    run(check())


def test_progress_shows_the_high_water_and_how_fresh_it_is(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"x"] * 10)
        async with reading(cluster, tp) as fetcher:
            before_s = time.monotonic()
            await take_until(fetcher, tp, 10)
            first = fetcher.progress[tp]
            assert (first.position, first.stable_offset, first.high_water) == (10, 10, 10)
            assert first.caught_up
            assert before_s - 0.05 <= first.asked_s <= time.monotonic()
            await asyncio.sleep(0.3)
            await fetcher.take({topic: 1}, 0.1)
            assert fetcher.progress[tp].asked_s > first.asked_s + 0.1

    run(check())


def test_an_open_transaction_is_not_the_end(cluster: Cluster, run: Run) -> None:
    """All that is committed has been read, yet the partition may not be called idle."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"x"] * 10)
        producer = AIOKafkaProducer(
            bootstrap_servers=cluster.brokers, transactional_id=f"{cluster.name}-open"
        )
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"undecided", partition=0)
        async with reading(cluster, tp) as fetcher:
            await take_until(fetcher, tp, 10)
            progress = fetcher.progress[tp]
            assert (progress.position, progress.stable_offset, progress.high_water) == (10, 10, 11)
            assert not progress.caught_up
            await producer.commit_transaction()
            batches = await take_until(fetcher, tp, 12)
            assert columns(batches)[-1][1] == b"undecided"
            assert fetcher.progress[tp].caught_up
        await producer.stop()

    run(check())


def test_a_dead_broker_makes_progress_stale_not_fresh(cluster: Cluster, run: Run) -> None:
    """Without a successful answer the time of the last fetch stands still."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"x"] * 10)
        async with reading(cluster, tp) as fetcher:
            await take_until(fetcher, tp, 10)
            client = fetcher._consumer._fetcher._client

            async def unreachable(*_: object, **__: object) -> None:
                await asyncio.sleep(3600)

            client.send = unreachable
            await asyncio.sleep(0.3)  # what was under way may still be answered
            await fetcher.take({topic: 1}, 0.05)
            last = fetcher.progress[tp]
            await fetcher.take({topic: 1}, 0.5)
            assert fetcher.progress[tp] == last
            assert fetcher.waiting_since_s <= time.monotonic() - 0.4
            assert fetcher.answered_s <= time.monotonic() - 0.4

    run(check())


def test_a_leader_that_is_lost_after_an_answer_counts_as_unanswered(cluster: Cluster, run: Run) -> None:
    """Nothing is asked for then, so that no fetch fails."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with reading(cluster, tp) as fetcher:
            while tp not in fetcher.progress:
                await fetcher.take({topic: 1}, 0.1)
            fetcher._consumer._client.cluster.leader_for_partition = lambda _: None
            for _ in range(10):
                await fetcher.take({topic: 1}, 0.1)
            assert time.monotonic() - fetcher.waiting_since_s > 0.5

    run(check())


def test_what_lies_ready_and_is_not_taken_is_no_silence(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        await cluster.produce(topic, [b"x"] * 10)
        async with reading(cluster, tp) as fetcher:
            while fetcher.answered_s < 0:
                await fetcher.take({topic: 0}, 0.1)
            await asyncio.sleep(0.6)
            await fetcher.take({topic: 0}, 0.1)
            assert fetcher.waiting_since_s > time.monotonic()
            await take_until(fetcher, tp, 10)
            assert time.monotonic() - fetcher.waiting_since_s < 0.3

    run(check())


def test_a_partition_that_cannot_be_asked_for_counts_as_unanswered(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("in")
        there, nowhere = TopicPartition(topic, 0), TopicPartition(topic, 7)
        async with reading(cluster, there) as fetcher:
            while there not in fetcher.progress:
                await fetcher.take({topic: 1}, 0.1)
            await asyncio.sleep(0.3)
            assert time.monotonic() - fetcher.waiting_since_s < 0.3
            fetcher._consumer.assign([there, nowhere])
            for _ in range(10):
                await fetcher.take({topic: 1}, 0.1)
            assert time.monotonic() - fetcher.waiting_since_s > 0.5

    run(check())


def test_what_a_later_assignment_has_fetched_is_left_to_a_later_call(cluster: Cluster, run: Run) -> None:
    """The caller still acts for the assignment in which it called: it would drop the batch."""

    async def check() -> None:
        topic = await cluster.create_topic("in")
        tp = TopicPartition(topic, 0)
        async with reading(cluster, tp) as fetcher:
            await fetcher.take({topic: 1}, 0.2)
            call = asyncio.create_task(fetcher.take({topic: 1}, 5))
            await asyncio.sleep(0.05)
            fetcher._consumer.assign([tp])
            assert fetcher.progress == {}
            await cluster.produce(topic, [b"x"])
            assert await call == []
            assert_unbroken(await take_until(fetcher, tp, 1), 0, 1)

    run(check())
