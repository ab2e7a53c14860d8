"""A judged change as a record of ``change-impacts``, and what is read back of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from stream.fleet.history import INCIDENT_WINDOW_S, Record
from stream.fleet.impact import Impact
from stream.model.deploy import ChangeEvent
from stream.model.names import resource_key, service_key
from stream.wire.rfc3339 import format_ms, parse_ms
from stream.wire.signal import Signal

SCHEMA = "burngate.impact/v1"
MAX_AFFECTED = 200
"""Listed; the blast radius counts all of them."""
MAX_SLOS = 100
"""Listed, those with the least budget first."""


def impact_signal(impact: Impact, now_ms: int) -> Signal:
    event = impact.event
    namespace, service = event.namespace, event.service
    key = resource_key(namespace, str(event.resource)) if service is None else service_key(namespace, service)
    value: dict[str, object] = {
        "schema": SCHEMA,
        "id": _id(event, now_ms),
        "change": event.change,
        "namespace": event.namespace,
        "service": event.service,
        "resource": event.resource,
        "kind": event.kind,
        "at": format_ms(event.at_ms),
        "version": event.version,
        "by": event.by,
        "links": list(event.links),
        "affected": _affected(impact),
        "blast_radius": {
            "services": len(impact.affected),
            "of_services": impact.of_services,
            "services_share": impact.services_share,
            "traffic_share": impact.traffic_share,
            "critical": list(impact.critical[:MAX_AFFECTED]),
            "in_graph": impact.has_graph,
        },
        "history": _history(impact.history),
        "slo_impact": [
            {
                "slo": slo.slo,
                "service": slo.service,
                "budget_remaining_pct": slo.remaining_pct,
                "expected_burn_pct": slo.expected_burn_pct,
                "incident_burn_pct": slo.incident_burn_pct,
                "at_risk": slo.at_risk,
            }
            for slo in impact.slos[:MAX_SLOS]
        ],
        "risk_score": impact.risk_score,
        "risk_parts": impact.parts,
        "reasons": impact.reasons,
        "recommendations": [
            {"priority": priority, "action": found.action.value, "reason": found.reason}
            for priority, found in enumerate(impact.recommendations, start=1)
        ],
        "evaluated_at": format_ms(now_ms),
    }
    return Signal("change-impacts", key, value)


def _id(event: ChangeEvent, now_ms: int) -> str:
    parts = repr(("impact", event.identity, event.at_ms, now_ms))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


def _affected(impact: Impact) -> list[dict[str, object]]:
    critical = set(impact.critical)
    return [
        {
            "service": one.service,
            "distance": one.distance,
            "route": one.route.value,
            "via": one.via,
            "critical": one.service in critical,
            "traffic_share": impact.traffic.get(one.service),
        }
        for one in impact.affected[:MAX_AFFECTED]
    ]


def _history(history: Record) -> dict[str, object]:
    low, high = history.interval or (None, None)
    return {
        "changes": history.changes,
        "incidents": len(history.incidents),
        "incident_rate": history.rate,
        "incident_rate_low": low,
        "incident_rate_high": high,
        "expected_rate": history.expected_rate,
        "detect_s": history.detect_s,
        "resolve_s": history.resolve_s,
        "unresolved": history.unresolved,
        "incident_window_s": INCIDENT_WINDOW_S,
        "since": None if history.since_ms is None else format_ms(history.since_ms),
    }


def change_of(record: Mapping[str, Any]) -> tuple[ChangeEvent, dict[str, float]]:
    """The change that a record judges, and the budgets that were left then."""
    event = ChangeEvent(
        change=record["change"],
        namespace=record["namespace"],
        service=record["service"],
        resource=record["resource"],
        kind=record["kind"],
        at_ms=parse_ms(record["at"]),
        version=record["version"],
        by=record["by"],
        links=tuple(record["links"]),
    )
    return event, {slo["slo"]: slo["budget_remaining_pct"] for slo in record["slo_impact"]}
