"""What the values of settings may be, and how they are written: durations, brokers, names, paths."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from pydantic_settings import NoDecode

from stream.errors import UserError
from stream.words import printable

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]*")
_BROKER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:,/\[\]]+):(?P<port>[0-9]{1,5})")

_WEB_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s#]*)?")


class SettingsError(UserError):
    """Every fault of the settings, one a line."""


def _split(value: object) -> object:
    """``"a, b"`` or ``["a,b", "c"]`` as a tuple of its parts."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence):
        return value
    return tuple(part.strip() for item in items for part in str(item).split(",") if part.strip())


def split_text(value: object) -> object:
    """The same for paths, in which an option may have commas: they separate in a variable only."""
    return _split(value) if isinstance(value, str) else value


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,9})(ms|[smhd])", value.strip())
    if match is None:
        raise ValueError("a duration such as 500ms, 30s, 5m or 1h is expected")
    return timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])


def shown_duration(value: timedelta) -> str:
    length_ms = round(value / timedelta(milliseconds=1))
    for unit, size_s in reversed(_UNITS_S.items()):
        if length_ms and length_ms % round(size_s * 1000) == 0:
            return f"{length_ms // round(size_s * 1000)}{unit}"
    return "0s"


def between(least: timedelta, most: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(f"{shown_duration(least)} to {shown_duration(most)} is expected")
        return value

    return AfterValidator(check)


def _broker(value: str) -> str:
    match = _BROKER.fullmatch(value)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise ValueError(f"HOST:PORT is expected, found {value!r}")
    return value


def parse_brokers(text: str, name: str = "--brokers") -> tuple[str, ...]:
    """Brokers separated by commas. Raises :class:`SettingsError`, with ``name``, for what is none."""
    brokers, problems = [part.strip() for part in text.split(",") if part.strip()], []
    for broker in brokers:
        try:
            _broker(broker)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems or not brokers:
        raise SettingsError("\n".join(problems or [f"{name}: must name at least one"]))
    return tuple(brokers)


def is_web_address(value: str) -> bool:
    return _WEB_ADDRESS.fullmatch(value) is not None


def is_pair(value: str) -> bool:
    """Whether it is ``NAME=VALUE``, as logins by OAuth have them."""
    name, separator, rest = value.partition("=")
    return name.isascii() and name.isalpha() and name != "auth" and bool(separator) and rest.isprintable()


def _kafka_name(value: str) -> str:
    if not _KAFKA_NAME.fullmatch(value) or value in (".", ".."):
        raise ValueError("only letters, digits, '.', '_' and '-' can be in Kafka's names")
    return value


def lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _readable(path: Path) -> Path:
    if not os.access(path, os.R_OK) or path.is_dir():
        raise ValueError(f"cannot read the file {printable(path)}")
    return path


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(shown_duration)]
KafkaName = Annotated[str, AfterValidator(_kafka_name)]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
Brokers = Annotated[
    tuple[Annotated[str, AfterValidator(_broker)], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(min_length=1),
]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(split_text), Field(min_length=1)]
