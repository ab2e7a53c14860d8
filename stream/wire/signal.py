"""Output records on their way out: the topics, the bytes and the headers (contract, section 5).

A record's bytes and headers are functions of the record alone, so that a repeat after a crash is equal to
the first. Headers are those of the CloudEvents 1.0 Kafka protocol binding in binary mode: a consumer that
knows nothing of Burngate can route by them, and the value stays the plain record.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import orjson

from stream.model import names

SOURCE = "burngate"
"""Where a record comes from when nobody says otherwise: the name of the app."""

MAX_BYTES = 950_000
"""Of a record's value: with its key and headers it fits in what Kafka's topics take."""

_TIME_LENGTH = len("2026-11-23T05:00:10.000Z")


@dataclass(frozen=True, slots=True)
class SignalTopic:
    """A kind of output record and the topic that carries it."""

    name: str
    """Without the prefix that a user may have put before it."""
    schema: str
    """What the record's ``schema`` says; ``burngate.alert/v1`` is described by alert.schema.json."""
    type: str
    """CloudEvents type."""
    compacted: bool
    """Whether records of one key replace one another: the topic is a state, not a history."""

    @property
    def schema_file(self) -> str:
        """Name of its JSON Schema below ``schemas/``."""
        return f"{self._kind}.schema.json"

    @property
    def schema_uri(self) -> str:
        """The ``$id`` of its JSON Schema. A name, not an address: nothing has to be reachable."""
        return f"urn:burngate:schema:{self._kind}:{self.schema.rpartition('/')[2]}"

    @property
    def _kind(self) -> str:
        return self.schema.removeprefix("burngate.").partition("/")[0]


_TABLE = (
    # name, schema, CloudEvents type, compacted
    SignalTopic("slo-alerts", "burngate.alert/v1", "burngate.alert.v1", False),
    SignalTopic("slo-budgets", "burngate.budget/v1", "burngate.budget.v1", True),
    SignalTopic("deploy-freezes", "burngate.freeze/v1", "burngate.freeze.v1", True),
    SignalTopic("deploy-rollbacks", "burngate.rollback/v1", "burngate.rollback.v1", False),
    SignalTopic("canary-verdicts", "burngate.canary/v1", "burngate.canary.v1", True),
    SignalTopic("rollout-status", "burngate.rollout/v1", "burngate.rollout.v1", True),
    SignalTopic("shadow-verdicts", "burngate.shadow/v1", "burngate.shadow.v1", True),
    SignalTopic("latency-percentiles", "burngate.percentiles/v1", "burngate.percentiles.v1", True),
    SignalTopic("change-impacts", "burngate.impact/v1", "burngate.impact.v1", False),
    SignalTopic("dead-letters", "burngate.deadletter/v1", "burngate.deadletter.v1", False),
)

TOPICS: dict[str, SignalTopic] = {topic.name: topic for topic in _TABLE}
"""Every output topic by its bare name, in the contract's order."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One output record. ``topic`` is a name of :data:`TOPICS`, ``key`` that of the Kafka record."""

    topic: str
    key: str
    value: dict[str, object]


def encode(signal: Signal) -> bytes:
    """The record as compact JSON, keys in the order given, floats as they are. One that is too large loses
    the last items of its longest list, or map, and if need be of the next longest."""
    assert signal.value.get("schema") == TOPICS[signal.topic].schema, signal.topic
    data = orjson.dumps(signal.value)
    return data if len(data) <= MAX_BYTES else orjson.dumps(_cut(signal.value, len(data) - MAX_BYTES))


def _cut(value: dict[str, object], excess: int) -> dict[str, object]:
    cut = dict(value)
    sizes = {name: len(orjson.dumps(part)) for name, part in value.items() if isinstance(part, list | dict)}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        part = cut[name]
        assert isinstance(part, list | dict)
        items = list(part.items() if isinstance(part, dict) else part)
        while items and excess > 0:
            excess -= len(orjson.dumps(items.pop())) + (-1 if isinstance(part, dict) else 1)
        cut[name] = dict(items) if isinstance(part, dict) else items
    return cut


def headers(signal: Signal, app: str = SOURCE) -> list[tuple[str, bytes]]:
    """CloudEvents attributes as Kafka headers. ``app`` tells apart the records of several apps.

    ``ce_source`` and ``ce_id`` together name the record. ``ce_time`` is the time as of which it holds, left
    out when there is none and when it is past the year 9999, which RFC 3339 cannot write.
    """
    version, source, kind, schema, content = _of_topic(signal.topic, app)
    found = [version, ("ce_id", _id(signal).encode()), source, kind]
    if (subject := _subject(signal.value)) is not None:
        found.append(("ce_subject", subject.encode()))
    if (time := _time(signal.value)) is not None:
        found.append(("ce_time", time.encode()))
    found += schema, content
    return found


@lru_cache(maxsize=64)
def _of_topic(name: str, app: str) -> tuple[tuple[str, bytes], ...]:
    """The headers that all records of a topic share."""
    topic = TOPICS[name]
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"/{app}/{name}".encode()),
        ("ce_type", topic.type.encode()),
        ("ce_dataschema", topic.schema_uri.encode()),
        ("content-type", b"application/json"),
    )


def _id(signal: Signal) -> str:
    """Unique among the records of a topic, equal for repeats.

    An alert fires and resolves under one id, and a topic has two events there. Where a record has no id,
    its key and time name it; they are hashed, for an endpoint may hold what an attribute may not.
    """
    value = signal.value
    if "id" in value:
        return f"{value['id']}/{value['state']}" if "state" in value else str(value["id"])
    source = value.get("source")
    if isinstance(source, dict):  # a dead letter: its place in the input is unique, its key and time are not
        parts = [str(part) for part in source.values()]
    else:
        parts = [signal.key, str(value["evaluated_at"])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _subject(value: dict[str, object]) -> str | None:
    """``namespace/slo`` of what is about an SLO, else ``namespace/service``; of a resource
    ``namespace/resource:NAME``."""
    if "namespace" not in value:
        return None
    namespace = str(value["namespace"])
    if slo := value.get("slo"):
        return names.identity(namespace, str(slo))
    if service := value["service"]:
        return names.service_key(namespace, str(service))
    return names.resource_key(namespace, str(value["resource"]))


def _time(value: dict[str, object]) -> str | None:
    time = value.get("evaluated_at", value.get("observed_at"))
    return time if isinstance(time, str) and len(time) == _TIME_LENGTH else None
