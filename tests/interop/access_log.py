"""What the contract makes of an access log, in plain Python that shares nothing with the program."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

PANE_S = 10

Event = dict[str, Any]


def parse(lines: Iterable[bytes]) -> tuple[list[Event], list[bytes]]:
    """(events, lines that are none), by what nginx is known to write."""
    events, faulty = [], []
    for line in lines:
        try:
            event = json.loads(line.decode(), parse_float=Decimal)
            if not (isinstance(event["ts"], int) and event["service"] and isinstance(event["status"], int)):
                raise ValueError("not what nginx writes")
        except (ValueError, KeyError, TypeError):
            faulty.append(line)
        else:
            events.append(event)
    return events, faulty


@dataclass(frozen=True)
class Slo:
    """An objective with a rolling window on whole panes, as far as these tests go."""

    name: str
    target_pct: Fraction
    counts: Callable[[Event], bool]
    bad: Callable[[Event], bool]
    window_s: int = 600
    projected: bool = False

    def burn(self, total: int, bad: int) -> Fraction:
        return Fraction(bad, total) / (1 - self.target_pct / 100)


class Log:
    """The events of a log, as an SLO counts them."""

    def __init__(self, events: Sequence[Event], slo: Slo) -> None:
        self.slo = slo
        self.events = [event for event in events if slo.counts(event)]

    def ticks(self) -> range:
        """Every pane end from that of the first event's pane to that of the last one's."""
        times = [event["ts"] // 1000 // PANE_S * PANE_S for event in self.events]
        return range(min(times) + PANE_S, max(times) + 2 * PANE_S, PANE_S)

    def within(self, length_s: int, tick_s: int) -> list[Event]:
        return [e for e in self.events if (tick_s - length_s) * 1000 <= e["ts"] < tick_s * 1000]

    def count(self, length_s: int, tick_s: int) -> tuple[int, int]:
        """(total, bad)"""
        events = self.within(length_s, tick_s)
        return len(events), sum(map(self.slo.bad, events))

    def burning(self, long_s: int, short_s: int, threshold: int, tick_s: int) -> bool:
        long, short = self.count(long_s, tick_s), self.count(short_s, tick_s)
        return (
            min(long[0], short[0]) > 0
            and self.slo.burn(*long) > threshold
            and self.slo.burn(*short) > threshold
            and long[1] >= 5
        )

    def remaining_pct(self, tick_s: int) -> Fraction:
        total, bad = self.count(self.slo.window_s, tick_s)
        allowed = (1 - self.slo.target_pct / 100) * total
        if self.slo.projected:
            elapsed_s = min(self.slo.window_s, tick_s - self.ticks()[0] + PANE_S)
            allowed *= Fraction(self.slo.window_s, elapsed_s)
        return 100 * (1 - bad / allowed) if total else Fraction(100)

    def contributors(self, length_s: int, tick_s: int) -> list[Event]:
        events = self.within(length_s, tick_s)
        totals = Counter((event["endpoint"], event["method"]) for event in events)
        bads = Counter((event["endpoint"], event["method"]) for event in events if self.slo.bad(event))
        return [
            {
                "endpoint": endpoint,
                "method": method,
                "version": None,
                "track": "stable",
                "bad": bad,
                "total": totals[endpoint, method],
                "share": bad / bads.total(),
            }
            for (endpoint, method), bad in sorted(bads.items(), key=lambda item: (-item[1], item[0]))
        ][:5]


def rfc3339(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def seconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp())
