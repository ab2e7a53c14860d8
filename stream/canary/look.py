"""One look at many trials: where each of their metrics stands, and in detail for those that are reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.canary.absorb import evidence_of
from stream.canary.design_effect import SHRINKAGE_PANES, Scatter
from stream.canary.directions import Harmful, log_e_of_quantiles
from stream.canary.error_test import Block
from stream.canary.evidence import (
    compare_share,
    put_together,
)
from stream.canary.margin_maps import Allowance, Allowances
from stream.canary.quantile_test import Arm, QuantileTest, concentration
from stream.canary.rows import Rows, side_by_side
from stream.canary.sequential import Limit, Measured, Standing
from stream.canary.spending import Spending
from stream.canary.strata import combined_log_e_of_groups, shown_on_nearly_all_of_groups
from stream.canary.trial import BASELINE, CANARY, SCATTER_ROWS, Trial
from stream.model.analysis import Baseline, Direction, Metric

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stands:
    """Where the metrics of one trial stand, without the numbers."""

    worse: bool
    """Some metric is."""
    within: bool
    """Every metric is."""


def log_threshold(trial: Trial, metric: Metric) -> float:
    """ln 1/α of one metric in the trial's stage."""
    analysis = trial.analysis
    weights = {m.name: float(m.weight) for m in analysis.metrics}
    return Spending(float(analysis.alpha) * trial.alpha_share, weights, [1.0]).log_threshold(metric.name, 0)


def settle(trial: Trial) -> None:
    """Fix what must not depend on outcomes, for endpoints that both arms have by now: their weights, and how
    much traffic the tests of quantiles expect."""
    events = trial.events
    there = np.flatnonzero(events[:, BASELINE] > 0)
    trial.weights = trial.weights.seen(there, events[there, BASELINE].astype(np.float64))
    new = (trial.typical[CANARY] == 0) & (events > 0).all(axis=1)
    if new.any():
        panes = max(trial.panes, 1)
        per_pane = events.T / panes
        expected = np.maximum(per_pane * (trial.analysis.longest_s / 10 / 2), 1.0)
        trial.typical[:, new] = expected[:, new]


def latency_test(rows: Rows) -> QuantileTest:
    """Of every quantile at every endpoint."""
    sets = [trial.histograms for trial in rows.trials]
    arms = [Arm.of(side_by_side(rows.trials, sets, arm)) for arm in (BASELINE, CANARY)]
    c = rows.joined(_concentrations)
    return QuantileTest(
        arms[0],
        arms[1],
        rows.places,
        rows.of_metric(lambda t: t.measures.quantiles.tolist()),
        c[BASELINE],
        c[CANARY],
        effects(rows, lambda t: t.tail_scatter),
    )


def _concentrations(trial: Trial) -> Floats:
    """[2, Q, E]"""
    found = np.ones((2, len(trial.measures.latencies), len(trial.endpoints)))
    for q, metric in enumerate(trial.measures.latencies):
        alpha = np.exp(-log_threshold(trial, metric))
        found[:, q] = concentration(trial.measures.quantiles[q], alpha, np.maximum(trial.typical, 1.0))
    return found


def effects(rows: Rows, scatter_of: Callable[[Trial], Floats]) -> Floats:
    """[rows] design effects: of each endpoint, at least that of all together, which shows what they share."""
    columns = np.concatenate([scatter_of(t).reshape(SCATTER_ROWS, -1) for t in rows.trials], axis=1)
    found, start, parts = Scatter.from_columns(columns).design_effect(), 0, []
    for trial in rows.trials:
        metrics, width = scatter_of(trial).shape[1:]
        block = found[start : start + metrics * width].reshape(metrics, width)
        parts.append(np.maximum(block[:, 1:], block[:, :1]).ravel())
        start += metrics * width
    return np.concatenate(parts)


def share_effect(trial: Trial) -> float:
    """Of the canary's share: by how much more it scatters from pane to pane than single requests would."""
    panes, squares, canary, total = trial.share_scatter.tolist()
    if panes < 3 or not 0 < canary < total:
        return 1.0
    share = canary / total
    raw = (squares - canary * share) / (share * (1 - share) * (panes - 1))
    return float(max(1.0, (SHRINKAGE_PANES + (panes - 1) * raw) / (SHRINKAGE_PANES + panes - 1)))


def expectedshare_of(trial: Trial) -> float | None:
    """Of both arms' requests, those that the canary should get; None: nobody said."""
    if trial.baseline is Baseline.BEFORE or trial.percent is None:
        return None
    if trial.baseline is Baseline.BASELINE:
        return 0.5
    return trial.percent / 100 if trial.percent < 100 else None


def look(trials: Sequence[Trial]) -> list[Stands]:
    """At many trials at once."""
    found = [[False, True] for _ in trials]
    place = {id(trial): i for i, trial in enumerate(trials)}
    for rows, worse, within in (_look_at_rates(trials), _look_at_latencies(trials)):
        start = 0
        for trial, metrics in zip(rows.trials, rows.metrics.tolist(), strict=True):
            one = found[place[id(trial)]]
            one[0] |= bool(worse[start : start + metrics].any())
            one[1] &= bool(within[start : start + metrics].all())
            start += metrics
    for trial, one in zip(trials, found, strict=True):
        if (share := share_of(trial)) is not None:
            one[0] |= share.standing is Standing.WORSE
            one[1] &= share.standing is Standing.WITHIN
    return [Stands(*one) for one in found]


def _look_at_rates(trials: Sequence[Trial]) -> _Looked:
    rows = Rows.of_rates(trials)
    evidence, effect = evidence_of(rows), effects(rows, lambda t: t.rate_scatter)
    worse, within = evidence.log_e_worse() / effect, evidence.log_e_within() / effect
    return _judged(rows, lambda t: t.measures.rates, worse, within)


def _look_at_latencies(trials: Sequence[Trial]) -> _Looked:
    rows = Rows.of_latencies(trials)
    worse, within = log_e_of_quantiles(latency_test(rows), allowances(rows), harmful(rows))
    return _judged(rows, lambda t: t.measures.latencies, worse, within)


def allowances(rows: Rows) -> Allowances:
    """What each row's margin allows."""
    several: dict[tuple[float, float], int] = {}
    which = rows.of_metric(
        lambda t: [several.setdefault(_allowed(metric), len(several)) for metric in t.measures.latencies]
    )
    return Allowances.of([Allowance.of(*allowed) for allowed in several], which.astype(np.int64))


def harmful(rows: Rows) -> Harmful:
    """Which change is harm, of each row."""
    return Harmful.of(
        [m.direction for t in rows.trials for m in t.measures.latencies for _ in range(len(t.endpoints))]
    )


def _allowed(metric: Metric) -> tuple[float, float]:
    return 1 + float(metric.margin.pct) / 100, float(metric.margin.least)


_Looked = tuple[Rows, NDArray[np.bool_], NDArray[np.bool_]]


def _judged(
    rows: Rows, metrics: Callable[[Trial], Sequence[Metric]], worse: Floats, within: Floats
) -> _Looked:
    """(rows, whether each metric of each trial is worse, whether it is within)."""
    if not len(worse):
        return rows, np.empty(0, np.bool_), np.empty(0, np.bool_)
    thresholds = np.array([log_threshold(t, m) for t in rows.trials for m in metrics(t)])
    weights, groups = rows.of_endpoint(stratum_weights), rows.groups
    return (
        rows,
        combined_log_e_of_groups(worse, weights, groups) >= thresholds,
        shown_on_nearly_all_of_groups(within, weights, groups, thresholds),
    )


def stratum_weights(trial: Trial) -> Floats:
    """[E] 0 for endpoints that are not judged yet."""
    found = np.zeros(len(trial.endpoints))
    found[trial.weights.keys] = trial.weights.weights
    return found


def share_of(trial: Trial) -> Measured | None:
    """The throughput; None if it is not asked for, or nobody said what it should be."""
    metric, share = trial.measures.share, expectedshare_of(trial)
    if metric is None or share is None:
        return None
    n_canary, n_baseline = (np.array([float(n)]) for n in trial.requests)
    nothing, threshold = np.zeros(1), log_threshold(trial, metric)
    compared = compare_share(
        Block(n_canary, nothing, n_baseline, nothing),
        np.array([share]),
        np.array([float(metric.margin.pct) / 100]),
        np.array([metric.direction is Direction.EITHER]),
        np.array([share_effect(trial)]),
        np.array([threshold]),
    )
    return put_together(
        metric.name, compared, np.ones(1), [""], threshold, Limit(1 + float(metric.margin.pct) / 100),
        trial.requests,
        weight=float(metric.weight), critical=metric.critical, design_effect=share_effect(trial),
        direction=Direction.EITHER if metric.direction is Direction.EITHER else Direction.DECREASE,
    )  # fmt: skip
