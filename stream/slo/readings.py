"""What a shard says right now, for people: the numbers behind ``/metrics``."""

from __future__ import annotations

from stream.model.stats import LatencyReading, Readings, SloReading
from stream.slo.percentiles import QUANTILES
from stream.slo.reading import budget, burn_by_window
from stream.slo.shard import Shard
from stream.wire.signal import Signal


def readings(shard: Shard, latencies: tuple[LatencyReading, ...]) -> Readings:
    """As of the last decided tick; ``latencies`` are those of the last whole minute."""
    decided_s = shard.ledger.decided_s
    if decided_s is None:
        return Readings()
    evaluator = shard.evaluator
    firing: dict[int, dict[str, bool]] = {}
    for place, (row, rule) in enumerate(evaluator.rules):
        by_severity = firing.setdefault(row, {})
        by_severity[rule.severity] = by_severity.get(rule.severity, False) or place in evaluator.alerts
    slos = tuple(
        SloReading(
            namespace=plan.objective.namespace,
            slo=plan.objective.name,
            service=plan.objective.service,
            target_ratio=float(plan.objective.target_pct / 100),  # divided as decimals: 0.999 stays 0.999
            burn=burn_by_window(shard.ledger, row, plan),
            budget_remaining_ratio=budget(shard.ledger, row, plan, decided_s).remaining_pct() / 100,
            firing=firing.get(row, {}),
        )
        for row, plan in enumerate(evaluator.plans)
        if shard.ledger.newest[row] >= 0
    )
    frozen = {
        (plan.objective.namespace, plan.objective.service): (
            (plan.objective.namespace, plan.objective.service) in evaluator.frozen
        )
        for row, plan in enumerate(evaluator.plans)
        if plan.freeze_below is not None and shard.ledger.newest[row] >= 0
    }
    return Readings(slos, frozen, latencies)


def latency_reading(signal: Signal) -> LatencyReading:
    """A published ``latency-percentiles`` record."""
    value: dict[str, object] = signal.value
    return LatencyReading(
        namespace=str(value["namespace"]),
        service=str(value["service"]),
        endpoint=None if value["endpoint"] is None else str(value["endpoint"]),
        window_s=int(str(value["window_s"])),
        count=int(str(value["count"])),
        quantiles_ms=tuple(float(str(value[name])) for name in QUANTILES),
    )
