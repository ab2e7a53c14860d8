"""Calendar windows: local days, weeks, months, quarters and years, whatever the zone's clocks do."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, Calendar, Objective, Period
from stream.pipeline import Feed
from stream.slo.calendar import period_bounds

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Chatham",
    "Antarctica/Troll",  # changes by two hours
    "America/Havana",  # midnight happens twice in autumn
    "Africa/Cairo",  # no midnight in spring
    "America/Sao_Paulo",  # no midnight in spring, until 2018
    "America/Santiago",
    "Pacific/Apia",  # no 30 December 2011
)
BOUNDS = {(zone, period): period_bounds(Calendar(period, zone)) for zone in ZONES for period in Period}
END_OF_TIME_S = 253_402_300_800


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def label(second: int, zone: str, period: Period) -> tuple[int, ...]:
    """The name of the period that holds this second: from UTC to local time only, never back."""
    day = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).date()
    return {
        Period.DAY: (day.toordinal(),),
        Period.WEEK: day.isocalendar()[:2],
        Period.MONTH: (day.year, day.month),
        Period.QUARTER: (day.year, (day.month + 2) // 3),
        Period.YEAR: (day.year,),
    }[period]


def changes_of(zone: str) -> list[int]:
    """Seconds near which the zone's clocks change, to the half day."""
    steps = range(at("1990-01-01T00:00Z"), at("2037-12-01T00:00Z"), 43_200)
    offsets = [datetime.fromtimestamp(t, UTC).astimezone(ZoneInfo(zone)).utcoffset() for t in steps]
    return [t for t, a, b in zip(steps[1:], offsets, offsets[1:], strict=False) if a != b] or [steps[0]]


CHANGES = {zone: changes_of(zone) for zone in ZONES}


@st.composite
def ticks(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and a tick, often on a day on which its clocks change."""
    zone = draw(st.sampled_from(ZONES))
    near = draw(st.sampled_from(CHANGES[zone])) // 3600 * 3600 + draw(st.integers(-40, 40)) * 1800
    anywhere = draw(st.integers(at("1972-01-01T00:00Z") // 10, at("2100-01-01T00:00Z") // 10)) * 10
    return zone, draw(st.sampled_from([near, near, near + 10, near - 10, anywhere]))


@settings(max_examples=800, deadline=None)
@given(ticks(), st.sampled_from(Period))
def test_a_period_is_all_the_time_that_has_its_name_and_no_more(
    case: tuple[str, int], period: Period
) -> None:
    """… ][ start            tick − 1 │ tick            end ][ …     one name from start to just before end"""
    zone, tick_s = case
    start_s, end_s = BOUNDS[zone, period](tick_s)
    assert start_s < tick_s <= end_s
    name = label(tick_s - 1, zone, period)
    for second in (start_s, (start_s + tick_s) // 2, (tick_s + end_s) // 2 - 1, end_s - 1):
        assert label(second, zone, period) == name
    assert label(start_s - 1, zone, period) != name
    assert label(end_s, zone, period) != name


@settings(max_examples=200, deadline=None)
@given(ticks(), st.sampled_from(Period))
def test_a_tick_on_an_end_belongs_to_the_period_that_ends(case: tuple[str, int], period: Period) -> None:
    zone, tick_s = case
    bounds = BOUNDS[zone, period]
    start_s, end_s = bounds(tick_s)
    assert bounds(end_s) == bounds(start_s + 1) == (start_s, end_s)
    assert bounds(start_s)[1] == start_s
    assert bounds(end_s + 1)[0] == end_s


@pytest.mark.parametrize(
    ("zone", "period", "tick", "start", "end"),
    [
        ("Europe/Berlin", "1d", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),  # 23 h
        ("Europe/Berlin", "1d", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),  # 25 h
        ("Europe/Berlin", "1w", "2026-10-25T23:00Z", "2026-10-18T22:00Z", "2026-10-25T23:00Z"),  # Monday
        ("America/New_York", "1M", "2026-11-15T00:00Z", "2026-11-01T04:00Z", "2026-12-01T05:00Z"),
        ("UTC", "1q", "2028-01-01T00:00Z", "2027-10-01T00:00Z", "2028-01-01T00:00Z"),
        ("UTC", "1q", "2028-01-01T00:00:10Z", "2028-01-01T00:00Z", "2028-04-01T00:00Z"),
        ("Asia/Kolkata", "1y", "2028-06-01T00:00Z", "2027-12-31T18:30Z", "2028-12-31T18:30Z"),
        ("Africa/Cairo", "1d", "2026-04-24T09:00Z", "2026-04-23T22:00Z", "2026-04-24T21:00Z"),  # 1:00 first
        ("America/Havana", "1d", "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),  # 25 h
        ("Pacific/Apia", "1d", "2011-12-31T00:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
    ],
)
def test_periods_as_a_wall_calendar_has_them(zone: str, period: str, tick: str, start: str, end: str) -> None:
    assert period_bounds(Calendar(Period(period), zone))(at(tick)) == (at(start), at(end))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
@pytest.mark.parametrize("period", Period)
def test_the_last_period_ends_with_the_calendar(zone: str, period: Period) -> None:
    bounds = period_bounds(Calendar(period, zone))
    for tick_s in (END_OF_TIME_S, END_OF_TIME_S - 10, END_OF_TIME_S - 13 * 3600, END_OF_TIME_S - 86_400):
        start_s, end_s = bounds(tick_s)
        assert start_s < tick_s <= end_s
    assert bounds(END_OF_TIME_S)[1] >= END_OF_TIME_S


def test_the_first_ticks_of_all_have_a_period() -> None:
    assert period_bounds(Calendar(Period.DAY, "UTC"))(10) == (0, 86_400)
    assert period_bounds(Calendar(Period.DAY, "UTC"))(0) == (-86_400, 0)
    assert period_bounds(Calendar(Period.WEEK, "UTC"))(10) == (-3 * 86_400, 4 * 86_400)
    assert date(1970, 1, 1).weekday() == 3


def test_budgets_of_a_short_day_have_its_length_and_begin_anew_after_it() -> None:
    """29 March 2026 in Berlin lasts 23 hours, until 22:00 UTC."""
    o = Objective("shop", "up", "payment", Availability(), Decimal(99), Calendar(Period.DAY, "Europe/Berlin"))
    feed, budgets = Feed([o]), {}
    for time, status in (("20:00:30", 500), ("21:59:59", 200), ("22:00:00", 500), ("23:30:00", 200)):
        event = {"ts": f"2026-03-29T{time}Z", "service": "payment", "namespace": "shop", "status": status}
        frame, refused = feed.decode([json.dumps(event).encode()])
        assert not refused
        for signal in feed.push(frame):
            budgets[str(signal.value["evaluated_at"])[11:19]] = signal.value
    assert {t: (v["window_s"], v["total"], v["bad"]) for t, v in budgets.items() if t > "21:58:00"} == {
        "21:59:00": (82_800, 1.0, 1.0),
        "22:00:00": (82_800, 2.0, 1.0),
        **{f"22:{m:02}:00": (86_400, 1.0, 1.0) for m in range(1, 60)},
        **{f"23:{m:02}:00": (86_400, 1.0, 1.0) for m in range(30)},
    }
