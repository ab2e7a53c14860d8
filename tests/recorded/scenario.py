"""The story that the recorded state tells: rules, events and releases, without any randomness.

The recording was made of it by an older version, and it can not be made again by this one: whatever changes
here makes the recording worthless. Nothing of the program is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

T0_S = 1_790_000_400
"""11:20:00 in UTC, on a 10-minute boundary."""
DENSE_S = T0_S + 9_000
"""Until then there is an event every four seconds, then five a second."""
CUT_S = DENSE_S + 1_500
"""The checkpoint that is recorded is the last one before this moment."""
END_S = CUT_S + 600
SOURCES, PARTITIONS = 3, 2
LATENESS_MS = 5_000
KEEPER_SERIES, READER_SERIES = 40, 60
"""As many series are kept apart by an owner of a partition, and by a reader."""
ODD = "team/a", "pay%ment|eu"
"""Namespace and service whose names have the separators of joined keys in them."""

_SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: NAME, namespace: shop}
spec:
  service: SERVICE
  sli: SLI
  target: 99
  timeWindow: WINDOW
  MORE
  alerting:
    - {window: 5m, burnRateThreshold: 5, severity: critical, notificationChannels: [pager]}
    - {window: 1m, shortWindow: off, burnRateThreshold: 10, severity: warning, keepFiringFor: 30s}
    - {window: 1h, burnRateThreshold: 2, minBadEvents: 1}
  errorBudgetPolicy: {freezeDeploymentsThreshold: 60, autoRollbackThreshold: 40}
"""
_ODD = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up/eu, namespace: team/a}
spec:
  service: pay%ment|eu
  sli: {metric: availability}
  target: 99.9
  timeWindow: {type: rolling, duration: 6h}
  alerting:
    - {window: 30m, burnRateThreshold: 2, severity: critical}
    - {window: 6h, burnRateThreshold: 3}
  errorBudgetPolicy: {freezeDeploymentsThreshold: 50}
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: bulk}
spec:
  service: bulk
  sli: {metric: availability}
  target: 95
  timeWindow: {type: rolling, duration: 30d}
  budgetBasis: observed
  alerting:
    - {window: 1h, burnRateThreshold: 2}
"""
_ANALYSIS = """
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: SERVICE-canary, namespace: shop}
spec:
  service: SERVICE
  method: METHOD
  baseline: BASELINE
  metrics:
    - {name: latency-p50}
    - {name: latency-p99, margin: {percent: 0}}
    - {name: error-rate, critical: true}
    - {name: slo/SERVICE-fast}
    - {name: throughput}
  duration: {minimum: 10m, maximum: 40m}
  warmup: 20s
  minimumEvents: 20
  STAGES
"""
_COMPARISON = """
apiVersion: sre.example.com/v1
kind: ShadowComparison
metadata: {name: search-shadow, namespace: shop}
spec:
  service: search
  compare: {mismatch: ok}
  maximumMismatch: 5
  duration: {minimum: 20m, maximum: 1d}
  minimumEvents: 20
"""
_KINDS = (
    ("up", "{metric: availability}", "{type: rolling, duration: 30m}", ""),
    (
        "fast",
        "{metric: latency, threshold: 100ms, measurementWindow: 5m}",
        "{type: calendar, duration: 1d, timeZone: Europe/Berlin}",
        "",
    ),
    (
        "slices",
        "{metric: latency, threshold: 100ms, percentile: 90, measurementWindow: 1m}",
        "{type: rolling, duration: 3d}",
        "",
    ),
)
_ENDS = ("ends", "{metric: availability}", "{type: rolling, duration: 30d}", "endpoints: ['/0*', '/1']")
_ANALYSES = {
    "payment": ("sequential", "[stable]", "stages: [20, 50, 100]"),
    "search": ("fixed", "[baseline, stable]", ""),
    "cart": ("kayenta", "[baseline, before]", ""),
}


def rules() -> str:
    documents = []
    for service in _ANALYSES:
        for kind, sli, window, more in (*_KINDS, *([_ENDS] if service == "cart" else [])):
            text = _SLO.replace("NAME", f"{service}-{kind}").replace("SERVICE", service)
            documents.append(text.replace("SLI", sli).replace("WINDOW", window).replace("MORE", more))
    for service, (method, baseline, stages) in _ANALYSES.items():
        text = _ANALYSIS.replace("SERVICE", service).replace("METHOD", method)
        documents.append(text.replace("BASELINE", baseline).replace("STAGES", stages))
    return "---\n".join([*documents, _ODD, _COMPARISON])


class Arrival(NamedTuple):
    """A record of the requests topic; ``stamp_ms`` is when its broker took it."""

    source: int
    offset: int
    stamp_ms: int
    value: bytes


def arrivals() -> Iterator[Arrival]:
    """In the order in which they came, those of each source with rising offsets, which have gaps."""
    offsets, i, ts_ms = [0] * SOURCES, 0, T0_S * 1000
    while ts_ms < END_S * 1000:
        now_s = ts_ms // 1000
        source = _source(i, now_s)
        value = b"{poison" if i % 911 == 910 else json.dumps(_event(i, ts_ms)).encode()
        offsets[source] += 1 if i % 5 else 3
        yield Arrival(source, offsets[source], ts_ms + 150, value)
        i += 1
        ts_ms += 4_000 if now_s < DENSE_S else 200


def _source(i: int, now_s: int) -> int:
    """The last source has nothing from a minute before the cut on, until five minutes after it."""
    busy = SOURCES if not CUT_S - 60 <= now_s < CUT_S + 300 else SOURCES - 1
    return _hash(i, 1) % busy


def _event(i: int, ts_ms: int) -> dict[str, Any]:
    now_s = ts_ms // 1000
    late_ms = _hash(i, 2) % 4_000 if _hash(i, 3) % 200 else 900_000
    service = ("payment", "payment", "search", "cart", "search", "odd", "bulk", "nobody")[_hash(i, 4) % 8]
    is_bad = _hash(i, 5) % 1000 < _bad_per_mille(service, now_s)
    event: dict[str, Any] = {
        "ts": ts_ms - late_ms,
        "namespace": "shop",
        "service": service,
        "endpoint": f"/{_hash(i, 6) % (100 if service == 'search' else 12):02}"[: 2 + _hash(i, 7) % 2],
        "method": ("GET", "POST", "")[_hash(i, 8) % 3],
        "status": 500 if is_bad else 200,
        "latency_ms": _hash(i, 9) % 90 + (60 if is_bad else 1),
        "version": _version(service, i, now_s),
    }
    if service == "odd":
        event |= {"namespace": ODD[0], "service": ODD[1]}
    elif service == "bulk":
        event |= {"sample_rate": 0.000001 if i % 2 else 0.3}
        del event["namespace"]
    elif _hash(i, 10) % 4 == 0:
        event["sample_rate"] = (0.1, 0.3, 0.01)[_hash(i, 11) % 3]
    if service == "search" and _hash(i, 12) % 6 == 0:
        event |= {"track": "shadow", "ok": _hash(i, 13) % 50 > 0}
    elif now_s >= DENSE_S + 200 and service in _ANALYSES and _hash(i, 14) % 3 == 0:
        event |= {"track": "canary", "version": "2.0"}
    elif service == "search" and _hash(i, 15) % 3 == 0:
        event["track"] = "baseline"
    return event


def _bad_per_mille(service: str, now_s: int) -> int:
    """A lasting burst of errors begins before the cut, of two services, and ends after it."""
    if CUT_S - 400 <= now_s < CUT_S + 200 and service in ("payment", "odd"):
        return 500
    return {"bulk": 20, "cart": 0}.get(service, 2)


def _version(service: str, i: int, now_s: int) -> str:
    """One after the other; the present one of some services is the same as long ago."""
    if service == "bulk":
        return ""
    number = min(4, (now_s - T0_S) // 2_000)
    return f"1.{number}" if service != "odd" else f"1.{(0, 1, 2, 1, 1)[number]}"


def _hash(i: int, salt: int) -> int:
    """A number that looks random and never changes."""
    x = (i * 2_654_435_761 + salt * 2_246_822_519) & 0xFFFFFFFF
    x = (x ^ x >> 15) * 2_246_822_519 & 0xFFFFFFFF
    x = (x ^ x >> 13) * 3_266_489_917 & 0xFFFFFFFF
    return x ^ x >> 16


class Told(NamedTuple):
    """A record of the deploy topic, and when it came."""

    at_s: int
    value: dict[str, Any]


def deploys() -> list[Told]:
    """Releases of three services; the last ones wait for their time at the cut."""

    def one(came_s: int, service: str, state: str, at_s: int, **fields: Any) -> Told:
        named = {"deployment": f"{service}-7", "namespace": "shop", "service": service, "state": state}
        return Told(came_s, {**named, "at": at_s * 1000, **fields})

    start_s = DENSE_S + 200
    return [
        one(start_s - 3, "payment", "started", start_s, stage=20, version="2.0", previous_version="1.4"),
        one(start_s - 3, "cart", "started", start_s, version="2.0", previous_version="1.4"),
        one(start_s + 61, "payment", "stage", start_s + 60, stage=50),
        one(CUT_S - 20, "payment", "stage", CUT_S + 30, stage=100),
        one(CUT_S + 240, "payment", "rolled_back", CUT_S + 250, version="2.0"),
    ]


def at(time_s: float) -> str:
    """As records write times."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
