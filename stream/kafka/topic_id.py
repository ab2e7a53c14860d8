"""The id that Kafka gives a topic when it is made: one that was deleted and made again has another (KIP-516).

The group's offsets do not tell: one that was committed in the old topic is good in the new one as soon as
that is long enough. aiokafka knows no version of the metadata request that has the id.

Runs in the event loop of the consumer.
"""

from __future__ import annotations

import asyncio
import uuid
from io import BytesIO

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_API_KEY = 3
_API_VERSION = 12
"""Since Kafka 2.8."""
_NAME = CompactString("utf-8")
_NONE = uuid.UUID(int=0)
_LIMIT_S = 4.0
"""For one broker: taking partitions over has a limit of its own."""


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = _API_KEY
    API_VERSION = _API_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), ("tags", TaggedFields)
            ),
        ),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _NAME),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("index", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = _API_VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _NAME), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]
    API_KEY = _API_KEY

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        return request_struct_class([(_NONE, self._topic, {})], False, False, {})


async def topic_id(consumer: AIOKafkaConsumer, topic: str) -> str | None:
    """The topic's id as a broker knows it now; None where brokers know no ids, or not this topic.

    Every broker that is known is asked until one answers. Raises :class:`KafkaError` if none does.
    """
    client = consumer._client
    for broker in client.cluster.brokers():
        try:
            async with asyncio.timeout(_LIMIT_S):
                response = await client.send(broker.nodeId, _MetadataRequest(topic))
        except NotImplementedError:  # aiokafka's word for a broker that is too old for every version known
            return None
        except (KafkaError, TimeoutError):
            continue
        found = [one[2] for one in response.topics if one[0] == 0]
        return str(found[0]) if found and found[0] != _NONE else None
    raise KafkaError(f"no broker tells the id of {topic}")
