"""Section 5: the output records, field by field, as JSON would hold them."""

from __future__ import annotations

import base64
import hashlib
from fractions import Fraction
from typing import Any

from .clock import rfc3339, window_start
from .decisions import Alert, AsOf, Request, Service
from .events import MILLIONTHS, Event

TOPICS = (
    "slo-alerts",
    "slo-budgets",
    "deploy-freezes",
    "deploy-rollbacks",
    "latency-percentiles",
    "dead-letters",
)
Record = dict[str, Any]
PERCENTILE_WINDOWS_MS = (60_000, 300_000, 3_600_000)
QUANTILES = {
    "p50": Fraction(50, 100),
    "p90": Fraction(90, 100),
    "p95": Fraction(95, 100),
    "p99": Fraction(99, 100),
    "p999": Fraction(999, 1000),
}
MOST_CONTRIBUTORS = 5
MOST_PAYLOAD_BYTES = 512 * 1024


def seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def weighted(millionths: int) -> float:
    return float(Fraction(millionths, MILLIONTHS))


def when(ms: Fraction | None) -> str | None:
    return None if ms is None else rfc3339(ms.numerator // ms.denominator)


def alert(state: AsOf, life: Alert, transition: str) -> Record:
    """`slo-alerts`."""
    objective, rule = state.slo.objective, life.rule
    assert life.starts_at is not None
    short = None if rule.short_ms is None else state.over(rule.short_ms).burn(objective)
    return {
        "schema": "burngate.alert/v1",
        "id": f"{objective.position}/{objective.rules.index(rule)}/{life.starts_at}",
        "state": transition,
        "slo": objective.name,
        "namespace": objective.namespace,
        "service": objective.service,
        "severity": rule.severity,
        "rule": {
            "window_s": seconds(rule.long_ms),
            "short_window_s": seconds(rule.short_ms),
            "burn_rate_threshold": float(rule.threshold),
        },
        "burn_rate": {"long": number(state.over(rule.long_ms).burn(objective)), "short": number(short)},
        "budget_remaining_pct": number(state.remaining_pct),
        "starts_at": rfc3339(life.starts_at),
        "ends_at": rfc3339(state.tick) if transition == "resolved" else None,
        "evaluated_at": rfc3339(state.tick),
        "channels": list(rule.channels),
        "contributors": contributors(state.requests_over(rule.long_ms)),
        "exhausts_at": when(state.exhausts_at),
    }


def contributors(requests: list[Request]) -> list[Record]:
    """Weighted, share of the bad; largest bad first, then by endpoint, method, version, track; at most 5."""
    groups: dict[tuple[str, str, str, str], list[Request]] = {}
    for request in requests:
        event = request.event
        key = (event.endpoint, event.method, event.version or "", event.track)
        groups.setdefault(key, []).append(request)
    all_bad = sum(request.weight for request in requests if request.bad)
    bad = {key: sum(request.weight for request in group if request.bad) for key, group in groups.items()}
    blamed = sorted((key for key in groups if bad[key] > 0), key=lambda key: (-bad[key], key))
    return [
        {
            "endpoint": key[0],
            "method": key[1],
            "version": key[2] or None,
            "track": key[3],
            "bad": weighted(bad[key]),
            "total": weighted(sum(request.weight for request in groups[key])),
            "share": float(Fraction(bad[key], all_bad)),
        }
        for key in blamed[:MOST_CONTRIBUTORS]
    ]


def budget(state: AsOf) -> Record:
    """`slo-budgets`."""
    objective, counts = state.slo.objective, state.budgeted
    good = counts.N - counts.B
    return {
        "schema": "burngate.budget/v1",
        "slo": objective.name,
        "namespace": objective.namespace,
        "service": objective.service,
        "target_pct": float(objective.target),
        "window_s": seconds(state.period[1]),
        "good": weighted(good),
        "bad": weighted(counts.B),
        "total": weighted(counts.N),
        "remaining_pct": number(state.remaining_pct),
        "consumed_pct": number(None if state.remaining_pct is None else 100 - state.remaining_pct),
        "sli_pct": float(Fraction(100 * good, counts.N)) if counts.N else None,
        "burn_rate": {
            rule.written: number(state.over(rule.long_ms).burn(objective)) for rule in objective.rules
        },
        "exhausts_at": when(state.exhausts_at),
        "evaluated_at": rfc3339(state.tick),
    }


def freeze(service: Service, tick: int, offenders: list[AsOf]) -> Record:
    """`deploy-freezes`."""
    return {
        "schema": "burngate.freeze/v1",
        "namespace": service.namespace,
        "service": service.name,
        "state": "frozen" if offenders else "open",
        "since": rfc3339(tick),
        "evaluated_at": rfc3339(tick),
        "reasons": [
            {
                "slo": state.slo.objective.name,
                "budget_remaining_pct": number(state.remaining_pct),
                "threshold_pct": number(state.slo.objective.freeze_below),
            }
            for state in sorted(offenders, key=lambda state: state.slo.objective.name)
        ],
        "because": None,
    }


def rollback(service: Service, state: AsOf) -> Record:
    """`deploy-rollbacks`."""
    objective = state.slo.objective
    version, previous_version = service.versions.serving(state.tick)
    return {
        "schema": "burngate.rollback/v1",
        "id": f"{objective.position}/{state.tick}",
        "namespace": objective.namespace,
        "service": objective.service,
        "slo": objective.name,
        "budget_remaining_pct": number(state.remaining_pct),
        "threshold_pct": number(objective.rollback_below),
        "version": version,
        "previous_version": previous_version,
        "evaluated_at": rfc3339(state.tick),
    }


def percentiles(service: Service, tick: int) -> list[Record]:
    """`latency-percentiles` of one service: the whole and each named endpoint, then by window."""
    timed = [event for event in service.events if event.ts < tick and event.latency_ms is not None]
    endpoints: list[str | None] = [None, *sorted({event.endpoint for event in timed if event.endpoint})]
    records = []
    for endpoint in endpoints:
        for window_ms in PERCENTILE_WINDOWS_MS:
            start = window_start(tick, window_ms)
            inside = [e for e in timed if e.ts >= start and endpoint in (None, e.endpoint)]
            if inside:
                records.append(_percentiles(service, tick, endpoint, window_ms, inside))
    return records


def _percentiles(
    service: Service, tick: int, endpoint: str | None, window_ms: int, events: list[Event]
) -> Record:
    """Exact weighted ranks. `_sorted` is not a field: the data, for judging approximations."""
    data = sorted((event.latency_ms or Fraction(0), event.weight) for event in events)
    weight = sum(w for _, w in data)
    return {
        "schema": "burngate.percentiles/v1",
        "namespace": service.namespace,
        "service": service.name,
        "endpoint": endpoint,
        "window_s": seconds(window_ms),
        "count": len(data),
        **{name: float(weighted_quantile(data, q)) for name, q in QUANTILES.items()},
        "min": float(data[0][0]),
        "max": float(data[-1][0]),
        "mean": float(sum(value * w for value, w in data) / weight),
        "evaluated_at": rfc3339(tick),
        "_sorted": data,
    }


def weighted_quantile(data: list[tuple[Fraction, int]], q: Fraction) -> Fraction:
    """The smallest value at or below which q of the weight lies."""
    wanted = q * sum(weight for _, weight in data)
    reached = 0
    for value, weight in data:
        reached += weight
        if reached >= wanted:
            return value
    raise AssertionError(q)


def dead_letter(payload: bytes, line: int, watermark: int | None) -> Record:
    """`dead-letters` without `error` and `detail`, which are the program's own."""
    return {
        "schema": "burngate.deadletter/v1",
        "source": {"line": line},
        "payload_b64": base64.b64encode(payload[:MOST_PAYLOAD_BYTES]).decode(),
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "observed_at": None if watermark is None else rfc3339(watermark),
    }
