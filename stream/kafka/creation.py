"""Making topics where not everything may be set: hosted services and policies refuse some settings.

What a topic must have is asked for, or there is no topic. All else is a wish: what of it is refused is left
out, and a line says which and what that costs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidRequestError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    for_code,
)

log = logging.getLogger(__name__)

ESSENTIAL = ("cleanup.policy", "retention.ms", "retention.bytes", "message.timestamp.type")
"""What an internal topic must agree with, or counts would be lost, or event time be a worker's."""

COSTS: Mapping[str, str] = {
    "segment.bytes": "what is deleted or replaced keeps its space for longer, and a restart reads more",
    "min.cleanable.dirty.ratio": "compaction comes later, and a restart reads more",
    "max.compaction.lag.ms": "compaction comes later, and a restart reads more",
    "delete.retention.ms": "a restart that takes longer than the topic's value may see deleted state again",
    "cleanup.policy": "the newest record of a key is deleted like any other when its retention is over",
    "message.timestamp.type": "retention goes by other clocks: what a backfill brings may be deleted at once",
}
"""What it costs to go without a wish."""
_MORE_IS_BETTER = ("delete.retention.ms",)
_REFUSALS = (InvalidConfigurationError, InvalidRequestError, PolicyViolationError)


@dataclass(frozen=True, slots=True)
class Topic:
    """``internal``: read and written by this app alone, so that its shape is fixed for good."""

    name: str
    partitions: int
    config: Mapping[str, str]
    internal: bool = False

    @property
    def essentials(self) -> dict[str, str]:
        return {key: value for key, value in self.config.items() if self.internal and key in ESSENTIAL}

    @property
    def wishes(self) -> dict[str, str]:
        """What it can be used without."""
        return {key: value for key, value in self.config.items() if key not in self.essentials}

    def unmet(self, found: Mapping[str, str]) -> list[str]:
        """Wishes of an internal topic that its settings, which somebody else chose, do not come up to."""
        return [
            f"{key}={found[key]}"
            for key, wished in self.wishes.items()
            if self.internal and key in found and _is_worse(key, found[key], wished)
        ]


def _is_worse(key: str, found: str, wished: str) -> bool:
    try:
        more = float(found) - float(wished)
    except ValueError:
        return found != wished
    return more < 0 if key in _MORE_IS_BETTER else more > 0


@dataclass(slots=True)
class Creation:
    """One round of making topics. ``client`` is an admin client of aiokafka."""

    client: Any
    replication: int
    problems: list[str] = field(default_factory=list)
    refused: dict[tuple[str, str], tuple[list[str], str]] = field(default_factory=dict)
    """(key, value) → topics that were made without it, and what the broker said."""

    async def create(self, topics: Sequence[Topic]) -> None:
        answers = await self._ask([(topic, topic.config) for topic in topics])
        for topic in topics:
            error, said = answers.get(topic.name, (None, ""))
            if error in _REFUSALS:
                error, said = await self._create_without(topic)
            if error is None:
                log.info("created topic %s", topic.name)
            elif error is not TopicAlreadyExistsError:  # another worker was quicker
                self.problems.append(f"topic {topic.name} cannot be created: {said}")

    def report(self) -> None:
        """One line for each setting that was left out."""
        for (key, value), (names, said) in self.refused.items():
            log.warning(
                "%s=%s is refused (%s), so without it: %s; what it costs: %s",
                *(key, value, said, ", ".join(names), COSTS.get(key, "nothing that is known")),
            )

    async def _create_without(self, topic: Topic) -> tuple[type[Exception] | None, str]:
        """With all wishes that are granted, found one by one."""
        granted, refused = topic.essentials, []
        for key, value in topic.wishes.items():
            error, said = await self._ask_one(topic, {**granted, key: value}, only_validate=True)
            if error in _REFUSALS:
                refused.append((key, value, said))
            else:
                granted[key] = value
        error, said = await self._ask_one(topic, granted)
        if error is None:
            for key, value, why in refused:
                self.refused.setdefault((key, value), ([], why))[0].append(topic.name)
        return error, said

    async def _ask_one(
        self, topic: Topic, config: Mapping[str, str], *, only_validate: bool = False
    ) -> tuple[type[Exception] | None, str]:
        answers = await self._ask([(topic, config)], only_validate=only_validate)
        return answers.get(topic.name, (None, ""))

    async def _ask(
        self, wanted: Sequence[tuple[Topic, Mapping[str, str]]], *, only_validate: bool = False
    ) -> dict[str, tuple[type[Exception] | None, str]]:
        """By topic: what is wrong, and how the broker says so."""
        request = [
            NewTopic(topic.name, topic.partitions, self.replication, topic_configs=dict(config))
            for topic, config in wanted
        ]
        answer = await self.client.create_topics(request, validate_only=only_validate)
        found: dict[str, tuple[type[Exception] | None, str]] = {}
        for name, code, message in answer.topic_errors:
            error = None if code == 0 else for_code(code)
            found[name] = error, "" if error is None else message or error.__name__
        return found
