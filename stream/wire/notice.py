"""Deploy and change events as they come in; and deploy events as stage one hands them to stage two."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from stream.model.deploy import ChangeEvent, DeployEvent, DeployState
from stream.wire.decode import MAX_AHEAD_MS, time_ms
from stream.wire.event import ABSENT_TS, MAX_TS_MS, MIN_TS_MS, NAME, SHORT, TIME, Name, Rule, Short
from stream.wire.reject import FUTURE_TIMESTAMP, MISSING_FIELD, Form, RecordError, read_record

MAX_LINKS = 20
MAX_LINK_CHARS = 2_000
MAX_PLANNED_MS = 366 * 86_400_000
"""So far ahead a change may be planned; a deploy event tells of what has happened."""
State = Literal["started", "stage", "promoted", "rolled_back", "finished"]
_Link = Annotated[str, Meta(max_length=MAX_LINK_CHARS)]
_Percent = Annotated[float, Meta(gt=0, le=100)]


class _Deploy(Struct):
    """A record of ``deploy-events``; an explicit null counts as absent."""

    deployment: Name
    service: Name
    state: State
    namespace: Name | None = "default"
    version: Short | None = None
    previous_version: Short | None = None
    stage: _Percent | None = None
    at: Annotated[int, Meta(ge=MIN_TS_MS, le=MAX_TS_MS)] | str | None = ABSENT_TS
    by: Short | None = None
    change_kind: Short | None = None
    links: Annotated[list[_Link], Meta(max_length=MAX_LINKS)] | None = None


DEPLOY_RULES: dict[str, Rule] = {
    "deployment": NAME,
    "service": NAME,
    "state": Rule(f"one of {', '.join(DeployState)}", ("string",), words=tuple(DeployState)),
    "namespace": NAME,
    "version": SHORT,
    "previous_version": SHORT,
    "stage": Rule("a number above 0, at most 100", ("integer", "number")),
    "at": TIME,
    "by": SHORT,
    "change_kind": SHORT,
    "links": Rule(
        f"a list of at most {MAX_LINKS} strings of at most {MAX_LINK_CHARS} characters", ("array",)
    ),
}
_DEPLOY = Form(_Deploy, DEPLOY_RULES, ("deployment", "service", "state"))


def read_deploy(value: bytes | None, timestamp_ms: int | None) -> DeployEvent:
    """The deploy event of one record. ``timestamp_ms``: Kafka's of the record, which stands in for an absent
    ``at``; None in a file.

    Raises RecordError with every fault found.
    """
    read = read_record(value, _DEPLOY)
    if read.state == "stage" and read.stage is None:
        raise RecordError(MISSING_FIELD, f"stage: expected {DEPLOY_RULES['stage'].text}, found none")
    return DeployEvent(
        read.deployment,
        read.namespace or "default",
        read.service,
        DeployState(read.state),
        _at_ms(read.at, timestamp_ms),
        read.version or None,
        read.previous_version or None,
        None if read.stage is None else Decimal(repr(read.stage)),
        read.by or None,
        read.change_kind or None,
        tuple(read.links or ()),
    )


def _at_ms(at: int | str | None, timestamp_ms: int | None, most_ahead_ms: int = MAX_AHEAD_MS) -> int:
    at_ms = time_ms(at, "at")
    if at_ms == ABSENT_TS:
        if timestamp_ms is None:
            raise RecordError(MISSING_FIELD, "at: required in a file, found none")
        if not 0 <= timestamp_ms <= MAX_TS_MS:
            raise RecordError(MISSING_FIELD, f"at: found none, and the record's timestamp is {timestamp_ms}")
        return timestamp_ms
    if timestamp_ms is not None and timestamp_ms >= 0 and at_ms > timestamp_ms + most_ahead_ms:
        by_ms = at_ms - timestamp_ms
        raise RecordError(
            FUTURE_TIMESTAMP, f"at: {at_ms} is {by_ms} ms ahead of the record's timestamp {timestamp_ms}"
        )
    return at_ms


class _Change(Struct):
    """A record of ``change-events``."""

    change: Name
    kind: Name
    service: Name | None = None
    resource: Name | None = None
    namespace: Name | None = "default"
    at: Annotated[int, Meta(ge=MIN_TS_MS, le=MAX_TS_MS)] | str | None = ABSENT_TS
    version: Short | None = None
    by: Short | None = None
    links: Annotated[list[_Link], Meta(max_length=MAX_LINKS)] | None = None


CHANGE_RULES: dict[str, Rule] = {
    "change": NAME,
    "kind": NAME,
    "service": NAME,
    "resource": NAME,
    "namespace": NAME,
    "at": TIME,
    "version": SHORT,
    "by": SHORT,
    "links": DEPLOY_RULES["links"],
}
_CHANGE = Form(_Change, CHANGE_RULES, ("change", "kind"))


def read_change(value: bytes | None, timestamp_ms: int | None) -> ChangeEvent:
    """The change event of one record; as :func:`read_deploy`, but that it may be planned up to a year ahead.
    One of service and resource is given."""
    read = read_record(value, _CHANGE)
    if (read.service is None) == (read.resource is None):
        found = "none" if read.service is None else "both"
        raise RecordError(MISSING_FIELD, f"expected either service or resource, found {found}")
    return ChangeEvent(
        read.change,
        read.namespace or "default",
        read.service,
        read.resource,
        read.kind,
        _at_ms(read.at, timestamp_ms, MAX_PLANNED_MS),
        read.version or None,
        read.by or None,
        tuple(read.links or ()),
    )


_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(DeployEvent)


def pack_deploy(event: DeployEvent) -> bytes:
    return _encoder.encode(event)


def unpack_deploy(data: bytes) -> DeployEvent:
    """Raises ValueError on bytes that :func:`pack_deploy` did not write."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a deploy event: {error}") from error
