"""What the benchmarks send: request events of a given shape, and the objectives that look at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LATENESS_MS = 5_000
"""The worker's default: a tick is decided when every partition has passed it by so much."""
START_MS = 1_790_000_040_000  # a whole minute, long ago
_BLOCK = 10_000
_EVENT = (
    b'{"ts":%d,"service":"s%d","endpoint":"/v1/orders/{id}/%d","method":"GET","status":%d,'
    b'"latency_ms":%.1f,"version":"2.4.%d","track":"%b"}'
)

_SLO = """\
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: {name}}}
spec:
  service: {service}
  sli: {sli}
  target: 99.9
  timeWindow: {{type: rolling, duration: 30d}}
  alerting:
    - {{window: 5m, burnRateThreshold: 14.4}}
    - {{window: 1h, burnRateThreshold: 6}}
    - {{window: 6h, burnRateThreshold: 1}}
  errorBudgetPolicy: {{freezeDeploymentsThreshold: 10, autoRollbackThreshold: 5}}
"""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Whole minutes of events in order of time, about 140 bytes each."""

    services: int = 100
    endpoints: int = 10
    """Of each service; 0: every event has one of its own."""
    variants: int = 1
    """Of each endpoint: canary and stable of one version after the other."""
    events_per_s: int = 20_000
    """Of event time: a billion a day is 11,600 a second in the mean."""
    minutes: int = 3
    start_ms: int = START_MS
    bad: float = 0.01
    """Share of errors."""

    @property
    def count(self) -> int:
        return self.minutes * 60 * self.events_per_s

    @property
    def end_ms(self) -> int:
        """A whole minute: the last one that can be decided once all is read."""
        return self.start_ms + self.minutes * 60_000

    def events(self, seed: int = 1) -> Iterator[bytes]:
        rng = np.random.default_rng(seed)
        for first in range(0, self.count, _BLOCK):
            number = np.arange(first, min(first + _BLOCK, self.count))
            ts = self.start_ms + number * 1000 // self.events_per_s
            endpoint = rng.integers(self.endpoints, size=len(number)) if self.endpoints else number
            service = rng.integers(self.services, size=len(number))
            variant = rng.integers(self.variants, size=len(number))
            yield from write(ts, service, endpoint, variant, rng, self.bad)

    def closing_event(self) -> bytes:
        """One in each partition ends the load: with it, and not before, the last minute is decided."""
        return _EVENT % (self.end_ms + LATENESS_MS, 0, 0, 200, 10.0, 0, b"stable")


def write(
    ts_ms: np.ndarray,
    service: np.ndarray,
    endpoint: np.ndarray,
    variant: np.ndarray,
    rng: np.random.Generator,
    bad: float | np.ndarray,
) -> Iterator[bytes]:
    """Events with these columns; ``bad``: the share of errors. One latency of 8,000 is above 300 ms."""
    status = np.where(rng.random(len(ts_ms)) < bad, 500, 200)
    latency = rng.lognormal(3.5, 0.6, len(ts_ms))
    columns = [column.tolist() for column in (ts_ms, service, endpoint, status, latency, variant // 2)]
    tracks = [(b"stable", b"canary")[odd] for odd in (variant % 2).tolist()]
    return map(_EVENT.__mod__, zip(*columns, tracks, strict=True))


def slo(name: str, service: str, sli: str = "{metric: availability}", endpoint: str | None = None) -> str:
    """An objective over 30 days with three rules and both budget actions, as a document of an SLO file."""
    text = _SLO.format(name=name, service=service, sli=sli)
    return text if endpoint is None else f'{text}  endpoints: ["{endpoint}"]\n'


def latency_sli(threshold_ms: int) -> str:
    return f"{{metric: latency, threshold: {threshold_ms}ms, measurementWindow: 5m}}"


def one_each(services: int) -> list[str]:
    """One availability objective for each service."""
    return [slo(f"s{number}-availability", f"s{number}") for number in range(services)]


def write_slos(directory: Path, documents: Iterable[str]) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "slos.yaml").write_text("".join(documents))
    return directory
