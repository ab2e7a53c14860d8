"""What a recording holds, and its file: MessagePack in xz. Nothing of the program is imported."""

from __future__ import annotations

import json
import lzma
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from recorded.scenario import T0_S

FLOOD_SERIES = 1_000
"""As many series are kept apart in the flood of series."""
FLOOD_RULES = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up, namespace: flood}
spec:
  service: payment
  target: 99.9
  sli: {metric: availability}
  timeWindow: {type: rolling, duration: 30d}
"""


@dataclass(frozen=True)
class Part:
    """One service partition."""

    state: dict[bytes, bytes]
    """State records as of the checkpoint."""
    position: int
    """Offset of the first message that the state does not hold."""
    signals: list[tuple[str, str, bytes]]
    """(topic, key, JSON) of what was said after the checkpoint."""
    messages: list[tuple[int, bytes]]
    """(broker's stamp, partial) from ``position`` on."""


@dataclass(frozen=True)
class Recording:
    state_version: int
    partial_version: int
    parts: list[Part]
    sources: list[dict[str, int]]
    """By number: epoch, term, committed offset and the end of what was read at the checkpoint."""
    full_numbering: dict[str, Any]
    """``state``, ``position``, ``committed`` and ``end`` of a reader whose numbering was full: one source,
    one partition, the records of :func:`flood`."""


def write(path: Path, found: Recording) -> None:
    path.write_bytes(lzma.compress(msgspec.msgpack.encode(asdict(found)), preset=9 | lzma.PRESET_EXTREME))


def read(path: Path) -> Recording:
    found: dict[str, Any] = msgspec.msgpack.decode(lzma.decompress(path.read_bytes()))
    parts = [
        Part(
            one["state"],
            one["position"],
            [tuple(signal) for signal in one["signals"]],
            [tuple(message) for message in one["messages"]],
        )
        for one in found["parts"]
    ]
    return Recording(**{**found, "parts": parts})


@cache
def version_3() -> Recording:
    """State of format 3 and partials of format 4."""
    return read(Path(__file__).with_name("state-3.msgpack.xz"))


def to_json(value: object) -> bytes:
    return json.dumps(value).encode()


def flood() -> list[tuple[int, int, bytes]]:
    """(offset, stamp, value) of 20,000 series within one pane."""
    ts_ms = T0_S * 1000 + 20_000
    event = {"namespace": "flood", "service": "payment", "status": 200, "ts": ts_ms}
    return [(i, ts_ms + 100, to_json({**event, "endpoint": f"/{i}"})) for i in range(20_000)]
