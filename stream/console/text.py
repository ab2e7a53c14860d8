"""Numbers and times as people read them. All times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime

_ASCII = str.maketrans({"×": "x", "–": "-", "…": ".", "─": "-", "·": "-", "›": ">", "−": "-"})
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def to_ascii(line: str) -> str:
    """For a terminal that shows nothing else; as wide as before."""
    return line.translate(_ASCII).encode("ascii", "replace").decode()


def clock(ms: int) -> str:
    """``10:24:10`` of an epoch time in milliseconds."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%H:%M:%S}"


def epoch_ms(rfc3339: str) -> int:
    """Milliseconds since the epoch of a record's time."""
    return round(datetime.fromisoformat(rfc3339).timestamp() * 1000)


def window(length_s: float) -> str:
    """``5m``, ``1h``, ``90s``: the way a window is written in an SLO file."""
    whole_s = round(length_s)
    unit, size_s = next(((unit, size) for unit, size in _UNITS if whole_s % size == 0), ("s", 1))
    return f"{whole_s // size_s}{unit}"


def duration(length_s: float) -> str:
    """``45 s``, ``2 min 10 s``, ``1 h 5 min``."""
    whole_s = round(length_s)
    if whole_s < 60:
        return f"{whole_s} s"
    first, rest, units = (whole_s // 60, whole_s % 60, ("min", "s"))
    if whole_s >= 3600:
        first, rest, units = (whole_s // 3600, whole_s % 3600 // 60, ("h", "min"))
    return f"{first} {units[0]}" + (f" {rest} {units[1]}" if rest else "")


def stopwatch(length_s: float) -> str:
    """``1:05`` or ``1:02:05``."""
    minutes, seconds = divmod(round(length_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def burn(rate: float | None) -> str:
    """``14.4×``; an empty window has none."""
    if rate is None:
        return "–"
    return f"{rate:.1f}×" if rate < 100 else f"{rate:.0f}×"


def percent(value: float | None) -> str:
    """``29.3 %``; without a decimal where there is room for none; a dash where there is no number."""
    if value is None:
        return "–"
    return f"{value:.1f} %" if abs(value) < 99.95 else f"{value:.0f} %"


def change(ratio: float) -> str:
    """``+18 %``, ``−5 %``, ``+222 %`` of a ratio."""
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")


def latency(ms: float | None) -> str:
    """``85 ms`` or ``1.32 s``."""
    if ms is None:
        return "–"
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def count(number: float) -> str:
    """``12,034``."""
    return f"{number:,.0f}"
