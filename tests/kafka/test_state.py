"""State, signals and offsets: all or nothing, for one owner at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from kafka_cluster import Cluster, eventually, noise

from stream.kafka.failures import FencedError, StateError
from stream.kafka.state import Signal, StateStore

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]


async def store_on(cluster: Cluster, partitions: int = 2, **config: str) -> tuple[StateStore, str]:
    topic = await cluster.create_topic("state", partitions, cleanup_policy="compact", **config)
    return StateStore(cluster.brokers, cluster.name, topic), topic


async def group_offset(cluster: Cluster, tp: TopicPartition) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.brokers)
    await admin.start()
    try:
        return int((await admin.list_consumer_group_offsets(cluster.name, partitions=[tp]))[tp].offset)
    finally:
        await admin.close()


async def values_of(cluster: Cluster, topic: str) -> list[bytes | None]:
    return [record.value for record in await cluster.read(topic)]


def test_the_next_owner_finds_what_was_committed(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(cluster)
        first = await store.acquire(0)
        assert first.records == {}
        await first.checkpoint({b"a": b"1", b"b": b"2", b"c": b"3"}, [], {}, cluster.name)
        await first.checkpoint({b"b": b"22", b"c": None}, [], {}, cluster.name)
        await first.release()
        second = await store.acquire(0)
        assert second.records == {b"a": b"1", b"b": b"22"}
        assert second.restored.record_count == 5
        other = await store.acquire(1)
        assert other.records == {}
        await second.release()
        await other.release()

    run(check())


def test_state_signals_and_offsets_come_together(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(cluster)
        alerts, partials = await cluster.create_topic("alerts"), await cluster.create_topic("partials")
        tp = TopicPartition(partials, 0)
        held = await store.acquire(0)
        signal = Signal(alerts, b"shop/pay", b"firing", [("ce_id", b"7")], 1_234)
        await held.checkpoint({b"position": b"42"}, [signal, signal], {tp: 42}, cluster.name)

        async def published() -> list[Any]:
            return [(r.key, r.value, r.headers, r.timestamp) for r in await cluster.read(alerts)]

        await eventually(published, [(b"shop/pay", b"firing", (("ce_id", b"7"),), 1_234)] * 2)
        await eventually(lambda: group_offset(cluster, tp), 42)
        await held.release()

    run(check())


def test_a_second_owner_fences_the_first(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(cluster)
        alerts = await cluster.create_topic("alerts")
        tp = TopicPartition(alerts, 0)
        first = await store.acquire(0)
        await first.checkpoint({b"owner": b"first"}, [], {tp: 1}, cluster.name)
        second = await StateStore(cluster.brokers, cluster.name, store._topic).acquire(0)
        assert second.records == {b"owner": b"first"}
        with pytest.raises(FencedError) as caught:
            await first.checkpoint(
                {b"owner": b"zombie"}, [Signal(alerts, b"k", b"zombie")], {tp: 9}, cluster.name
            )
        assert caught.value.exit_code == 3
        with pytest.raises(StateError):
            await first.checkpoint({b"owner": b"zombie"}, [], {}, cluster.name)
        await first.release()
        await second.checkpoint({b"owner": b"second"}, [], {tp: 2}, cluster.name)
        await second.release()
        third = await store.acquire(0)
        assert third.records == {b"owner": b"second"}
        assert await cluster.read(alerts) == []
        await eventually(lambda: group_offset(cluster, tp), 2)
        await third.release()

    run(check())


def test_a_transaction_left_open_by_a_dead_owner_is_not_restored(cluster: Cluster, run: Run) -> None:
    """It is aborted by the takeover, not waited for."""

    async def check() -> None:
        store, topic = await store_on(cluster)
        dead = await store.acquire(0)
        await dead.checkpoint({b"a": b"committed"}, [], {}, cluster.name)
        await dead._producer.begin_transaction()
        await dead._producer.send_and_wait(topic, b"half done", key=b"a", partition=0)
        start_s = time.monotonic()
        heir = await store.acquire(0)
        assert time.monotonic() - start_s < 5
        assert heir.records == {b"a": b"committed"}
        await heir.checkpoint({b"b": b"2"}, [], {}, cluster.name)
        await heir.release()
        await eventually(lambda: values_of(cluster, topic), [b"committed", b"2"])
        uncommitted = await cluster.read(topic, isolation="read_uncommitted")
        assert b"half done" in [r.value for r in uncommitted]
        await dead.release()

    run(check())


def test_a_checkpoint_that_fails_half_way_changes_nothing(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, topic = await store_on(cluster)
        alerts = await cluster.create_topic("alerts", max_message_bytes="1000")
        tp = TopicPartition(alerts, 0)
        held = await store.acquire(0)
        await held.checkpoint({b"a": b"1"}, [], {tp: 1}, cluster.name)
        refused = Signal(alerts, b"k", noise(5_000))
        with pytest.raises(StateError) as caught:
            await held.checkpoint({b"a": b"2"}, [Signal(alerts, b"k", b"v"), refused], {tp: 2}, cluster.name)
        assert not isinstance(caught.value, FencedError)
        with pytest.raises(StateError, match="no longer held"):
            await held.checkpoint({b"a": b"3"}, [], {}, cluster.name)
        await held.release()
        await cluster.produce(topic, [b"later"])  # readers go on, nothing is left open
        await eventually(lambda: values_of(cluster, topic), [b"1", b"later"])
        assert await cluster.read(alerts) == []
        assert await group_offset(cluster, tp) == 1
        again = await store.acquire(0)
        assert again.records == {b"a": b"1", b"k": b"later"}
        await again.release()

    run(check())


def test_a_signal_over_the_size_of_a_record_is_refused_as_a_whole(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(cluster)
        alerts = await cluster.create_topic("alerts")
        held = await store.acquire(0)
        with pytest.raises(StateError, match="request size"):
            await held.checkpoint({b"a": b"1"}, [Signal(alerts, b"k", bytes(1 << 20))], {}, cluster.name)
        await held.release()
        again = await store.acquire(0)
        assert again.records == {}
        await again.release()

    run(check())


def test_state_of_any_size_goes_through_where_records_of_a_megabyte_are_the_most(
    cluster: Cluster, run: Run
) -> None:
    async def check() -> None:
        store, topic = await store_on(cluster, max_message_bytes="1000000")
        held = await store.acquire(0)
        state: dict[bytes, bytes] = {b"%d" % number: noise((1 << 20) + number) for number in range(20)}
        state |= {b"%d small" % number: noise(899_990 + number) for number in range(20)}
        state[b"large"] = noise(15 << 20)
        await held.checkpoint(state, [], {}, cluster.name)
        assert await store.look(0) == state
        await held.release()
        again = await store.acquire(0)
        assert again.records == state
        assert again.restored.byte_count > 50 << 20
        # What grows, shrinks and goes, also for an owner who has only read it.
        later = {**state, b"large": noise(3 << 20), b"0": noise(10), b"1 small": noise(2 << 20)}
        del later[b"2"]
        changed = {key: later.get(key) for key in (b"large", b"0", b"1 small", b"2")}
        await again.checkpoint(changed, [], {}, cluster.name)
        await again.release()
        assert await store.look(0) == later
        assert max(len(record.value or b"") for record in await cluster.read(topic)) < 1_000_000

    run(check())


def test_cancelling_a_checkpoint_gives_the_state_up(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(cluster)
        held = await store.acquire(0)
        task = asyncio.create_task(held.checkpoint({b"a": b"1"}, [], {}, cluster.name))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StateError, match="no longer held"):
            await held.checkpoint({b"a": b"2"}, [], {}, cluster.name)
        await held.release()

    run(check())


def test_deleted_and_overwritten_keys_stay_so_through_compaction(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        store, _ = await store_on(
            cluster, segment_bytes="1048576", segment_ms="100", min_cleanable_dirty_ratio="0.01",
            max_compaction_lag_ms="100", delete_retention_ms="100",
        )  # fmt: skip
        expected: dict[bytes, bytes] = {}
        written = 0
        deadline_s = time.monotonic() + 40
        round_number = 0
        while True:
            round_number += 1
            held = await store.acquire(0)
            assert held.records == expected
            if held.restored.record_count < written:
                break  # compacted
            assert time.monotonic() < deadline_s, "the broker did not compact"
            changes: dict[bytes, bytes | None] = {
                b"%d" % key: b"%d" % round_number for key in range(30) if (key + round_number) % 3
            }
            changes |= {b"%d" % key: None for key in range(round_number % 5, 30, 7)}
            await held.checkpoint(changes, [], {}, cluster.name)
            await held.release()
            written += len(changes)
            for key, value in changes.items():
                if value is None:
                    expected.pop(key, None)
                else:
                    expected[key] = value
            await asyncio.sleep(0.5)
        await held.release()

    run(check())
