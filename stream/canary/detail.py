"""Every metric of many trials with numbers and intervals, as people read them: once a minute, and at the end.

Intervals ask the tests many times over; all trials that are due are asked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.canary.absorb import evidence_of
from stream.canary.counts import CELL_EVENTS
from stream.canary.evidence import Compared, compare_errors, compare_latencies, put_together
from stream.canary.look import (
    allowances,
    effects,
    harmful,
    latency_test,
    log_threshold,
    share_of,
    stratum_weights,
)
from stream.canary.rows import Rows, side_by_side
from stream.canary.sequential import Limit, Measured
from stream.canary.strata import simultaneous_log_thresholds_of_groups
from stream.canary.trial import BASELINE, CANARY, Trial
from stream.model.analysis import Direction, Metric

Floats = NDArray[np.float64]


def measure(trials: Sequence[Trial]) -> list[list[Measured]]:
    """Of each trial its metrics, in the order of its analysis; those of which nothing was seen left out.
    Both arms of each have had requests."""
    if not trials:
        return []
    found: list[dict[str, Measured]] = [{} for _ in trials]
    rows = Rows.of_rates(trials)
    if rows.metrics.any():
        effect = effects(rows, lambda t: t.rate_scatter)
        thresholds = _of_intervals(rows, lambda t: t.measures.rates)
        compared = compare_errors(evidence_of(rows), effect, thresholds)
        counted = rows.joined(_events_of_rates)
        _sort_in(found, rows, lambda t: t.measures.rates, compared, effect, counted)
    rows = Rows.of_latencies(trials)
    if rows.metrics.any():
        test = latency_test(rows)
        thresholds = _of_intervals(rows, lambda t: t.measures.latencies)
        sets = [trial.histograms for trial in trials]
        baseline, canary = (side_by_side(trials, sets, arm) for arm in (BASELINE, CANARY))
        counted = np.stack((canary.count, baseline.count))[:, rows.places]
        near = rows.joined(lambda t: t.near)
        ends = near[0], near[1]
        compared = compare_latencies(
            baseline, canary, test, allowances(rows), harmful(rows), thresholds, ends
        )
        for trial, its in rows.split(near):
            trial.near = its
        _sort_in(found, rows, lambda t: t.measures.latencies, compared, test.design_effect, counted)
    for trial, one in zip(trials, found, strict=True):
        if (share := share_of(trial)) is not None:
            one[share.name] = share
    return [
        [one[m.name] for m in trial.analysis.metrics if m.name in one]
        for trial, one in zip(trials, found, strict=True)
    ]


def _events_of_rates(trial: Trial) -> NDArray[np.int64]:
    """[2, M, E]"""
    events = trial.cells[: len(trial.measures.rates), :, :, CELL_EVENTS].astype(np.int64)
    return np.moveaxis(events, -1, 0)


def _of_intervals(rows: Rows, metrics_of: Callable[[Trial], Sequence[Metric]]) -> Floats:
    """[rows] what each endpoint's interval is held to, for those of all endpoints to hold at once."""
    each = np.array([log_threshold(t, m) for t in rows.trials for m in metrics_of(t)])
    return simultaneous_log_thresholds_of_groups(each, rows.of_endpoint(stratum_weights), rows.groups)


def _sort_in(
    found: list[dict[str, Measured]],
    rows: Rows,
    metrics_of: Callable[[Trial], Sequence[Metric]],
    compared: Compared,
    effect: Floats,
    counted: NDArray[np.int64],
) -> None:
    """``counted``: [2, rows] requests of the canary and of the baseline."""
    start = 0
    for trial, one in zip(rows.trials, found, strict=True):
        weights = stratum_weights(trial)
        some = np.flatnonzero(weights > 0)
        for metric in metrics_of(trial):
            if len(some):
                mine = some + start
                requests = counted[:, mine].sum(axis=1)
                one[metric.name] = _together(trial, metric, compared.take(mine), effect[mine], some, requests)
            start += len(trial.endpoints)


def _together(
    trial: Trial,
    metric: Metric,
    compared: Compared,
    effect: Floats,
    strata: NDArray[np.int64],
    requests: NDArray[np.int64],
) -> Measured:
    least = float(metric.margin.least)
    return put_together(
        metric.name,
        compared,
        stratum_weights(trial)[strata],
        [trial.endpoints[i] for i in strata.tolist()],
        log_threshold(trial, metric),
        Limit(1 + float(metric.margin.pct) / 100, least if metric.quantile is not None else least / 100),
        (int(requests[0]), int(requests[1])),
        weight=float(metric.weight),
        critical=metric.critical,
        design_effect=float(effect.max()),
        direction=Direction.INCREASE if metric.quantile is None else metric.direction,
    )
