"""A trial minute by minute: the value of each metric in either arm, endpoints together."""

from __future__ import annotations

from stream.canary.counts import CELL_BAD_WEIGHT, CELL_WEIGHT, WEIGHT
from stream.canary.trial import ARMS, BASELINE, CANARY, MAX_ENDPOINTS, Point, Trial
from stream.model.analysis import Metric
from stream.sketch.histogram import HistogramSet
from stream.sketch.whole import Whole, added, summed

MAX_POINTS = 1440
"""Minutes that are kept one by one: a day."""


def end_minute(trial: Trial) -> None:
    """Note what the metrics were since the last mark, and set the next."""
    since = trial.mark
    sums = added(summed(trial.sums, 0), -since.sums)
    cells = added(summed(trial.cells, 1), -since.cells)
    latencies = trial.histograms.minus(since.histograms)
    latencies = latencies.remap(latencies.keys // MAX_ENDPOINTS)
    values = tuple(_point(trial, sums, cells, latencies, metric) for metric in trial.analysis.metrics)
    trial.set_mark((*since.points, values)[-MAX_POINTS:])


def _point(
    trial: Trial,
    sums: Whole,
    cells: Whole,
    latencies: HistogramSet,
    metric: Metric,
) -> Point:
    """Latencies in ms, rates as shares."""
    if metric.quantile is not None:
        found: list[float | None] = [None] * ARMS
        values = latencies.quantiles(metric.quantile).tolist()
        for arm, value in zip(latencies.keys.tolist(), values, strict=True):
            found[arm] = value
        return found[CANARY], found[BASELINE]
    if metric in trial.measures.rates:
        mine = cells[trial.measures.rates.index(metric)]
        weight, bad = mine[:, CELL_WEIGHT].tolist(), mine[:, CELL_BAD_WEIGHT].tolist()
        rates = [b / w if w else None for b, w in zip(bad, weight, strict=True)]
        return rates[CANARY], rates[BASELINE]
    canary, baseline = sums[:, WEIGHT].tolist()
    total = canary + baseline
    return (canary / total, baseline / total) if total else (None, None)
