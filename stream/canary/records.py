"""Output records of canary analyses and rollouts: functions of counts and times alone (docs/canary.md)."""

from __future__ import annotations

import hashlib

from stream.canary.course import CLOSED
from stream.canary.methods import slo_readings
from stream.canary.rollout import Rollout
from stream.canary.stage import Stage
from stream.canary.trial import BASELINE, CANARY, Trial
from stream.canary.verdict import Judgement, MetricResult, Recommendation
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal


def at(seconds: int) -> str:
    return format_ms(seconds * 1000)


def verdict(rollout: Rollout, trial: Trial, said: Judgement, tick_s: int) -> Signal:
    """How it stands, or the last word, on the stage that is judged."""
    analysis, stage = rollout.analysis, rollout.stage
    assert stage is not None
    value: dict[str, object] = {
        "schema": "burngate.canary/v1",
        "analysis": analysis.name,
        "namespace": analysis.namespace,
        "service": analysis.service,
        "deployment": rollout.deployment,
        "automatic": rollout.automatic,
        "stage": _stage(stage),
        "canary": {"version": rollout.version},
        "baseline": {
            "kind": None if trial.baseline is None else trial.baseline.value,
            "version": rollout.previous_version,
        },
        "method": analysis.method.value,
        "verdict": said.verdict.value,
        "final": said.final,
        "score": said.score,
        "reason": said.reason,
        "recommendation": said.recommendation.value,
        "metrics": [_metric(one) for one in said.metrics],
        "anomalies": [
            {"name": one.name, "severity": one.severity.value, "reason": one.reason} for one in said.anomalies
        ],
        "slos": [
            {
                "slo": slo.name,
                "target_pct": slo.target_pct,
                "canary_good_pct": good[CANARY],
                "baseline_good_pct": good[BASELINE],
            }
            for slo, good in slo_readings(trial)
        ],
        "last_minute": _last_minute(trial),
        "requests": dict(zip(("canary", "baseline"), trial.requests, strict=True)),
        "warmup_requests": dict(zip(("canary", "baseline"), trial.warmup, strict=True)),
        "alpha": float(analysis.alpha),
        "looks": trial.looks,
        "started_at": at(stage.since_s),
        "evaluated_at": at(tick_s),
    }
    return Signal("canary-verdicts", analysis.service_key, value)


def _stage(stage: Stage) -> dict[str, object]:
    return {"index": stage.place, "percent": stage.percent}


def _metric(one: MetricResult) -> dict[str, object]:
    return {
        "name": one.name,
        "classification": one.classification,
        "reason": one.reason,
        "canary": one.canary,
        "baseline": one.baseline,
        "n": {"canary": one.n, "baseline": one.n_baseline},
        "effective_n": {"canary": one.effective_n, "baseline": one.effective_n_baseline},
        "ratio": one.ratio,
        "interval": None if one.interval is None else [one.interval.low, one.interval.high],
        "margin_ratio": one.margin_ratio,
        "smallest_seen_ratio": one.smallest_seen,
        "e_value": one.e,
        "p_value": one.p,
        "threshold": one.threshold,
        "design_effect": one.design_effect,
        "worst_endpoint": one.worst_endpoint,
        "weight": one.weight,
        "critical": one.critical,
    }


def _last_minute(trial: Trial) -> dict[str, object]:
    """The rolling window: each metric in the last whole minute."""
    if not trial.mark.points:
        return {}
    names = (metric.name for metric in trial.analysis.metrics)
    return {
        name: {"canary": canary, "baseline": baseline}
        for name, (canary, baseline) in zip(names, trial.mark.points[-1], strict=True)
    }


def rollback(rollout: Rollout, said: Judgement, previous_version: str | None, tick_s: int) -> Signal:
    """A canary that failed, for those who roll back; ``previous_version``: to what."""
    analysis = rollout.analysis
    text = "\0".join(map(str, ("canary", analysis.identity, rollout.deployment, tick_s)))
    value: dict[str, object] = {
        "schema": "burngate.rollback/v1",
        "id": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        "namespace": analysis.namespace,
        "service": analysis.service,
        "slo": None,
        "budget_remaining_pct": None,
        "threshold_pct": None,
        "version": rollout.version,
        "previous_version": previous_version,
        "evaluated_at": at(tick_s),
        "cause": "canary",
        "analysis": analysis.name,
        "deployment": rollout.deployment,
        "reason": said.reason,
    }
    return Signal("deploy-rollbacks", analysis.service_key, value)


def status(rollout: Rollout, said: Judgement | None, advice: Recommendation | None, tick_s: int) -> Signal:
    """How far a rollout is, and what to do with it now."""
    analysis, release = rollout.analysis, rollout.release
    why = None if release is None else release.reason
    value: dict[str, object] = {
        "schema": "burngate.rollout/v1",
        "analysis": analysis.name,
        "namespace": analysis.namespace,
        "service": analysis.service,
        "deployment": rollout.deployment,
        "automatic": rollout.automatic,
        "version": rollout.version,
        "previous_version": rollout.previous_version,
        "state": rollout.phase.value,
        "stage": None if rollout.stage is None else _place(rollout, rollout.stage, tick_s),
        "progress_pct": rollout.progress_pct(tick_s),
        "stages": [
            {
                "percent": done.percent,
                "started_at": at(done.started_s),
                "seconds": done.seconds,
                "verdict": done.verdict,
            }
            for done in rollout.history
        ],
        "verdict": None if said is None else said.verdict.value,
        "reason": why if said is None or rollout.phase in CLOSED else said.reason,
        "recommendation": None if advice is None else advice.value,
        "faults": list(rollout.faults),
        "evaluated_at": at(tick_s),
    }
    return Signal("rollout-status", analysis.service_key, value)


def _place(rollout: Rollout, stage: Stage, tick_s: int) -> dict[str, object]:
    analysis = rollout.analysis
    return {
        **_stage(stage),
        "of": len(analysis.stages_pct),
        "started_at": at(stage.since_s),
        "seconds": None if rollout.running is None else tick_s - stage.since_s,
        "minimum_s": analysis.shortest_s,
        "maximum_s": analysis.longest_s,
    }
