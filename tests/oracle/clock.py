"""Section 3: panes, ticks, grids and calendar periods. All times are integer milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

PANE_MS = 10_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def down(value: int, step: int) -> int:
    return value // step * step


def up(value: int | Fraction, step: int) -> int:
    return -(-value // step) * step


def pane_end(ts: int) -> int:
    """Pane k = [10k, 10k + 10) s."""
    return down(ts, PANE_MS) + PANE_MS


def grid_ms(window_ms: int) -> int:
    """W ≤ 1h: one pane; W ≤ 6h: 60 s; W ≤ 3d: 300 s; longer: 3600 s."""
    if window_ms <= HOUR_MS:
        return PANE_MS
    if window_ms <= 6 * HOUR_MS:
        return 60_000
    return 300_000 if window_ms <= 3 * DAY_MS else 3_600_000


def window_start(tick: int, window_ms: int) -> int:
    """A window of length W at T covers [floor(T − W, g), T)."""
    return down(tick - window_ms, grid_ms(window_ms))


def calendar_period(tick: int, period: str, zone_name: str) -> tuple[int, int]:
    """(start, end) of the period with start < T ≤ end: a tick on a period's end belongs to it."""
    zone = ZoneInfo(zone_name)
    today = datetime.fromtimestamp((tick - 1) // 1000, UTC).astimezone(zone).date()
    if period == "1d":
        first, after = today, today + timedelta(days=1)
    elif period == "1w":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        months = {"1M": 1, "1q": 3, "1y": 12}[period]
        first = date(today.year, (today.month - 1) // months * months + 1, 1)
        month = first.month - 1 + months
        after = date(first.year + month // 12, month % 12 + 1, 1)
    return _midnight_ms(first, zone), _midnight_ms(after, zone)


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def nominal_ms(period: str) -> int:
    """Forgetting: 1M = 31d, 1q = 92d, 1y = 366d."""
    return {"1d": 1, "1w": 7, "1M": 31, "1q": 92, "1y": 366}[period] * DAY_MS


def rfc3339(ms: int) -> str:
    """Section 5: UTC with milliseconds."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
