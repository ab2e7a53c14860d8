"""Lost, or counted twice: what was published, held against replay of the same events, fault by fault."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from against_replay import Records, comparable

from stream.kafka.tail import Tail
from stream.wire.rfc3339 import parse_ms
from stream.wire.signal import TOPICS

_TOTAL = "-total"
"""SLOs whose window holds the whole stream: what is lost stays lost in their totals."""
_LATE_S = 2.0
"""So long after everything was there, what should not be there is waited for."""

Totals = dict[tuple[str, str], float]
"""(SLO, evaluated_at) → total."""


@dataclass
class Published:
    """All committed records up to a last tick."""

    last: str
    records: Records = field(default_factory=lambda: {topic: Counter() for topic in TOPICS})
    totals: Totals = field(default_factory=dict)
    letters: dict[bytes, bytes] = field(default_factory=dict)
    """Source of a dead letter → the record."""
    faults: list[str] = field(default_factory=list)

    def take(self, topic: str, record: dict[str, Any]) -> None:
        if str(record.get("evaluated_at", "")) > self.last:
            return
        if topic == "dead-letters":
            source, whole = orjson.dumps(record["source"]), orjson.dumps(record)
            if (before := self.letters.setdefault(source, whole)) is not whole:
                if before != whole:  # a repeat after a crash is equal to the last byte
                    self.faults.append(f"two dead letters of {source!r}: {before!r} and {whole!r}")
                return
        self.records[topic][comparable(topic, record)] += 1
        if topic == "slo-budgets" and str(record["slo"]).endswith(_TOTAL):
            self.totals[str(record["slo"]), str(record["evaluated_at"])] = float(record["total"])

    def misses(self, expected: Records) -> bool:
        return any(expected[topic] - self.records[topic] for topic in TOPICS)


async def published(broker: str, prefix: str, expected: Records, last: str, limit_s: float) -> Published:
    """Read the output topics until nothing expected is missing, or the time is over."""
    found = Published(last)
    async with Tail([broker], {topic: prefix + topic for topic in TOPICS}) as tail:
        deadline_s = time.monotonic() + limit_s
        while found.misses(expected) and time.monotonic() < deadline_s:
            for signal in await tail.read(1.0):
                found.take(signal.topic, signal.record)
        await asyncio.sleep(_LATE_S)
        while rest := await tail.read(1.0):
            for signal in rest:
                found.take(signal.topic, signal.record)
    return found


def totals_of(records: Counter[bytes]) -> Totals:
    """Of the budgets that replay published."""
    found = [orjson.loads(record) for record in records]
    return {(b["slo"], b["evaluated_at"]): b["total"] for b in found if b["slo"].endswith(_TOTAL)}


@dataclass
class Toll:
    """What a kind of fault cost."""

    times: int = 0
    lost: float = 0.0
    doubled: float = 0.0


def tolls(struck: Sequence[tuple[int, str]], expected: Totals, found: Totals) -> dict[str, Toll]:
    """Weighted events lost and counted twice, by the fault after which they were.

    ``struck``: (event time, fault), ascending. A total that is off from one minute on is put down to the last
    fault before that minute.
    """
    tolls: dict[str, Toll] = defaultdict(Toll)
    for _, name in struck:
        tolls[name].times += 1
    times = [at_ms for at_ms, _ in struck]
    for slo in {slo for slo, _ in expected}:
        off = 0.0
        for minute in sorted(at for name, at in expected if name == slo):
            step = found.get((slo, minute), expected[slo, minute]) - expected[slo, minute] - off
            if abs(step) < 1e-6:
                continue
            off += step
            place = bisect_right(times, parse_ms(minute)) - 1
            toll = tolls[struck[place][1] if place >= 0 else "(before any fault)"]
            toll.lost += max(0.0, -step)
            toll.doubled += max(0.0, step)
    return dict(tolls)


def differences(expected: Records, found: Published) -> list[str]:
    """One line for each topic that is not as replay has it."""
    lines = list(found.faults)
    for topic in TOPICS:
        missing, extra = expected[topic] - found.records[topic], found.records[topic] - expected[topic]
        if missing:
            lines.append(f"{topic}: {missing.total()} records missing, the first {min(missing)!r}")
        if extra:
            lines.append(f"{topic}: {extra.total()} records too many, the first {min(extra)!r}")
    return lines
