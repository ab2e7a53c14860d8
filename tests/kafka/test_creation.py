"""Topics where not everything may be set: a stand-in for brokers with a policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from stream.kafka.creation import COSTS, ESSENTIAL, Creation
from stream.kafka.topics import Topics, declare_topics

INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION, EXISTS, NOT_ALLOWED = 40, 42, 44, 36, 29
Policy = Callable[[Mapping[str, str]], str | None]
"""Why a topic with these settings is refused; None: it is made."""


@dataclass
class Broker:
    """Answers as a broker with a policy does, and remembers what it made."""

    policy: Policy
    code: int = POLICY_VIOLATION
    made: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: int = 0

    async def create_topics(self, topics: list[Any], validate_only: bool = False) -> Any:
        self.requests += 1
        found = []
        for topic in topics:
            why = self.policy(topic.topic_configs)
            if topic.name in self.made:
                found.append((topic.name, EXISTS, None))
            elif why is not None:
                found.append((topic.name, self.code, why))
            else:
                found.append((topic.name, 0, None))
                if not validate_only:
                    self.made[topic.name] = topic.topic_configs
        return SimpleNamespace(topic_errors=found)


def at_least(smallest: int) -> Policy:
    def check(config: Mapping[str, str]) -> str | None:
        small = int(config.get("segment.bytes", smallest)) < smallest
        return f"segment.bytes must be at least {smallest}" if small else None

    return check


def only(*allowed: str) -> Policy:
    def check(config: Mapping[str, str]) -> str | None:
        others = sorted(config.keys() - set(allowed))
        return f"may not be set: {others[0]}" if others else None

    return check


def create(broker: Broker) -> tuple[Topics, Creation]:
    topics = declare_topics("app", 2)
    creation = Creation(broker, 3)
    asyncio.run(creation.create([*topics]))
    creation.report()
    return topics, creation


def test_every_wish_has_its_cost_told() -> None:
    assert {key for topic in declare_topics("app", 1) for key in topic.wishes} <= COSTS.keys()


def test_where_everything_may_be_set_everything_is_and_in_one_request() -> None:
    broker = Broker(lambda _: None)
    topics, creation = create(broker)
    assert broker.made == {topic.name: dict(topic.config) for topic in topics}
    assert (broker.requests, creation.problems) == (1, [])


@pytest.mark.parametrize("code", [INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION])
def test_a_refused_wish_is_left_out_and_one_line_says_which_and_what_it_costs(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(at_least(50 << 20), code)
    with caplog.at_level(logging.WARNING):
        topics, creation = create(broker)
    assert creation.problems == []
    for topic in topics:
        expected = dict(topic.config)
        if topic.name == "app-state":
            del expected["segment.bytes"]  # 32 MiB; those of the partials are 128 MiB
        assert broker.made[topic.name] == expected
    (line,) = caplog.messages
    assert line == (
        "segment.bytes=33554432 is refused (segment.bytes must be at least 52428800), so without it: "
        f"app-state; what it costs: {COSTS['segment.bytes']}"
    )


def test_where_nothing_but_the_essential_may_be_set_the_topics_are_made_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(only(*ESSENTIAL))
    with caplog.at_level(logging.WARNING):
        topics, creation = create(broker)
    assert creation.problems == []
    for topic in topics:
        assert broker.made[topic.name] == {k: v for k, v in topic.config.items() if k in ESSENTIAL}
    assert len(caplog.messages) == 5, "segment.bytes of both, and three of the state"


def test_topics_that_are_not_internal_can_do_without_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Where only the internal ones may have it, the policy going by something else."""

    def check(config: Mapping[str, str]) -> str | None:
        internal = "retention.ms" in config or "segment.bytes" in config
        return "clocks are fixed here" if "message.timestamp.type" in config and not internal else None

    broker = Broker(check)
    with caplog.at_level(logging.WARNING):
        _, creation = create(broker)
    assert creation.problems == []
    assert broker.made["slo-alerts"] == {}
    assert broker.made["slo-budgets"] == {"cleanup.policy": "compact"}
    (line,) = caplog.messages
    assert "request-events, deploy-events" in line, "one line for all of them"


def test_what_must_be_stays_an_error_in_the_brokers_words() -> None:
    broker = Broker(only("cleanup.policy", "retention.ms", "retention.bytes", "segment.bytes"))
    _, creation = create(broker)
    assert creation.problems == [
        "topic app-partials cannot be created: may not be set: message.timestamp.type",
        "topic app-state cannot be created: may not be set: message.timestamp.type",
    ]
    assert "slo-alerts" in broker.made


def test_other_refusals_are_not_searched() -> None:
    broker = Broker(lambda _: "no rights", NOT_ALLOWED)
    topics, creation = create(broker)
    assert creation.problems == [f"topic {t.name} cannot be created: no rights" for t in topics]
    assert broker.requests == 1


def test_another_worker_that_is_quicker_in_the_middle_is_welcome() -> None:
    broker = Broker(at_least(50 << 20))
    policy = broker.policy

    def quicker(config: Mapping[str, str]) -> str | None:
        if broker.requests == 3:
            broker.made["app-state"] = {}
        return policy(config)

    broker.policy = quicker
    _, creation = create(broker)
    assert creation.problems == []


def test_what_somebody_else_chose_is_compared_with_the_wishes() -> None:
    state = declare_topics("app", 1).state
    assert state.unmet(state.config) == []
    better = {**state.config, "segment.bytes": "1048576", "delete.retention.ms": "86400000"}
    assert state.unmet(better) == []
    defaults = {
        "segment.bytes": "1073741824",
        "min.cleanable.dirty.ratio": "0.5",
        "max.compaction.lag.ms": "9223372036854775807",
        "delete.retention.ms": "86400000",
    }
    assert state.unmet(defaults) == [
        "segment.bytes=1073741824",
        "min.cleanable.dirty.ratio=0.5",
        "max.compaction.lag.ms=9223372036854775807",
    ]
    assert state.unmet({**state.config, "delete.retention.ms": "1000"}) == ["delete.retention.ms=1000"]
    assert declare_topics("app", 1).requests.unmet({"message.timestamp.type": "CreateTime"}) == []
