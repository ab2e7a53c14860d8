"""Output records as the contract (section 5) has them, made by hand."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
AT = "2026-11-23T10:24:00.000Z"


def budget(
    at: str = AT, slo: str = "payment-availability", service: str = "payment", **changes: Any
) -> Record:
    return {
        "schema": "burngate.budget/v1",
        "slo": slo,
        "namespace": "shop",
        "service": service,
        "target_pct": 99.9,
        "window_s": 21600,
        "good": 71_926,
        "bad": 74,
        "total": 72_000,
        "remaining_pct": 93.1,
        "consumed_pct": 6.9,
        "sli_pct": 99.897,
        "burn_rate": {"5m": 15.2, "1h": 1.0},
        "exhausts_at": None,
        "evaluated_at": at,
        **changes,
    }


def alert(at: str = AT, state: str = "firing", window_s: int = 300, **changes: Any) -> Record:
    return {
        "schema": "burngate.alert/v1",
        "id": f"alert-{window_s}",
        "state": state,
        "slo": "payment-availability",
        "namespace": "shop",
        "service": "payment",
        "severity": "critical",
        "rule": {"window_s": window_s, "short_window_s": 30, "burn_rate_threshold": 14.4},
        "burn_rate": {"long": 15.2, "short": 38.1},
        "budget_remaining_pct": 93.1,
        "starts_at": AT,
        "ends_at": None if state == "firing" else at,
        "evaluated_at": at,
        "channels": ["pagerduty-payment"],
        "contributors": [
            contributor("POST", "/v1/charges", "2.5.0", "canary", 72, 0.973),
            contributor("GET", "/v1/methods", None, "stable", 2, 0.027),
        ],
        "exhausts_at": "2026-11-23T10:39:40.000Z",
        **changes,
    }


def contributor(
    method: str, endpoint: str, version: str | None, track: str, bad: int, share: float
) -> Record:
    return {
        "endpoint": endpoint,
        "method": method,
        "version": version,
        "track": track,
        "bad": bad,
        "total": 900,
        "share": share,
    }


def freeze(at: str = AT, state: str = "frozen", service: str = "payment") -> Record:
    reason = {"slo": "payment-availability", "budget_remaining_pct": 59.4, "threshold_pct": 60.0}
    return {
        "schema": "burngate.freeze/v1",
        "namespace": "shop",
        "service": service,
        "state": state,
        "since": at,
        "evaluated_at": at,
        "reasons": [reason] if state == "frozen" else [],
    }


def rollback(at: str = AT, **changes: Any) -> Record:
    return {
        "schema": "burngate.rollback/v1",
        "id": "rollback-1",
        "namespace": "shop",
        "service": "payment",
        "slo": "payment-availability",
        "budget_remaining_pct": 29.3,
        "threshold_pct": 30.0,
        "version": "2.5.0",
        "previous_version": "2.4.0",
        "evaluated_at": at,
        **changes,
    }


def percentiles(at: str = AT, service: str = "payment", **changes: Any) -> Record:
    return {
        "schema": "burngate.percentiles/v1",
        "namespace": "shop",
        "service": service,
        "endpoint": None,
        "window_s": 60,
        "count": 3000,
        "p50": 31.4,
        "p90": 210.0,
        "p95": 640.2,
        "p99": 1320.0,
        "p999": 2800.0,
        "min": 2.0,
        "max": 3100.0,
        "mean": 90.0,
        "evaluated_at": at,
        **changes,
    }


def dead_letter() -> Record:
    return {
        "schema": "burngate.deadletter/v1",
        "error": "not_json",
        "detail": "not JSON",
        "source": {"topic": "request-events", "partition": 0, "offset": 7},
        "payload_b64": "",
        "payload_bytes": 0,
        "payload_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "observed_at": None,
    }
