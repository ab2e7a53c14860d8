"""The request event: its fields, their types and their bounds. The decoder enforces what the types say.

Numbers are read as 64-bit floats and strings must be Unicode text: a lone surrogate, which JSON can write but
UTF-8 cannot, makes the record invalid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta, Struct

from stream.model.objective import GRPC_CODES, TRACKS

MAX_RECORD_BYTES = 1024 * 1024
MAX_DEPTH = 500
"""Nesting of objects and arrays. A limit of our own: the parser's depends on how deep its caller is."""
MAX_TS_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
MIN_TS_MS = 100_000_000_000
"""March 1973: a smaller integer is a time in seconds. Times before are written as RFC 3339."""
ABSENT_TS = -1
MILLION = 1_000_000

Grpc = Literal[
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
]  # fmt: skip
Track = Literal["stable", "canary", "baseline", "shadow"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
"""Lengths are in code points."""
Short = Annotated[str, Meta(max_length=200)]
MAX_LONG_NAME = 5_000
LongName = Annotated[str, Meta(max_length=MAX_LONG_NAME)]
"""Bounded, for these names come again in signals, each of which has to fit in a Kafka record."""


class Event(Struct, gc=False):
    """One record as decoded. An explicit null is None and counts as absent; a default means absent, too."""

    service: Name
    ts: Annotated[int, Meta(ge=MIN_TS_MS, le=MAX_TS_MS)] | str | None = ABSENT_TS
    namespace: Name | None = "default"
    endpoint: LongName | None = ""
    method: LongName | None = ""
    status: Annotated[int, Meta(ge=100, le=599)] | None = None
    grpc_status: Annotated[int, Meta(ge=0, le=16)] | Grpc | None = None
    ok: bool | None = None
    latency_ms: Annotated[float, Meta(ge=0)] | None = math.nan
    latency_s: Annotated[float, Meta(ge=0, le=1e305)] | None = None
    """Finite in milliseconds, too."""
    version: LongName | None = ""
    track: Track | None = "stable"
    sample_rate: Annotated[float, Meta(ge=0.000001, le=1)] | None = 1.0
    tier: str | None = None
    attributes: dict[str, str | int | float | bool | None] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field may hold, in words, and the kinds of JSON value among which that is."""

    text: str
    kinds: tuple[str, ...]
    is_name: bool = False
    """A string of bounded length."""
    is_time: bool = False
    words: tuple[str, ...] = ()
    """Of a string: what it may be."""


NAME = Rule("a string of 1 to 200 characters", ("string",), is_name=True)
SHORT = Rule("a string of at most 200 characters", ("string",), is_name=True)
LONG_NAME = Rule(f"a string of at most {MAX_LONG_NAME} characters", ("string",), is_name=True)
STRING = Rule("a string", ("string",))
TIME = Rule(
    f"an integer from {MIN_TS_MS} to {MAX_TS_MS} (epoch ms) or an RFC 3339 string",
    ("integer", "string"),
    is_time=True,
)
_NUMBER = ("integer", "number")

RULES: dict[str, Rule] = {
    "service": NAME,
    "ts": TIME,
    "namespace": NAME,
    "endpoint": LONG_NAME,
    "method": LONG_NAME,
    "status": Rule("an integer from 100 to 599", ("integer",)),
    "grpc_status": Rule(
        "an integer from 0 to 16 or an upper-case gRPC status name", ("integer", "string"), words=GRPC_CODES
    ),
    "ok": Rule("true or false", ("boolean",)),
    "latency_ms": Rule("a finite number of at least 0", _NUMBER),
    "latency_s": Rule("a finite number of at least 0", _NUMBER),
    "version": LONG_NAME,
    "track": Rule(f"one of {', '.join(TRACKS)}", ("string",), words=TRACKS),
    "sample_rate": Rule("a number from 0.000001 to 1", _NUMBER),
    "tier": STRING,
    "attributes": Rule("an object of strings, finite numbers, booleans and nulls", ("object",)),
}

GRPC_NUMBERS: dict[str, int] = {name: code for code, name in enumerate(GRPC_CODES)}


@lru_cache(maxsize=4096)
def weight_millionths(sample_rate: float | None) -> int:
    """1/sample_rate in millionths, rounded half to even from the rate's shortest decimal form.

    >>> weight_millionths(0.3), weight_millionths(None)
    (3333333, 1000000)
    """
    return MILLION if sample_rate is None else round(MILLION / Fraction(repr(sample_rate)))
