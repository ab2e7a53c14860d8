"""What a live app published, held against what replay makes of the same events (contract, section 6)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson

from stream.replay import replay
from stream.wire.signal import TOPICS

APPROXIMATE = ("p50", "p90", "p95", "p99", "p999", "mean")

Records = dict[str, Counter[bytes]]


def comparable(topic: str, record: dict[str, object]) -> bytes:
    """What live and replay must agree on to the last byte."""
    left_out = {"latency-percentiles": APPROXIMATE, "dead-letters": ("source", "observed_at")}.get(topic, ())
    return orjson.dumps({k: v for k, v in record.items() if k not in left_out})


def replayed(slos: Path, lines: list[bytes], directory: Path) -> tuple[Records, str]:
    """What replay gives, and its last tick."""
    file = directory / "events.ndjson"
    file.write_bytes(b"\n".join(lines))
    replay([slos], [str(file)], directory / "out")
    found: Records = {}
    last = ""
    for topic in TOPICS:
        records = [orjson.loads(line) for line in (directory / "out" / f"{topic}.ndjson").open("rb")]
        found[topic] = Counter(comparable(topic, record) for record in records)
        last = max([last, *(record["evaluated_at"] for record in records if "evaluated_at" in record)])
    return found, last
