"""The topics of one app: what they are called, how they are kept, and that they exist.

Records are kept by the time of their arrival (``LogAppendTime``) wherever the topic is ours: a backfill of
old events would otherwise have its results deleted by retention as soon as they are written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from stream.kafka.creation import COSTS, ESSENTIAL, Creation, Topic
from stream.kafka.failures import TopicError
from stream.kafka.security import PLAINTEXT, Security
from stream.wire.signal import TOPICS

log = logging.getLogger(__name__)

_NO_LIMIT = "-1"
_MAX_REPLICATION = 3
_CREATION_LIMIT_S = 30.0
_CREATION_POLL_S = 0.1

_ARRIVAL = {"message.timestamp.type": "LogAppendTime"}
_COMPACTED = {"cleanup.policy": "compact", **_ARRIVAL}
# Deleted below the checkpoint by the window agent, never by age or size.
_PARTIALS = {
    "cleanup.policy": "delete",
    "retention.ms": _NO_LIMIT,
    "retention.bytes": _NO_LIMIT,
    "segment.bytes": str(128 << 20),
    **_ARRIVAL,
}
# Compaction leaves the open segment alone: with the broker's 1 GiB and 7 days it would never come.
_STATE = {
    **_COMPACTED,
    "segment.bytes": str(32 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "60000",
    # A restore that takes longer than this could miss a deletion.
    "delete.retention.ms": "3600000",
}


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of an app."""

    requests: Topic
    deploys: Topic
    changes: Topic
    outputs: Mapping[str, Topic]
    """By bare name, as in :data:`~stream.wire.signal.TOPICS`."""
    partials: Topic
    state: Topic

    def __iter__(self) -> Iterator[Topic]:
        return iter(
            (self.requests, self.deploys, self.changes, *self.outputs.values(), self.partials, self.state)
        )


def declare_topics(app: str, partitions: int, prefix: str = "") -> Topics:
    """The topics of ``app``. ``prefix`` goes before every name, ``app`` into the internal ones."""

    def topic(name: str, config: Mapping[str, str], *, internal: bool = False) -> Topic:
        return Topic(prefix + name, partitions, config, internal)

    outputs = {
        name: topic(name, _COMPACTED if declared.compacted else _ARRIVAL) for name, declared in TOPICS.items()
    }
    return Topics(
        requests=topic("request-events", _ARRIVAL),
        deploys=topic("deploy-events", _ARRIVAL),
        changes=topic("change-events", _ARRIVAL),
        outputs=outputs,
        partials=topic(f"{app}-partials", _PARTIALS, internal=True),
        state=topic(f"{app}-state", _STATE, internal=True),
    )


class Admin:
    """Creating, checking and trimming topics. An async context manager.

    ``replication_factor``: copies of what is created; by default 3, or as many as there are brokers.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        security: Security = PLAINTEXT,
        *,
        replication_factor: int | None = None,
    ) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=list(brokers), **security.options())
        self._tool = f"kafka-topics.sh --bootstrap-server {','.join(brokers)}"
        if security != PLAINTEXT:
            self._tool += " --command-config FILE"
        self._replication_factor = replication_factor

    async def __aenter__(self) -> Admin:
        try:
            await self._client.start()
        except KafkaError as error:
            await self._client.close()
            raise TopicError(f"cannot ask for topics: {error!r}") from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.close()

    async def ensure(self, topics: Topics, *, create: bool = True) -> None:
        """Every topic exists and is fit for use afterwards; several workers may do this at once.

        ``create``: make what is missing. Raises :class:`TopicError` with everything that is wrong: missing
        and not to be created, an internal topic of another shape, a compacted input.
        """
        try:
            found = await self._describe(topics)
            missing = [topic for topic in topics if topic.name not in found]
            if missing and not create:
                replication = self._replication_factor or await self._default_replication()
                raise TopicError("\n".join(_missing(topic, self._tool, replication) for topic in missing))
            if missing:
                await self._create(missing)
                found = await self._wait_until_ready(topics)
            counts = {name: len(topic["partitions"]) for name, topic in found.items()}
            problems = [*_wrong_counts(topics, counts), *await self._wrong_configs(topics)]
        except KafkaError as error:
            raise TopicError(f"cannot prepare the topics: {error!r}") from error
        if problems:
            raise TopicError("\n".join(problems))

    async def provide(self, topic: Topic) -> int:
        """One topic alone, created if it is missing; returns the number of its partitions.

        Raises :class:`TopicError` if there can be none.
        """
        try:
            if topic.name not in await self._describe([topic]):
                await self._create([topic])
            found = await self._wait_until_ready([topic])
        except KafkaError as error:
            raise TopicError(f"cannot prepare topic {topic.name}: {error!r}") from error
        return len(found[topic.name]["partitions"])

    async def delete_topics(self, prefix: str) -> None:
        """Delete every topic whose name starts with ``prefix``, which must not be empty."""
        assert prefix, "an empty prefix would delete every topic"
        try:
            names = [name for name in await self._client.list_topics() if name.startswith(prefix)]
            if names:
                await self._client.delete_topics(names)
        except KafkaError as error:
            raise TopicError(f"cannot delete the topics {prefix}*: {error!r}") from error

    async def delete_records(self, topic: str, partition: int, before: int) -> int | None:
        """Delete the records below an offset; returns the partition's oldest offset afterwards.

        Only space depends on it: a failure is logged, and None is returned.
        """
        tp = TopicPartition(topic, partition)
        try:
            oldest = await self._client.delete_records({tp: RecordsToDelete(before)})
        except (KafkaError, TimeoutError) as error:
            log.warning("records of %s[%d] below %d were not deleted: %r", topic, partition, before, error)
            return None
        return int(oldest[tp])

    async def _describe(self, topics: Iterable[Topic]) -> dict[str, dict[str, Any]]:
        # Asking for topics by name could create them, where the broker creates topics by itself.
        found: list[dict[str, Any]] = await self._client.describe_topics()
        names = {topic.name for topic in topics}
        return {topic["topic"]: topic for topic in found if topic["topic"] in names}

    async def _create(self, topics: Sequence[Topic]) -> None:
        replication = self._replication_factor or await self._default_replication()
        creation = Creation(self._client, replication)
        await creation.create(topics)
        creation.report()
        if creation.problems:
            raise TopicError("\n".join(creation.problems))

    async def _default_replication(self) -> int:
        cluster = await self._client.describe_cluster()
        return min(_MAX_REPLICATION, len(cluster["brokers"]))

    async def _wait_until_ready(self, topics: Iterable[Topic]) -> dict[str, dict[str, Any]]:
        """Every broker must know a new topic before it can be used."""
        waiting = [topic.name for topic in topics]
        try:
            async with asyncio.timeout(_CREATION_LIMIT_S):
                while True:
                    found = await self._describe(topics)
                    waiting = [topic.name for topic in topics if not _is_ready(found.get(topic.name))]
                    if not waiting:
                        return found
                    await asyncio.sleep(_CREATION_POLL_S)
        except TimeoutError as error:
            raise TopicError(f"not ready after {_CREATION_LIMIT_S:g} s: {', '.join(waiting)}") from error

    async def _wrong_configs(self, topics: Topics) -> list[str]:
        inputs = topics.requests, topics.deploys, topics.changes
        checked = [topic for topic in topics if topic.internal or topic in inputs]
        configs = await self._configs([topic.name for topic in checked])
        problems = []
        for topic in checked:
            found = configs[topic.name]
            if topic.internal:
                problems += [
                    f"topic {topic.name} has {key}={found.get(key)}, and must have {topic.config[key]}"
                    for key in ESSENTIAL
                    if key in topic.config and found.get(key) != topic.config[key]
                ]
                if unmet := topic.unmet(found):
                    costs = dict.fromkeys(COSTS[setting.partition("=")[0]] for setting in unmet)
                    log.info("topic %s has %s: %s", topic.name, ", ".join(unmet), "; ".join(costs))
            elif "compact" in found.get("cleanup.policy", ""):
                problems.append(
                    f"topic {topic.name} is compacted: events with equal keys vanish from it before "
                    "they are read; set its cleanup.policy to delete"
                )
        return problems

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        configs: dict[str, dict[str, str]] = {}
        for answer in await self._client.describe_configs(wanted):
            for code, message, _, name, entries in answer.resources:
                if code != 0:
                    reason = message or for_code(code).__name__
                    raise TopicError(f"the configuration of topic {name} cannot be read: {reason}")
                configs[name] = {entry[0]: entry[1] for entry in entries}
        return configs


def _is_ready(topic: Mapping[str, Any] | None) -> bool:
    return (
        topic is not None and topic["error_code"] == 0 and all(p["leader"] >= 0 for p in topic["partitions"])
    )


def _missing(topic: Topic, tool: str, replication: int) -> str:
    config = "".join(f" --config {key}={value}" for key, value in sorted(topic.config.items()))
    optional = " ".join(sorted(topic.wishes))
    return (
        f"topic {topic.name} does not exist, and creating topics is off: {tool} --create "
        f"--topic {topic.name} --partitions {topic.partitions} --replication-factor {replication}{config}"
    ) + (f"  # may be left out: {optional}" if optional else "")


def _wrong_counts(topics: Topics, counts: Mapping[str, int]) -> list[str]:
    return [
        f"topic {topic.name} has {counts[topic.name]} partitions, not {topic.partitions}: the number is "
        f"fixed when an app is first started; use --partitions {counts[topic.name]}, or another --app"
        for topic in topics
        if topic.internal and counts[topic.name] != topic.partitions
    ]
