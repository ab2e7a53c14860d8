"""The stream that every fault hits: recorded request events, seeded, with all that real producers do to them.

Events come in disorder within the allowed lateness, from producers whose clocks differ by up to 2 s, some
sampled, some of services without an SLO; poison records of every kind stand between them. Event time runs
faster than the clock, and jumps now and then: where it jumps the feed may pause without making anything late.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from test_stages import AVAILABILITY, SLOS, slo_file

START_MS = 1_790_000_000_000
SPEED = 20
"""Seconds of event time in a second."""
GAP_MS = 600_000
"""By so much event time jumps at a gap: more than any pause of the feed takes."""
LONGEST_MS = 2_900
"""Disorder, beside the clocks' differences of up to 2 s: less than the allowed lateness of 5 s."""
SERVICES = ("payment", "payment", "search", "cart", "nobody")
POISON = (b"{poison", b'{"service": 1, "ts": 5}', b"\xff\xfe{}", b"[]", b'{"ts": 1}', b'"text"')
CANARY_MS = 1_200_000
"""So long there is a canary, slower than what serves beside it, and as long none."""
MONTH = "{type: rolling, duration: 30d}"


@dataclass(frozen=True)
class Stream:
    lines: list[bytes]
    """In file order; poison among them."""
    gaps: list[int]
    """Places in ``lines`` before which event time jumps, ascending."""
    bad: int
    """Lines that are poison."""


def recorded(seed: int, count: int, rate: float, gaps: int) -> Stream:
    """``count`` lines for a feed of ``rate`` a second, with ``gaps`` jumps of event time."""
    rng = random.Random(seed)
    skews_ms = [rng.randrange(-2_000, 1) for _ in range(8)]
    places = [count * (i + 1) // (gaps + 1) for i in range(gaps)]
    lines: list[bytes] = []
    bad = 0
    now_ms = float(START_MS)
    jumps = set(places)
    large = {rng.randrange(count) for _ in range(3)}
    for i in range(count):
        now_ms += rng.expovariate(1) * 1000 * SPEED / rate + (GAP_MS if i in jumps else 0)
        if i in large:
            lines.append(b'{"service":"payment","endpoint":"' + b"x" * (1 << 20) + b'"}')
        elif rng.random() < 0.003:
            lines.append(rng.choice(POISON))
        else:
            lines.append(_event(rng, int(now_ms), skews_ms))
            continue
        bad += 1
    return Stream(lines, places, bad)


def _event(rng: random.Random, now_ms: int, skews_ms: list[int]) -> bytes:
    bursting = now_ms // 600_000 % 3 == 1
    is_bad = rng.random() < (0.25 if bursting else 0.003)
    event: dict[str, object] = {
        "ts": now_ms - rng.randrange(LONGEST_MS) + rng.choice(skews_ms),
        "namespace": "shop",
        "service": rng.choice(SERVICES),
        "endpoint": f"/{rng.randrange(4)}",
        "status": 500 if is_bad else 200,
        "latency_ms": rng.randrange(1, 90) + (60 if is_bad else 0),
        "version": f"v{now_ms // 1_800_000 % 100}",
    }
    if now_ms // CANARY_MS % 2 and rng.random() < 0.3:
        event |= {
            "track": "canary",
            "version": f"c{now_ms // CANARY_MS % 100}",
            "latency_ms": rng.randrange(150),
        }
    elif rng.random() < 0.05:
        event["track"] = "shadow"
    if rng.random() < 0.2:
        event["sample_rate"] = rng.choice([0.1, 0.3, 0.01])
    return json.dumps(event).encode()


def junk(rng: random.Random, now_ms: int) -> bytes:
    """An event of an aborted transaction: it would be seen in every count."""
    return json.dumps({"ts": now_ms, "namespace": "shop", "service": "payment", "status": 500}).encode()


def objectives(directory: Path) -> Path:
    """SLOs of every kind, and one per service whose window holds the whole stream."""
    path = slo_file(directory)
    totals = [
        SLOS.replace("NAME", f"{service}-total")
        .replace("SERVICE", service)
        .replace("SLI", AVAILABILITY)
        .replace("WINDOW", MONTH)
        for service in sorted({*SERVICES} - {"nobody"})
    ]
    path.write_text("---".join([path.read_text(), *totals]))
    return path
