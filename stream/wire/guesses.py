"""What was most likely meant by a value that is refused."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from stream.wire.event import MIN_TS_MS, Rule
from stream.words import suggest

_LONGEST = 60
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_MICROSECONDS, _NANOSECONDS = 1000 * MIN_TS_MS, 1_000_000 * MIN_TS_MS


@lru_cache(maxsize=1024)
def guess(name: str, rule: Rule, text: bytes) -> str:
    """``did you mean 200?``, or nothing; ``text``: a JSON value that the field may not hold."""
    if len(text) > _LONGEST:
        return ""
    if rule.is_time and _NUMBER.fullmatch(text.decode()):
        return other_unit(name, float(text))
    if not text.startswith(b'"'):
        return ""
    said = json.loads(text)
    if {"integer", "number"} & set(rule.kinds) and _NUMBER.fullmatch(said):
        return f"did you mean {said}, without quotes?"
    if rule.kinds == ("boolean",) and said.lower() in ("true", "false"):
        return f"did you mean {said.lower()}, without quotes?"
    return suggest(said, rule.words)


def other_unit(name: str, time: float) -> str:
    """Of a number that is no time in milliseconds."""
    if 0 <= time < MIN_TS_MS:
        return f"seconds? {name} is in milliseconds"
    if time >= _NANOSECONDS:
        return f"nanoseconds? {name} is in milliseconds"
    return f"microseconds? {name} is in milliseconds" if time >= _MICROSECONDS else ""


def quoted_time(text: str) -> str:
    """Of a string that is no RFC 3339 date-time, but a number."""
    return f"did you mean {text}, without quotes?" if _NUMBER.fullmatch(text) else ""
