"""Calendar periods of a time zone as spans of epoch seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from stream.model.objective import Calendar, Period

_END_OF_TIME_S = 253_402_300_800
"""The year 10000: the calendar's last period ends here."""


def period_bounds(calendar: Calendar) -> Callable[[int], tuple[int, int]]:
    """A function from a tick to (start, end) of its period, in epoch seconds.

    A tick on a period's end belongs to the period that ends there (contract, section 3).
    """
    zone = ZoneInfo(calendar.zone)

    def bounds(tick_s: int) -> tuple[int, int]:
        try:
            day = datetime.fromtimestamp(tick_s - 1, UTC).astimezone(zone).date()
        except (OverflowError, ValueError):
            day = date.max
        first = _first_day(day, calendar.period)
        return _midnight_s(first, zone), _midnight_s(_next(first, calendar.period), zone)

    return bounds


def _first_day(day: date, period: Period) -> date:
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case Period.QUARTER:
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case Period.YEAR:
            return day.replace(month=1, day=1)


_MONTHS = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}


def _next(first: date, period: Period) -> date | None:
    """First day of the period after; None after the calendar's end."""
    try:
        if period in _MONTHS:
            months = first.month - 1 + _MONTHS[period]
            return first.replace(year=first.year + months // 12, month=months % 12 + 1)
        return first + timedelta(days=7 if period is Period.WEEK else 1)
    except (OverflowError, ValueError):
        return None


def _midnight_s(day: date | None, zone: ZoneInfo) -> int:
    """Start of a local day; where clocks skip midnight, the first moment after the gap."""
    if day is None:
        return _END_OF_TIME_S
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    try:
        return int(local.timestamp())
    except (OverflowError, ValueError):
        return int(local.replace(tzinfo=UTC).timestamp())
