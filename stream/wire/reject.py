"""Why a record is no event: error codes, and the careful reading that finds the fault and names it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.wire.event import MAX_DEPTH, MAX_RECORD_BYTES, RULES, Event, Rule
from stream.wire.guesses import guess

T = TypeVar("T", bound=msgspec.Struct)

EMPTY = "empty"
TOO_LARGE = "too_large"
NOT_UTF8 = "not_utf8"
NOT_JSON = "not_json"
TOO_DEEP = "too_deep"
NOT_AN_OBJECT = "not_an_object"
MISSING_FIELD = "missing_field"
WRONG_TYPE = "wrong_type"
OUT_OF_RANGE = "out_of_range"
BAD_LENGTH = "bad_length"
BAD_TIME = "bad_time"
UNKNOWN_VALUE = "unknown_value"
FUTURE_TIMESTAMP = "future_timestamp"

ERRORS: dict[str, str] = {
    EMPTY: "the record has no value, or one of no bytes",
    TOO_LARGE: f"the record is larger than {MAX_RECORD_BYTES} bytes",
    NOT_UTF8: "the record is not UTF-8",
    NOT_JSON: "the record is not one JSON document",
    TOO_DEEP: f"objects and arrays are nested more than {MAX_DEPTH} deep",
    NOT_AN_OBJECT: "the record is JSON, but no object",
    MISSING_FIELD: "a required field is absent or null",
    WRONG_TYPE: "a field holds another kind of value than it may",
    OUT_OF_RANGE: "a number or a time is outside its bounds",
    BAD_LENGTH: "a string is too short or too long",
    BAD_TIME: "a time is not an RFC 3339 date-time",
    UNKNOWN_VALUE: "a string is not among those that the field allows",
    FUTURE_TIMESTAMP: "its time is more than 60 s ahead of the record's own timestamp",
}
"""Every code that a dead letter can carry, with its meaning. Codes are stable: people count by them."""

MAX_DETAIL_CHARS = 500
_MAX_FOUND_BYTES = 60

SHORT_BYTES = 2 * MAX_DEPTH
"""A valid record of no more bytes cannot nest deeper than MAX_DEPTH, for each level needs two."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not an event: its place in the batch, an error code and a text of bounded length."""

    row: int
    error: str
    detail: str


class RecordError(Exception):
    """The record breaks a rule of the contract's section 1."""

    def __init__(self, error: str, detail: str) -> None:
        assert error in ERRORS, error
        self.error = error
        self.detail = detail if len(detail) <= MAX_DETAIL_CHARS else f"{detail[: MAX_DETAIL_CHARS - 1]}…"
        super().__init__(self.error, self.detail)


class Form(Generic[T]):
    """A kind of record: its type, and its fields' rules in words."""

    def __init__(self, kind: type[T], rules: Mapping[str, Rule], required: tuple[str, ...]) -> None:
        self.kind = kind
        self.rules = rules
        self.required = required
        self.decode = msgspec.json.Decoder(kind).decode
        self.fields = {
            field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(kind)
        }


EVENT = Form(Event, RULES, ("service",))
_document = msgspec.json.Decoder(msgspec.Raw).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_event(value: bytes | None) -> Event:
    """The event of one record, or :class:`RecordError` with every fault found in its fields."""
    return read_record(value, EVENT)


def read_record(value: bytes | None, form: Form[T]) -> T:
    """What one record says, or :class:`RecordError` with every fault found in its fields.

    Field by field where the decoder of whole records gave up, so that the last of duplicate keys counts.
    """
    if not value:
        raise RecordError(EMPTY, "the record has no value" if value is None else "the value has no bytes")
    if len(value) > MAX_RECORD_BYTES:
        raise RecordError(TOO_LARGE, ERRORS[TOO_LARGE])
    _check_text(value)
    _check_depth(value)
    try:
        try:
            return form.decode(value)
        except msgspec.DecodeError:
            return _record_of(_raw_fields(value), form)
    except RecursionError:  # MAX_DEPTH is not reached: the caller's own stack is nearly used up
        raise RecordError(TOO_DEEP, ERRORS[TOO_DEEP]) from None


def found(value: str | bytes) -> str:
    """A value as a detail shows it: its beginning."""
    data = value.encode() if isinstance(value, str) else value
    return data[:_MAX_FOUND_BYTES].decode("utf-8", "ignore") + ("…" if len(data) > _MAX_FOUND_BYTES else "")


def _check_text(value: bytes) -> None:
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as fault:
            raise RecordError(
                NOT_UTF8, f"byte {fault.start} (0x{value[fault.start]:02x}): {fault.reason}"
            ) from None


def _check_depth(value: bytes) -> None:
    """Only a record with so many openings is looked at closely; strings are told apart there."""
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return
    data = np.frombuffer(value, np.uint8)
    opens, closes = (data == ord("[")) | (data == ord("{")), (data == ord("]")) | (data == ord("}"))
    step = np.where(_in_string(value), 0, opens.astype(np.int32) - closes)
    if step.cumsum().max() > MAX_DEPTH:
        raise RecordError(TOO_DEEP, ERRORS[TOO_DEEP])


def _in_string(value: bytes) -> NDArray[np.bool_]:
    """Which bytes lie inside a JSON string: those after an odd number of quotes that no backslash escapes."""
    bare = value.replace(b"\\\\", b"..").replace(b'\\"', b"..")
    inside: NDArray[np.bool_] = (np.frombuffer(bare, np.uint8) == ord('"')).cumsum() % 2 == 1
    return inside


def _raw_fields(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        document = bytes(_document(value))
        if not document.startswith(b"{"):
            raise RecordError(NOT_AN_OBJECT, f"expected an object, found {found(document)}")
        return _fields(document)
    except msgspec.DecodeError as fault:
        if value.startswith(codecs.BOM_UTF8):
            raise RecordError(NOT_JSON, f"begins with a byte order mark: {found(value[3:])}") from None
        raise RecordError(NOT_JSON, f"{fault}: {found(value)}") from None


def _record_of(raw: dict[str, msgspec.Raw], form: Form[T]) -> T:
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for name, decode in form.fields.items():
        text = bytes(raw.get(name, b"null"))
        if text == b"null":
            if name in form.required:
                faults.append((MISSING_FIELD, f"{name}: expected {form.rules[name].text}, found none"))
            continue
        try:
            values[name] = decode(text)
        except msgspec.ValidationError:
            faults.append((_error_of(form.rules[name], text), _expected(name, form.rules[name], text)))
    if faults:
        raise RecordError(faults[0][0], "; ".join(detail for _, detail in faults))
    return form.kind(**values)


def _expected(name: str, rule: Rule, text: bytes) -> str:
    hint = guess(name, rule, text)
    return f"{name}: expected {rule.text}, found {found(text)}" + (f" ({hint})" if hint else "")


def _error_of(rule: Rule, text: bytes) -> str:
    kind = _kind(text)
    if kind not in rule.kinds or kind in ("object", "array"):
        return WRONG_TYPE
    if kind == "string":
        return BAD_LENGTH if rule.is_name else UNKNOWN_VALUE
    return OUT_OF_RANGE


def _kind(text: bytes) -> str:
    """The kind of a valid JSON value; only a number written without fraction and exponent is an integer."""
    kinds = {b'"': "string", b"{": "object", b"[": "array", b"t": "boolean", b"f": "boolean"}
    number = "number" if any(mark in text for mark in (b".", b"e", b"E")) else "integer"
    return kinds.get(text[:1], number)
