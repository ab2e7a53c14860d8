"""Topics come into being once, as they must be, or not at all."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from kafka_cluster import Cluster

from stream.kafka.failures import TopicError
from stream.kafka.topics import Admin, Topics, declare_topics

pytestmark = pytest.mark.broker
Run = Callable[[Any], Any]


def declared(cluster: Cluster, partitions: int = 3, app: str = "app") -> Topics:
    return declare_topics(app, partitions, prefix=f"{cluster.name}-")


def test_names_carry_the_prefix_and_internal_ones_the_app() -> None:
    topics = declare_topics("burngate", 8, prefix="eu.")
    assert [topic.name for topic in topics] == [
        "eu.request-events",
        "eu.deploy-events",
        "eu.change-events",
        "eu.slo-alerts",
        "eu.slo-budgets",
        "eu.deploy-freezes",
        "eu.deploy-rollbacks",
        "eu.canary-verdicts",
        "eu.rollout-status",
        "eu.shadow-verdicts",
        "eu.latency-percentiles",
        "eu.change-impacts",
        "eu.dead-letters",
        "eu.burngate-partials",
        "eu.burngate-state",
    ]
    compacted = {topic.name[3:] for topic in topics if topic.config.get("cleanup.policy") == "compact"}
    of_slos = {"slo-budgets", "deploy-freezes", "latency-percentiles"}
    of_releases = {"canary-verdicts", "rollout-status", "shadow-verdicts"}
    assert compacted == of_slos | of_releases | {"burngate-state"}


def test_workers_that_start_together_create_every_topic_once(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topics = declared(cluster)
        async with Admin(cluster.brokers) as first, Admin(cluster.brokers) as second:
            await asyncio.gather(first.ensure(topics), second.ensure(topics), first.ensure(topics))
            await second.ensure(topics, create=False)
            configs = await first._configs([topic.name for topic in topics])
            for topic in topics:
                assert configs[topic.name].items() >= topic.config.items()
            found = await first._describe(topics)
            assert {len(topic["partitions"]) for topic in found.values()} == {3}

    run(check())


def test_what_may_not_be_created_is_named_with_its_settings(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        async with Admin(cluster.brokers) as admin:
            with pytest.raises(TopicError) as caught:
                await admin.ensure(declared(cluster), create=False)
            text = str(caught.value)
            assert len(text.splitlines()) == len([*declared(cluster)])
            state = next(line for line in text.splitlines() if f"{cluster.name}-app-state does" in line)
            command = shlex.split(state.split(" is off: ")[1], comments=True)
            assert command[:4] == [
                "kafka-topics.sh", "--bootstrap-server", ",".join(cluster.brokers), "--create",
            ]  # fmt: skip
            assert command[4:] == [
                "--topic", f"{cluster.name}-app-state", "--partitions", "3", "--replication-factor", "1",
                "--config", "cleanup.policy=compact", "--config", "delete.retention.ms=3600000",
                "--config", "max.compaction.lag.ms=60000",
                "--config", "message.timestamp.type=LogAppendTime",
                "--config", "min.cleanable.dirty.ratio=0.1", "--config", "segment.bytes=33554432",
            ]  # fmt: skip
            assert state.endswith(
                "  # may be left out: "
                "delete.retention.ms max.compaction.lag.ms min.cleanable.dirty.ratio segment.bytes"
            )
            assert caught.value.exit_code == 1
            assert await admin._describe(declared(cluster)) == {}  # asking has not created them

    run(check())


def test_another_partition_count_is_refused_with_the_remedy(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        async with Admin(cluster.brokers) as admin:
            await admin.ensure(declared(cluster, 3))
            with pytest.raises(TopicError) as caught:
                await admin.ensure(declared(cluster, 4))
            assert caught.value.exit_code == 1
            lines = str(caught.value).splitlines()
            assert len(lines) == 2
            assert all("has 3 partitions, not 4" in line and "--partitions 3" in line for line in lines)

    run(check())


def test_an_input_with_more_partitions_is_welcome(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        await cluster.create_topic("request-events", 7)
        async with Admin(cluster.brokers) as admin:
            await admin.ensure(declared(cluster, 2))

    run(check())


def test_a_compacted_input_is_refused(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        await cluster.create_topic("request-events", 3, cleanup_policy="compact,delete")
        async with Admin(cluster.brokers) as admin:
            with pytest.raises(TopicError, match="request-events is compacted"):
                await admin.ensure(declared(cluster))

    run(check())


def test_internal_topics_of_another_making_are_refused(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        arrival = "LogAppendTime"
        await cluster.create_topic("app-state", 3, cleanup_policy="delete", message_timestamp_type=arrival)
        await cluster.create_topic("app-partials", 3, retention_ms="3600000")
        async with Admin(cluster.brokers) as admin:
            with pytest.raises(TopicError) as caught:
                await admin.ensure(declared(cluster))
            assert str(caught.value).splitlines() == [
                f"topic {cluster.name}-app-partials has retention.ms=3600000, and must have -1",
                f"topic {cluster.name}-app-partials has message.timestamp.type=CreateTime, "
                "and must have LogAppendTime",
                f"topic {cluster.name}-app-state has cleanup.policy=delete, and must have compact",
            ]

    run(check())


def test_a_name_that_kafka_refuses_is_explained(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        async with Admin(cluster.brokers) as admin:
            with pytest.raises(TopicError, match="cannot be created"):
                await admin.ensure(declare_topics("a b", 1, prefix=f"{cluster.name}-"))

    run(check())


def test_records_below_an_offset_are_deleted_and_no_others(cluster: Cluster, run: Run) -> None:
    async def check() -> None:
        topic = await cluster.create_topic("partials", 2)
        await cluster.produce(topic, [b"%d" % n for n in range(100)])
        async with Admin(cluster.brokers) as admin:
            assert await admin.delete_records(topic, 0, 40) == 40
            assert await admin.delete_records(topic, 0, 4_000) is None  # beyond the end: only logged
            assert await admin.delete_records("no-such-topic", 0, 1) is None
        assert [r.offset for r in await cluster.read(topic)] == list(range(40, 100))

    run(check())
