"""A trial minute by minute: the value of each metric in either arm, endpoints together."""

from __future__ import annotations

from stream.canary.counts import CELL_BAD_WEIGHT, CELL_WEIGHT, WEIGHT
from stream.canary.trial import ARMS, BASELINE, CANARY, Minute, Trial
from stream.model.analysis import Metric

Point = tuple[float | None, float | None]
"""(canary, baseline); None: no requests that say."""


def points(trial: Trial, minute: Minute) -> list[Point]:
    """Of the metrics of the analysis, in their order: latencies in ms, rates as shares."""
    return [_point(trial, minute, metric) for metric in trial.analysis.metrics]


def _point(trial: Trial, minute: Minute, metric: Metric) -> Point:
    if metric.quantile is not None:
        found: list[float | None] = [None] * ARMS
        values = minute.histograms.quantiles(metric.quantile).tolist()
        for arm, value in zip(minute.histograms.keys.tolist(), values, strict=True):
            found[arm] = value
        return found[CANARY], found[BASELINE]
    if metric in trial.measures.rates:
        cells = minute.cells[trial.measures.rates.index(metric)]
        weight, bad = cells[:, CELL_WEIGHT].tolist(), cells[:, CELL_BAD_WEIGHT].tolist()
        rates = [b / w if w else None for b, w in zip(bad, weight, strict=True)]
        return rates[CANARY], rates[BASELINE]
    canary, baseline = minute.sums[:, WEIGHT].tolist()
    total = canary + baseline
    return (canary / total, baseline / total) if total else (None, None)
