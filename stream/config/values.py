"""What the single values of a configuration file may be, and what they mean.

Each parser takes a :class:`~stream.config.section.Value`, returns its meaning and raises
:class:`~stream.config.section.FaultError` when it has none. Types are strict, as YAML would otherwise
guess: ``name: no`` is a boolean, ``service: 404`` a number, and both are refused with the remedy.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from stream.config.section import FaultError, Value, expected, quoted
from stream.config.tree import Kind, Scalar
from stream.model.objective import GRPC_CODES
from stream.words import suggest

MAX_NAME = 200
"""Code points of a name, as in events."""
MAX_TEXT = 10_000
MAX_DIGITS = 18
"""Digits before and after the point: exact arithmetic on them stays small, and integers fit 64 bits."""
MAX_DURATION = "3660d"
"""The longest duration: ten years."""

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MAX_DURATION_MS = 3660 * UNITS_MS["d"]

_DURATION = re.compile(r"([0-9]{1,18})(ms|[smhdw])")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]+")
_INTEGER = re.compile(r"0|[1-9][0-9]*")
_HTTP_STATUS = re.compile(r"[1-5][0-9][0-9]|[1-5][xX][xX]")
_ONLY_HERE = {"localtime", "Factory", "posixrules"}

T = TypeVar("T")


def text(value: Value) -> str:
    """Any string."""
    found = _string(value, "text")
    if len(found) > MAX_TEXT:
        raise FaultError(f"must be at most {MAX_TEXT} characters long, found {len(found)}")
    return found


def name(value: Value) -> str:
    """A string of 1 to 200 code points without control characters."""
    found = _string(value, f"a name of 1 to {MAX_NAME} characters")
    if not 1 <= len(found) <= MAX_NAME:
        raise FaultError(f"must be a name of 1 to {MAX_NAME} characters, found {len(found)} characters")
    if any(unicodedata.category(char) == "Cc" for char in found):
        raise FaultError(f"must be a name without control characters, found {quoted(found)}")
    return found


def glob(value: Value) -> str:
    """A pattern for endpoints; empty matches requests without one."""
    return text(value)


def one_of(allowed: Sequence[str]) -> Callable[[Value], str]:
    """One of a few words."""

    def parse(value: Value) -> str:
        scalar = _scalar(value)
        if scalar is not None and scalar.kind is Kind.STRING and scalar.text in allowed:
            return scalar.text
        what = f"one of {', '.join(allowed)}" if len(allowed) > 1 else quoted(allowed[0])
        raise expected(what, value, suggest(scalar.text, allowed) if scalar else "")

    return parse


def list_of(parse: Callable[[Value], T | None], what: str) -> Callable[[Value], list[T]]:
    """A list with at least one item; ``what`` names an item. Faulty items are reported and left out."""

    def parse_all(value: Value) -> list[T]:
        items = value.items()
        if not items:
            raise FaultError(f"must name at least one {what}", "leave the key out for the default")
        return [result for item in items if (result := item.read(parse)) is not None]

    return parse_all


def number(
    *, above: int | None = None, below: int | None = None, least: int | None = None, most: int | None = None
) -> Callable[[Value], Decimal]:
    """A decimal, exactly as written, within open (above, below) or closed (least, most) bounds."""
    words = (("above", above), ("of at least", least), ("below", below), ("at most", most))
    limits = " and ".join(f"{word} {bound}" for word, bound in words if bound is not None)
    what = f"a number {limits}".strip()

    def parse(value: Value) -> Decimal:
        found = _decimal(value, what)
        if (
            (above is not None and found <= above)
            or (below is not None and found >= below)
            or (least is not None and found < least)
            or (most is not None and found > most)
        ):
            raise expected(what, value)
        return found

    return parse


def share_pct(*, below: int) -> Callable[[Value], Decimal]:
    """A share in percent, from 1 on: what is less was most likely meant as a part of 1."""
    parse = number(least=1, below=below)

    def parse_share(value: Value) -> Decimal:
        try:
            return parse(value)
        except FaultError as fault:
            scalar = _scalar(value)
            if fault.hint or scalar is None or scalar.kind is not Kind.NUMBER:
                raise
            found = _decimal(value, "a number")
            meant = (found * 100).normalize()
            raise FaultError(fault.message, f"did you mean {meant:f}?" if 0 < found < 1 else "") from None

    return parse_share


def count(value: Value) -> int:
    """An integer of at least 0."""
    scalar = _scalar(value)
    if scalar is None or scalar.kind is not Kind.NUMBER or not _INTEGER.fullmatch(scalar.text):
        raise expected("an integer of at least 0", value, _number_hint(scalar))
    if len(scalar.text) > MAX_DIGITS:
        raise expected(f"an integer of at most {MAX_DIGITS} digits", value)
    return int(scalar.text)


def duration_ms(*, zero: bool = False, unit: str | None = None) -> Callable[[Value], int]:
    """An integer and a unit, in milliseconds; 0 only if allowed. ``unit``: the one that is most likely meant
    where there is none."""
    what = f"a duration such as 500ms, 30s, 5m, 6h, 30d or 4w, {'at least' if zero else 'above'} 0s"

    def parse(value: Value) -> int:
        scalar = _scalar(value)
        match = _DURATION.fullmatch(scalar.text) if scalar and scalar.kind is Kind.STRING else None
        if match is None:
            raise expected(what, value, _duration_hint(scalar, unit))
        length_ms = int(match[1]) * UNITS_MS[match[2]]
        if length_ms == 0 and not zero:
            raise expected(what, value)
        if length_ms > _MAX_DURATION_MS:
            raise expected(f"a duration of at most {MAX_DURATION}", value)
        return length_ms

    return parse


def shown_ms(length_ms: int) -> str:
    """``6h``, ``90s``: a duration as one would write it, in the largest unit up to days that fits."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if length_ms % UNITS_MS[unit] == 0)
    return f"{length_ms // UNITS_MS[unit]}{unit}"


def http_status(value: Value) -> str:
    """A code (``200``) or a class of codes (``2xx``), the class in lower case."""
    scalar = _scalar(value)
    if (
        scalar is None
        or scalar.kind not in {Kind.NUMBER, Kind.STRING}
        or not _HTTP_STATUS.fullmatch(scalar.text)
    ):
        raise expected("an HTTP status from 100 to 599 or a class from 1xx to 5xx", value)
    return scalar.text.lower()


def grpc_status(value: Value) -> int:
    """A number or an upper-case name, as the number."""
    scalar = _scalar(value)
    what = f"a gRPC status from 0 to {len(GRPC_CODES) - 1} or its name, such as OK or NOT_FOUND"
    if scalar is None or scalar.kind not in {Kind.NUMBER, Kind.STRING}:
        raise expected(what, value)
    if scalar.text in GRPC_CODES:
        return GRPC_CODES.index(scalar.text)
    if _INTEGER.fullmatch(scalar.text) and len(scalar.text) <= 2 and int(scalar.text) < len(GRPC_CODES):
        return int(scalar.text)
    raise expected(what, value, suggest(scalar.text, GRPC_CODES))


def time_zone(value: Value) -> str:
    """The name of a zone in the IANA database, as its spelling is there."""
    found = _string(value, "the IANA name of a time zone, such as Europe/Berlin")
    if found in _zones():
        return found
    raise expected("the IANA name of a time zone, such as Europe/Berlin", value, _zone_hint(found))


def is_false(value: Value) -> bool:
    """Whether a value is ``off``, quoted or in any of YAML's spellings (tools that rewrite YAML print
    ``false``)."""
    scalar = _scalar(value)
    if scalar is None:
        return False
    return scalar.text == "off" or (
        scalar.kind is Kind.BOOLEAN and scalar.text.lower() in {"off", "false", "no"}
    )


def flag(value: Value) -> bool:
    """``true`` or ``false``."""
    scalar = _scalar(value)
    if scalar is None or scalar.kind is not Kind.BOOLEAN or scalar.text.lower() not in {"true", "false"}:
        raise expected("true or false", value)
    return scalar.text.lower() == "true"


def _scalar(value: Value) -> Scalar | None:
    return value.node if isinstance(value.node, Scalar) else None


def _string(value: Value, what: str) -> str:
    scalar = _scalar(value)
    if scalar is None or scalar.kind not in {Kind.STRING, Kind.MERGE}:
        quotes = scalar is not None and scalar.kind is not Kind.NULL and len(scalar.text) <= MAX_NAME
        raise expected(what, value, f"put it in quotes: {quoted(scalar.text)}" if scalar and quotes else "")
    if any(unicodedata.category(char) == "Cs" for char in scalar.text):
        raise FaultError(f"must be valid Unicode, found {quoted(scalar.text)}", "half of a surrogate pair")
    return scalar.text


def _decimal(value: Value, what: str) -> Decimal:
    scalar = _scalar(value)
    if scalar is None or scalar.kind is not Kind.NUMBER:
        raise expected(what, value, _number_hint(scalar))
    if not _NUMBER.fullmatch(scalar.text):
        raise expected(what, value, "write it in plain decimals, such as 99.95")
    # The length comes first: a Decimal of a million digits, or with a huge exponent, is slow to use.
    found = Decimal(scalar.text) if len(scalar.text) <= 2 * MAX_DIGITS + 8 else None
    if found is None or found.adjusted() >= MAX_DIGITS or _scale(found) > MAX_DIGITS:
        raise expected(f"a number with at most {MAX_DIGITS} digits before and after the point", value)
    return found


def _scale(found: Decimal) -> int:
    exponent = found.as_tuple().exponent
    assert isinstance(exponent, int), "the pattern admits finite numbers only"
    return -exponent


def _number_hint(scalar: Scalar | None) -> str:
    if scalar is None or scalar.kind is not Kind.STRING:
        return ""
    bare = scalar.text.strip().removesuffix("%").rstrip()
    return f"write {bare}" if len(bare) <= 2 * MAX_DIGITS and _NUMBER.fullmatch(bare) else ""


def _duration_hint(scalar: Scalar | None, unit: str | None) -> str:
    if scalar is None or len(scalar.text) > MAX_DIGITS:
        return ""
    if _INTEGER.fullmatch(scalar.text):
        units = ("s", "m") if unit is None else (unit,)
        return f"add the unit: {' or '.join(scalar.text + one for one in units)}?"
    tidy = scalar.text.replace(" ", "").lower()
    return f"did you mean {tidy}?" if tidy != scalar.text and _DURATION.fullmatch(tidy) else ""


def _zone_hint(found: str) -> str:
    cities = [zone for zone in sorted(_zones()) if zone.lower().rpartition("/")[2] == found.lower()]
    return f"did you mean {cities[0]}?" if cities else suggest(found, sorted(_zones()))


@functools.cache
def _zones() -> frozenset[str]:
    """The zones of the IANA database; what only this machine calls so is none."""
    return frozenset(zoneinfo.available_timezones()) - _ONLY_HERE
