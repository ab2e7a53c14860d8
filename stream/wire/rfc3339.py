"""RFC 3339 date-times and epoch milliseconds.

Time is counted as POSIX does (proleptic Gregorian calendar, 86,400 s a day): a leap second, which the RFC
writes as ``23:59:60``, is the first second of the following day.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

_FORM = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE_DAYS = 146_097
"""Days in 400 years, after which the calendar repeats; reaches the years that ``date`` does not know."""
_CYCLE_YEARS = 400


def parse_ms(text: str) -> int:
    """Epoch milliseconds of a date-time; digits beyond milliseconds are cut, the range is not checked.

    Strictly section 5.6: ``T`` and ``Z`` in either case, no space instead of ``T``, an offset or ``Z`` is
    required; ``-00:00`` is UTC. The second may be 60 only in the last minute (UTC) of a month.
    Raises ValueError for everything else.

    >>> parse_ms("2026-11-23T05:00:10.0009Z"), parse_ms("1970-01-01t01:00:00+01:00")
    (1795410010000, 0)
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("not of the form 2026-11-23T05:00:10.000Z")
    day, minute, second, fraction, offset = match.groups()
    start_ms = _minute_ms(day, minute, offset)
    second_ms = int(second) * 1000
    if second_ms >= _MINUTE_MS and not (second_ms == _MINUTE_MS and _ends_a_month(start_ms)):
        raise ValueError("the second is not one of that minute")
    return start_ms + second_ms + (int(fraction[:3].ljust(3, "0")) if fraction else 0)


def format_ms(ms: int) -> str:
    """The date-time in UTC with milliseconds; years past 9999 get more digits, those before 0 a sign.

    >>> format_ms(1795410010000), format_ms(-1)
    ('2026-11-23T05:00:10.000Z', '1969-12-31T23:59:59.999Z')
    """
    days, day_ms = divmod(int(ms), _DAY_MS)
    cycles, ordinal = divmod(days + _EPOCH - 1, _CYCLE_DAYS)
    day = date.fromordinal(ordinal + 1)
    year = day.year + cycles * _CYCLE_YEARS
    minutes, minute_ms = divmod(day_ms, _MINUTE_MS)
    return (
        f"{'-' if year < 0 else ''}{abs(year):04d}-{day.month:02d}-{day.day:02d}"
        f"T{minutes // 60:02d}:{minutes % 60:02d}:{minute_ms // 1000:02d}.{minute_ms % 1000:03d}Z"
    )


@lru_cache(maxsize=4096)
def _minute_ms(day: str, minute: str, offset: str) -> int:
    """Start of a minute. Remembered, for neighbouring events share it."""
    year, cycles = int(day[:4]), 0
    if year == 0:
        year, cycles = _CYCLE_YEARS, -1
    days = date(year, int(day[5:7]), int(day[8:])).toordinal() - _EPOCH + cycles * _CYCLE_DAYS
    return days * _DAY_MS + (
        _minutes(minute) - (_minutes(offset[1:], offset[0]) if len(offset) > 1 else 0)
    ) * (_MINUTE_MS)


def _minutes(text: str, sign: str = "+") -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if hours > 23 or minutes > 59:
        raise ValueError("no such time of day or offset")
    return -(hours * 60 + minutes) if sign == "-" else hours * 60 + minutes


def _ends_a_month(minute_ms: int) -> bool:
    next_day, rest_ms = divmod(minute_ms + _MINUTE_MS, _DAY_MS)
    return rest_ms == 0 and date.fromordinal((next_day + _EPOCH - 1) % _CYCLE_DAYS + 1).day == 1
