"""Section 1: what a request event is, and which records are dead letters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_TS = 253402300799999
MIN_INTEGER_TS = 10**11
MAX_RECORD_BYTES = 1024 * 1024
MILLIONTHS = 1_000_000
TRACKS = ("stable", "canary", "baseline", "shadow")
GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|z|[+-][0-9]{2}:[0-9]{2})"
)


class Refused(ValueError):
    """The record breaks a rule of section 1."""


@dataclass(frozen=True)
class Event:
    ts: int
    namespace: str
    service: str
    endpoint: str
    method: str
    status: int | None
    grpc: int | None
    ok: bool | None
    latency_ms: Fraction | None
    version: str | None
    track: str
    weight: int
    """In millionths."""


def parse_event(line: bytes) -> Event:
    """Section 1, the whole table. Raises :class:`Refused`."""
    if len(line) > MAX_RECORD_BYTES:
        raise Refused("too large")
    fields = _json_object(line)
    _check_tier_and_attributes(fields)
    return Event(
        ts=_ts(fields.get("ts")),
        namespace=_text(fields, "namespace", default="default", least=1, most=200),
        service=_text(fields, "service", least=1, most=200),
        endpoint=_text(fields, "endpoint", default="", most=5_000),
        method=_text(fields, "method", default="", most=5_000),
        status=_integer(fields, "status", 100, 599),
        grpc=_grpc(fields),
        ok=_boolean(fields, "ok"),
        latency_ms=_latency_ms(fields),
        version=_text(fields, "version", default="", most=5_000) or None,
        track=_track(fields),
        weight=_weight(fields),
    )


def _json_object(line: bytes) -> dict[str, Any]:
    """`null` counts as absent, the last of duplicate keys counts; NaN and Infinity are not JSON."""

    def refuse(constant: str) -> None:
        raise Refused(constant)

    try:
        value = json.loads(line.decode("utf-8"), parse_float=Decimal, parse_constant=refuse)
    except (ValueError, RecursionError) as fault:
        raise Refused(str(fault)) from None
    if not isinstance(value, dict):
        raise Refused("not an object")
    return {key: field for key, field in value.items() if field is not None}


def _check_tier_and_attributes(fields: dict[str, Any]) -> None:
    """`tier` is a string, `attributes` an object of scalars."""
    _text(fields, "tier", default="")
    attributes = fields.get("attributes", {})
    if not isinstance(attributes, dict) or any(isinstance(v, dict | list) for v in attributes.values()):
        raise Refused("attributes")


def _ts(value: Any) -> int:
    """Integer epoch ms or RFC 3339; digits beyond milliseconds are cut; absent in a file: dead letter."""
    if isinstance(value, str):
        value = _rfc3339_ms(value)
    elif type(value) is int and value < MIN_INTEGER_TS:
        raise Refused("ts: seconds")
    if type(value) is not int or not 0 <= value <= MAX_TS:
        raise Refused("ts")
    return value


def _rfc3339_ms(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise Refused("ts")
    date, clock, fraction, zone = match.groups()
    try:
        local = datetime.fromisoformat(f"{date}T{clock}+00:00")
    except ValueError:
        raise Refused("ts") from None
    offset_min = 0
    if zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 23 or minutes > 59:
            raise Refused("ts")
        offset_min = (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
    seconds = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) - offset_min * 60
    return seconds * 1000 + int(((fraction or "") + "000")[:3])


def _text(
    fields: dict[str, Any], key: str, *, default: str | None = None, least: int = 0, most: int = 0
) -> str:
    value = fields.get(key, default)
    if not isinstance(value, str) or len(value) < least or (most and len(value) > most):
        raise Refused(key)
    return value


def _integer(fields: dict[str, Any], key: str, least: int, most: int) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise Refused(key)
    return value


def _grpc(fields: dict[str, Any]) -> int | None:
    """Integer 0–16 or its upper-case name."""
    value = fields.get("grpc_status")
    if isinstance(value, str):
        if value not in GRPC:
            raise Refused("grpc_status")
        return GRPC.index(value)
    return _integer(fields, "grpc_status", 0, 16)


def _boolean(fields: dict[str, Any], key: str) -> bool | None:
    value = fields.get(key)
    if value is not None and type(value) is not bool:
        raise Refused(key)
    return value


def _number(fields: dict[str, Any], key: str) -> Fraction | None:
    """A finite number, exactly as written."""
    value = fields.get(key)
    if value is None:
        return None
    if type(value) is not int and not isinstance(value, Decimal):
        raise Refused(key)
    try:
        finite = abs(float(value)) != float("inf")
    except OverflowError:
        finite = False
    if not finite:
        raise Refused(key)
    return Fraction(value)


def _latency_ms(fields: dict[str, Any]) -> Fraction | None:
    """`latency_ms` (or `latency_s`): number ≥ 0."""
    in_ms, in_s = _number(fields, "latency_ms"), _number(fields, "latency_s")
    if (in_ms is not None and in_ms < 0) or (in_s is not None and in_s < 0):
        raise Refused("latency")
    if in_ms is not None:
        return in_ms
    return None if in_s is None else in_s * 1000


def _track(fields: dict[str, Any]) -> str:
    track = fields.get("track", "stable")
    if not isinstance(track, str) or track not in TRACKS:
        raise Refused("track")
    return str(track)


def _weight(fields: dict[str, Any]) -> int:
    """1/r rounded to millionths, kept as an integer of millionths."""
    rate = _number(fields, "sample_rate")
    if rate is None:
        return MILLIONTHS
    if not Fraction(1, MILLIONTHS) <= rate <= 1:
        raise Refused("sample_rate")
    return round(MILLIONTHS / rate)
