"""RFC 3339 date-times, read strictly and written exactly."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.wire.rfc3339 import format_ms, parse_ms

DAY_MS = 86_400_000
OFFSETS = st.integers(-1439, 1439)


def exact_ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(st.datetimes(), OFFSETS, st.sampled_from("Tt"))
def test_reading_agrees_with_the_standard_library(moment: datetime, offset_min: int, letter: str) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    assert parse_ms(local.isoformat().replace("T", letter)) == exact_ms(local)


@given(st.datetimes())
def test_writing_agrees_with_the_standard_library(moment: datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    text = moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    assert format_ms(exact_ms(moment)) == text


@given(st.integers(-62_167_219_200_000, 253402300799999))
def test_what_was_written_reads_back(ms: int) -> None:
    assert parse_ms(format_ms(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T00:00:00.9Z", 900),
        ("1970-01-01T00:00:00.0019999999999999999999Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T23:59:00+23:59", 0),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("2000-02-29T12:00:00.250-01:30", 951831000250),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ("9999-12-31T23:59:59.999-23:59", 253402300799999 + 1439 * 60_000),
    ],
)
def test_examples(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


@pytest.mark.parametrize(
    ("leap", "after"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00Z"),
        ("2015-07-01T05:29:60+05:30", "2015-07-01T00:00:00Z"),
        ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_a_leap_second_is_the_first_second_of_the_next_day(leap: str, after: str) -> None:
    assert parse_ms(leap) == parse_ms(after) + (1000 if after.startswith("9999") else 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T05:00:10",
        "2026-11-23 05:00:10Z",
        "2026-11-23T05:00Z",
        "2026-11-23T05:00:10.Z",
        "2026-11-23T05:00:10,5Z",
        "2026-11-23T05:00:10+0100",
        "2026-11-23T05:00:10+01",
        "2026-11-23T05:00:10 Z",
        " 2026-11-23T05:00:10Z",
        "2026-11-23T05:00:10Z\n",
        "20261123T050010Z",
        "2026-1-23T05:00:10Z",
        "+2026-11-23T05:00:10Z",
        "12026-11-23T05:00:10Z",
        "2026-00-10T00:00:00Z",
        "2026-13-10T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T23:60:00Z",
        "2026-11-23T23:59:61Z",
        "2026-11-23T23:59:60Z",
        "2026-11-30T12:00:60Z",
        "2016-12-31T23:59:60+01:00",
        "2026-11-23T05:00:10+24:00",
        "2026-11-23T05:00:10+01:60",
        "２０２６-11-23T05:00:10Z",
        "2026-11-23T05:00:10.٣Z",
        "1795410010000",
        "now",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ms(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_ms(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1795410010000, "2026-11-23T05:00:10.000Z"),
        (253402300799999, "9999-12-31T23:59:59.999Z"),
        (253402300800000, "10000-01-01T00:00:00.000Z"),
        (253402300800000 + 60 * DAY_MS, "10000-03-01T00:00:00.000Z"),  # 31 + 29 days: 10000 is a leap year
        (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        (-62_167_219_200_001, "-0001-12-31T23:59:59.999Z"),
    ],
)
def test_writing_knows_years_that_the_standard_library_does_not(ms: int, text: str) -> None:
    assert format_ms(ms) == text


@given(st.integers(-(10**18), 10**18))
def test_writing_never_fails_and_repeats_every_400_years(ms: int) -> None:
    cycle_ms = 146_097 * DAY_MS
    assert format_ms(ms)[-20:] == format_ms(ms % cycle_ms + cycle_ms)[-20:]
