"""The methods that an analysis may name, on a trial: the sequential one, the fixed one, Kayenta's.

The last two are made for one look: they say how it stands at every minute, and decide when the longest
duration is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream.canary import fixed, sequential
from stream.canary.absorb import effective, efficiency
from stream.canary.counts import CELL_BAD_WEIGHT, CELL_WEIGHT
from stream.canary.kayenta.classify import Class, Rules, classify
from stream.canary.kayenta.score import Outcome, Scored, score, verdict
from stream.canary.sequential import Measured, Progress
from stream.canary.trial import BASELINE, CANARY, ServiceSlo, Trial
from stream.canary.verdict import Anomaly, Judgement, MetricResult, Recommendation, Severity, Verdict
from stream.model.analysis import ERROR_RATE, Method
from stream.sketch.histogram import HistogramSet
from stream.sketch.whole import floats, summed

TAIL = 0.99


def judge(trial: Trial, progress: Progress, measured: Sequence[Measured] = ()) -> Judgement:
    """By the method of the trial's analysis; ``measured`` is for the sequential one."""
    if trial.baseline is None and trial.warmup[CANARY]:
        return _without_baseline(trial, progress)
    if trial.analysis.method is Method.SEQUENTIAL:
        return _sequential(trial, progress, measured)
    return (_fixed if trial.analysis.method is Method.FIXED else _kayenta)(trial, progress)


def _without_baseline(trial: Trial, progress: Progress) -> Judgement:
    """The canary has requests; they wait for somebody to be compared with."""
    over = progress.elapsed_s >= progress.longest_s
    names = ", ".join(kind.value for kind in trial.analysis.baselines)
    reason = f"there is nothing to compare the canary with: no requests of {names}"
    return Judgement(Verdict.NODATA, sequential.advice(Verdict.NODATA, over), reason, final=over)


def _sequential(trial: Trial, progress: Progress, measured: Sequence[Measured]) -> Judgement:
    said = sequential.judge(measured, progress)
    return replace(said, anomalies=tuple(_missed(trial)))


def _fixed(trial: Trial, progress: Progress) -> Judgement:
    canary, baseline = _arms(trial)
    slos = tuple(fixed.SloReading(slo.name, good, slo.target_pct) for slo, (good, _) in slo_readings(trial))
    analysis = trial.analysis
    said = fixed.judge(
        canary,
        baseline,
        slos,
        asked=trial.metrics,
        least_requests=1 if progress.enough else progress.least_events,
        pass_score=float(analysis.pass_score),
        marginal_score=float(analysis.marginal_score),
    )
    return _at_the_end(said, progress)


def _arms(trial: Trial) -> tuple[fixed.Arm, fixed.Arm]:
    """Of all endpoints together, on the buckets that either arm has."""
    merged = [trial.arm(arm).remap(np.zeros(len(trial.endpoints), np.int64)) for arm in (CANARY, BASELINE)]
    buckets = np.union1d(merged[CANARY].buckets, merged[BASELINE].buckets)
    errors = next((i for i, m in enumerate(trial.measures.rates) if m.name == ERROR_RATE), None)
    found = []
    for arm, histogram in enumerate(merged):
        column = np.zeros(len(buckets))
        # Sampled requests count by weight, and all together as their effective number (Kish).
        scale = histogram.effective_sizes() / np.maximum(floats(histogram.totals()), 1)
        column[np.searchsorted(buckets, histogram.buckets)] = floats(histogram.weights) * np.repeat(
            scale, histogram.sizes
        )
        judged = bad = 0
        if errors is not None:
            counted = summed(trial.cells[errors, :, arm], 0)
            n, bads = effective(counted, efficiency(summed(trial.sums[:, arm], 0)))
            judged, bad = round(float(n)), round(float(bads))
        found.append(fixed.Arm(column, trial.requests[arm], bad, _tail(histogram), judged))
    return found[CANARY], found[BASELINE]


def _tail(histogram: HistogramSet) -> float | None:
    return float(histogram.quantiles(TAIL)[0]) if histogram.count.sum() else None


def _kayenta(trial: Trial, progress: Progress) -> Judgement:
    results, scored = [], []
    for i, metric in enumerate(trial.analysis.metrics):
        arms = [np.array([_or_nan(p[i][arm]) for p in trial.mark.points]) for arm in (CANARY, BASELINE)]
        rules = Rules(direction=metric.direction, is_critical=metric.critical)
        found = classify(arms[0], arms[1], rules, as_published=trial.analysis.as_published)
        scored.append(Scored(metric.name, found.classification, found.is_critical, (metric.name,)))
        n = [int((~np.isnan(a)).sum()) for a in arms]
        values = [float(np.nanmean(a)) if (~np.isnan(a)).any() else None for a in arms]
        results.append(
            MetricResult(
                *(metric.name, values[0], values[1], n[0], n[1], float(n[0]), float(n[1])),
                *(found.classification.value.lower(), f"{metric.name} {found.reason}"),
                ratio=found.effect if np.isfinite(found.effect) else None,
                weight=float(metric.weight),
                critical=metric.critical,
            )
        )
    total = sum(float(m.weight) for m in trial.analysis.metrics)
    summed = score(scored, {m.name: 100 * float(m.weight) / total for m in trial.analysis.metrics})
    analysis = trial.analysis
    if all(one.classification in (Class.NODATA, Class.NODATA_FAIL) for one in scored):
        said = Judgement(Verdict.NODATA, Recommendation.PAUSE, summed.reason, None, tuple(results))
    else:
        limits = float(analysis.pass_score), float(analysis.marginal_score)
        outcome = verdict(summed.score, *limits, as_published=analysis.as_published)
        what = _OF_OUTCOME[outcome]
        bad = [r.reason for r, s in zip(results, scored, strict=True) if s.classification is not Class.PASS]
        reason = "; ".join(bad) or summed.reason
        said = Judgement(what, sequential.advice(what, over=True), reason, summed.score, tuple(results))
        if what is Verdict.PASS and not analysis.as_published and _lacks_data(scored):
            said = replace(said, verdict=Verdict.MARGINAL, recommendation=Recommendation.PAUSE, score=None)
    return _at_the_end(said, progress)


_OF_OUTCOME = {
    Outcome.PASS: Verdict.PASS,
    Outcome.MARGINAL: Verdict.MARGINAL,
    Outcome.FAIL: Verdict.FAIL,
}


def _lacks_data(scored: Sequence[Scored]) -> bool:
    """Of a metric that an arm has nothing of the published judge thinks well."""
    return any(one.classification is Class.NODATA for one in scored)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _at_the_end(said: Judgement, progress: Progress) -> Judgement:
    """What a method for one look says before the end is how it stands, and no verdict."""
    if progress.elapsed_s >= progress.longest_s:
        return said
    verdict = Verdict.NODATA if said.verdict is Verdict.NODATA else Verdict.INCONCLUSIVE
    reason = f"so far {said.verdict.value}; decided when the longest duration is over: {said.reason}"
    return replace(said, verdict=verdict, recommendation=Recommendation.CONTINUE, reason=reason, final=False)


def slo_readings(trial: Trial) -> list[tuple[ServiceSlo, tuple[float | None, float | None]]]:
    """Of each SLO of the service, the percentage of good requests: (canary, baseline)."""
    found = []
    for i, slo in enumerate(trial.measures.slos, len(trial.measures.rates)):
        cells = summed(trial.cells[i], 0)
        weight, bad = cells[:, CELL_WEIGHT].tolist(), cells[:, CELL_BAD_WEIGHT].tolist()
        good = [100 * (w - b) / w if w else None for w, b in zip(weight, bad, strict=True)]
        found.append((slo, (good[CANARY], good[BASELINE])))
    return found


def _missed(trial: Trial) -> list[Anomaly]:
    """SLOs that the canary misses and the baseline does not."""
    found = []
    for slo, (canary, baseline) in slo_readings(trial):
        if (
            canary is not None
            and canary < slo.target_pct
            and (baseline is None or baseline >= slo.target_pct)
        ):
            reason = (
                f"{slo.name}: {canary:.4g} % of the canary's requests are good, {slo.target_pct:.4g} % should"
            )
            found.append(Anomaly(f"slo/{slo.name}", Severity.WARNING, reason))
    return found
