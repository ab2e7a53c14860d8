"""Output records of the SLO evaluators (contract, section 5): functions of counts and times alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from stream.model.names import service_key
from stream.model.objective import BurnRule, Rolling
from stream.slo.alerts import Change
from stream.slo.contributors import contributors
from stream.slo.ledger import Ledger
from stream.slo.reading import Reading, burn, short_window
from stream.window.limbs import MILLION
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal

RULES_CHANGED = "rules changed"


@lru_cache(maxsize=16)
def at(tick_s: int) -> str:
    return format_ms(tick_s * 1000)


def _id(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def alert(
    ledger: Ledger, row: int, now: Reading, rule: BurnRule, change: Change, starts_at_s: int, tick_s: int
) -> Signal:
    plan, short = now.plan, short_window(rule)
    o = plan.objective
    value: dict[str, object] = {
        "schema": "burngate.alert/v1",
        "id": _id(o.identity, rule.window_s, rule.short_window_s, rule.threshold.normalize(), starts_at_s),
        "state": change.value,
        "slo": o.name,
        "namespace": o.namespace,
        "service": o.service,
        "severity": rule.severity,
        "rule": {
            "window_s": rule.window_s,
            "short_window_s": rule.short_window_s,
            "burn_rate_threshold": float(rule.threshold),
        },
        "burn_rate": {
            "long": burn(ledger, row, plan, Rolling(rule.window_s)),
            "short": burn(ledger, row, plan, short) if short else None,
        },
        "budget_remaining_pct": now.budget.remaining_pct(),
        "starts_at": at(starts_at_s),
        "ends_at": at(tick_s) if change is Change.RESOLVED else None,
        "evaluated_at": at(tick_s),
        "channels": list(rule.channels),
        "contributors": contributors(ledger, row, tick_s, rule.window_s),
        "exhausts_at": now.exhausts_at(tick_s),
    }
    return Signal("slo-alerts", o.service_key, value)


def alert_without_rule(announced: dict[str, object], tick_s: int) -> Signal:
    """The end of an alert whose rule is no longer in the SLO files: there is nothing left to burn."""
    value = announced | {
        "state": Change.RESOLVED.value,
        "burn_rate": {"long": None, "short": None},
        "ends_at": at(tick_s),
        "evaluated_at": at(tick_s),
        "contributors": [],
        "exhausts_at": None,
    }
    return Signal("slo-alerts", service_key(str(value["namespace"]), str(value["service"])), value)


def freeze_without_slo(service: tuple[str, str], tick_s: int) -> Signal:
    """The end of a freeze of a service that no SLO looks at any more."""
    value: dict[str, object] = {
        "schema": "burngate.freeze/v1",
        "namespace": service[0],
        "service": service[1],
        "state": "open",
        "since": at(tick_s),
        "evaluated_at": at(tick_s),
        "reasons": [],
        "because": RULES_CHANGED,
    }
    return Signal("deploy-freezes", service_key(*service), value)


def slo_budget(now: Reading, tick_s: int) -> Signal:
    o, budget = now.plan.objective, now.budget
    bad, count = budget.bad, budget.total
    remaining_pct, consumed_pct = budget.percentages()
    value: dict[str, object] = {
        "schema": "burngate.budget/v1",
        "slo": o.name,
        "namespace": o.namespace,
        "service": o.service,
        "target_pct": float(o.target_pct),
        "window_s": now.window_s,
        "good": (count - bad) / MILLION,
        "bad": bad / MILLION,
        "total": count / MILLION,
        "remaining_pct": remaining_pct,
        "consumed_pct": consumed_pct,
        "sli_pct": 100 * (count - bad) / count if count else None,
        "burn_rate": now.burn_by_window(),
        "exhausts_at": now.exhausts_at(tick_s),
        "evaluated_at": at(tick_s),
    }
    return Signal("slo-budgets", o.identity, value)


def freeze(
    service: tuple[str, str], under: Iterable[Reading], frozen: bool, tick_s: int, *, rules_changed: bool
) -> Signal:
    """A service's transition; ``under`` are its SLOs that are under their threshold."""
    reasons = []
    for now in sorted(under, key=lambda found: found.plan.objective.name):
        o = now.plan.objective
        assert o.freeze_below_pct is not None
        reasons.append(
            {
                "slo": o.name,
                "budget_remaining_pct": now.budget.remaining_pct(),
                "threshold_pct": float(o.freeze_below_pct),
            }
        )
    value: dict[str, object] = {
        "schema": "burngate.freeze/v1",
        "namespace": service[0],
        "service": service[1],
        "state": "frozen" if frozen else "open",
        "since": at(tick_s),
        "evaluated_at": at(tick_s),
        "reasons": reasons,
        "because": RULES_CHANGED if rules_changed else None,
    }
    return Signal("deploy-freezes", service_key(*service), value)


def rollback(ledger: Ledger, now: Reading, tick_s: int) -> Signal:
    o = now.plan.objective
    assert o.rollback_below_pct is not None
    version, previous = ledger.versions.serving((o.namespace, o.service))
    value: dict[str, object] = {
        "schema": "burngate.rollback/v1",
        "id": _id("rollback", o.identity, tick_s),
        "namespace": o.namespace,
        "service": o.service,
        "slo": o.name,
        "budget_remaining_pct": now.budget.remaining_pct(),
        "threshold_pct": float(o.rollback_below_pct),
        "version": version,
        "previous_version": previous,
        "evaluated_at": at(tick_s),
    }
    return Signal("deploy-rollbacks", o.service_key, value)
