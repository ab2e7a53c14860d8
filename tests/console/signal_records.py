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
        "because": None,
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


def canary_rollback(at: str = AT) -> Record:
    return rollback(
        at,
        service="search",
        slo=None,
        budget_remaining_pct=None,
        threshold_pct=None,
        version="3.2.0",
        previous_version="3.1.0",
        cause="canary",
        analysis="search-canary",
        deployment="search-3.2.0",
        reason="latency-p99 847 against 241, ×3.5 [+33 %, ∞]: beyond the margin of +15 %",
    )


def metric(name: str, classification: str, **changes: Any) -> Record:
    return {
        "name": name,
        "classification": classification,
        "reason": f"{name} is {classification}",
        "canary": 847.0,
        "baseline": 241.0,
        "n": {"canary": 566, "baseline": 8000},
        "effective_n": {"canary": 566.0, "baseline": 8000.0},
        "ratio": 3.51,
        "interval": [1.33, None],
        "margin_ratio": 1.15,
        "smallest_seen_ratio": None,
        "e_value": 600.0,
        "p_value": None,
        "threshold": 133.3,
        "design_effect": 1.0,
        "worst_endpoint": None,
        "weight": 1.0,
        "critical": False,
        **changes,
    }


def errors(**changes: Any) -> Record:
    return metric("error-rate", "open", canary=0.0018, baseline=0.0011, interval=[None, None], **changes)


def verdict(at: str = AT, of: str = "fail", service: str = "search", **changes: Any) -> Record:
    version = {"search": "3.2.0", "catalogue": "1.9.0"}[service]
    return {
        "schema": "burngate.canary/v1",
        "analysis": f"{service}-canary",
        "namespace": "shop",
        "service": service,
        "deployment": f"{service}-{version}",
        "automatic": None,
        "stage": {"index": 0, "percent": 10.0},
        "canary": {"version": version},
        "baseline": {"kind": "stable", "version": "3.1.0"},
        "method": "sequential",
        "verdict": of,
        "final": True,
        "score": 35.9,
        "reason": "every metric is within its margin" if of == "pass" else "nothing is sure",
        "recommendation": {"fail": "rollback", "pass": "promote"}.get(of, "pause"),
        "metrics": [
            metric("latency-p50", "open", ratio=1.012, interval=[0.81, 1.28]),
            metric("latency-p99", "worse", worst_endpoint="/search"),
            errors(),
        ],
        "anomalies": [],
        "slos": [],
        "last_minute": {},
        "requests": {"canary": 566, "baseline": 8000},
        "warmup_requests": {"canary": 200, "baseline": 2400},
        "alpha": 0.05,
        "looks": 19,
        "started_at": "2026-11-23T10:20:00.000Z",
        "evaluated_at": at,
        **changes,
    }


def rollout(at: str = AT, state: str = "running", service: str = "search", **changes: Any) -> Record:
    version = {"search": "3.2.0", "catalogue": "1.9.0"}[service]
    stage = {"index": 0, "percent": 10.0, "of": 2, "started_at": "2026-11-23T10:20:00.000Z"}
    lengths = {"seconds": 240 if state == "running" else None, "minimum_s": 300, "maximum_s": 3600}
    return {
        "schema": "burngate.rollout/v1",
        "analysis": f"{service}-canary",
        "namespace": "shop",
        "service": service,
        "deployment": f"{service}-{version}",
        "automatic": None,
        "version": version,
        "previous_version": "3.1.0",
        "state": state,
        "stage": {**stage, **lengths},
        "progress_pct": 5.0,
        "stages": [],
        "verdict": None,
        "reason": "it was started",
        "recommendation": None,
        "faults": [],
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
