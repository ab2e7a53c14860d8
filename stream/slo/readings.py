"""What a shard says right now, for people: the numbers behind ``/metrics``."""

from __future__ import annotations

import numpy as np

from stream.model.objective import PANE_S
from stream.model.stats import LatencyReading, Readings, SloReading
from stream.slo.percentiles import QUANTILES
from stream.slo.shard import Shard
from stream.wire.signal import Signal


def readings(shard: Shard, latencies: tuple[LatencyReading, ...]) -> Readings:
    """As of the last decided tick; ``latencies`` are those of the last whole minute."""
    decided_s = shard.ledger.decided_s
    if decided_s is None:
        return Readings()
    evaluator = shard.evaluator
    counted = np.flatnonzero(shard.ledger.newest >= 0)
    firing: dict[int, set[str]] = {}
    for row, rule in (evaluator.rules[place] for place in evaluator.alerts):
        firing.setdefault(row, set()).add(rule.severity)
    slos = tuple(
        SloReading(
            namespace=now.plan.objective.namespace,
            slo=now.plan.objective.name,
            service=now.plan.objective.service,
            target_ratio=float(now.plan.objective.target_pct / 100),  # divided as decimals: 0.999 stays 0.999
            burn=now.burn_by_window(),
            budget_remaining_ratio=now.budget.remaining_pct() / 100,
            firing={rule.severity: rule.severity in firing.get(row, ()) for rule in now.plan.objective.rules},
            last_event_s=int(shard.ledger.newest[row]) * PANE_S,
        )
        for row, now in zip(counted.tolist(), evaluator.reader.read(counted, decided_s), strict=True)
    )
    plans = (evaluator.plans[row] for row in counted.tolist())
    services = {(p.objective.namespace, p.objective.service) for p in plans if p.freeze_below is not None}
    frozen = {service: service in evaluator.frozen for service in sorted(services)}
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
