"""What a pane is for the tests of many trials at once: bets on rates, and scatter for the design effect.

Everything that a test may know of a pane beforehand (estimates, the limits of tails) is of earlier panes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.canary.counts import (
    CELL_BAD_WEIGHT,
    CELL_EVENTS,
    CELL_WEIGHT,
    EVENTS,
    SQUARES,
    WEIGHT,
)
from stream.canary.design_effect import Scatter
from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.quantile_test import Arm
from stream.canary.rows import Rows
from stream.canary.trial import BASELINE, CANARY, UNKNOWN, Pane, Trial
from stream.model.analysis import Baseline
from stream.sketch.buckets import ZERO
from stream.sketch.histogram import ONE, SQUARE, HistogramSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def absorb(trials: Sequence[Trial], panes: Sequence[Pane]) -> None:
    """Let each trial learn its pane."""
    if not trials:
        return
    _rates(trials, panes)
    _tails(trials, panes)
    for trial, pane in _both(trials, panes):
        _share(trial, pane)
        trial.add(pane)
        trial.panes += 1
    _know_tails(trials)


def _both(trials: Sequence[Trial], panes: Sequence[Pane]) -> Iterator[tuple[Trial, Pane]]:
    return zip(trials, panes, strict=True)


def evidence_of(rows: Rows) -> ErrorEvidence:
    """Of all rows, so far."""
    ratios = rows.of_metric(lambda t: [1 + float(m.margin.pct) / 100 for m in t.measures.rates])
    floors = rows.of_metric(lambda t: [float(m.margin.least) / 100 for m in t.measures.rates])
    return ErrorEvidence.from_columns(rows.joined(lambda t: t.evidence), RateMargin(ratios, floors))


def efficiency(sums: Ints) -> Floats:
    """By how much weighted requests say less than as many unweighted ones (Kish); from […, 3], 0 to 1."""
    weight, events = sums[..., WEIGHT] / ONE, sums[..., EVENTS]
    squares = np.maximum(sums[..., SQUARES], 1) / SQUARE
    return np.minimum(weight * weight / squares / np.maximum(events, 1), 1.0)


def effective(cells: Ints, efficiencies: Floats) -> tuple[Floats, Floats]:
    """Effective numbers of requests and of bad ones, from […, 4]."""
    n = cells[..., CELL_EVENTS] * efficiencies
    return n, n * (cells[..., CELL_BAD_WEIGHT] / np.maximum(cells[..., CELL_WEIGHT], 1))


def _of_both(trial: Trial, pane: Ints, so_far: Ints) -> Ints:
    """[…, E, 2, k] the pane of both arms. A baseline of the past is there at once: it scatters no more."""
    if trial.baseline is not Baseline.BEFORE:
        return pane
    found = pane.copy()
    found[..., BASELINE, :] += so_far[..., BASELINE, :]
    return found


def _rates(trials: Sequence[Trial], panes: Sequence[Pane]) -> None:
    rows = Rows.of_rates(trials)
    if not rows.metrics.any():
        return
    block = [_numbers(pane.cells[: len(t.measures.rates)], pane.sums) for t, pane in _both(trials, panes)]
    columns = [np.concatenate([numbers[i].reshape(-1) for numbers in block]) for i in range(4)]
    for trial, state in rows.split(evidence_of(rows).add(Block(*columns)).columns()):
        trial.evidence = state
    for trial, pane in _both(trials, panes):
        cells = _of_both(trial, pane.cells, trial.cells)[: len(trial.measures.rates)]
        sums = _of_both(trial, pane.sums, trial.sums)
        trial.rate_scatter = _scattered(trial.rate_scatter, *_numbers(cells, sums))


def _numbers(cells: Ints, sums: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """[M, E] n and bad of the canary, then of the baseline."""
    n, bad = effective(cells, efficiency(sums))
    return n[..., CANARY], bad[..., CANARY], n[..., BASELINE], bad[..., BASELINE]


def _scattered(scatter: Floats, *numbers: Floats) -> Floats:
    """[9, …, 1 + E] with a pane more of […, E]; all endpoints together are first."""
    with_all = (np.concatenate([x.sum(axis=-1, keepdims=True), x], axis=-1) for x in numbers)
    more = Scatter.of_pane(*(x.reshape(-1) for x in with_all))
    return scatter + more.columns().reshape(scatter.shape)


def _tails(trials: Sequence[Trial], panes: Sequence[Pane]) -> None:
    """Requests above the limits: as rates, for the design effect of quantiles."""
    for trial, pane in _both(trials, panes):
        if not len(trial.measures.latencies) or not trial.endpoints:
            continue
        baseline = pane.histograms[BASELINE]
        if trial.baseline is Baseline.BEFORE:
            baseline = trial.histograms[BASELINE]
        numbers: list[Floats] = []
        for histograms in (pane.histograms[CANARY], baseline):
            numbers += _above(histograms, trial.limits)
        trial.tail_scatter = _scattered(trial.tail_scatter, *numbers)


def _above(histograms: HistogramSet, limits: Ints) -> tuple[Floats, Floats]:
    """[Q, E] effective requests, and those in buckets above the limit; none where there is no limit."""
    quantiles, endpoints = limits.shape
    arm = Arm.of(histograms.aligned(np.arange(endpoints)))
    row = np.tile(np.arange(endpoints), quantiles)
    known = limits.ravel() != UNKNOWN
    n = np.where(known, arm.sizes[row], 0.0)
    above = np.where(known, n - arm.up_to(row, np.maximum(limits.ravel(), 0)), 0.0)
    return n.reshape(limits.shape), np.clip(above, 0, n).reshape(limits.shape)


def _know_tails(trials: Sequence[Trial]) -> None:
    """From the next pane on."""
    for trial in trials:
        baseline = trial.histograms[BASELINE].aligned(np.arange(len(trial.endpoints)))
        for q, p in enumerate(trial.measures.quantiles.tolist()):
            found = baseline.quantile_buckets(p).astype(np.int64) - ZERO
            trial.limits[q] = np.where(baseline.count > 0, found, UNKNOWN)


def _share(trial: Trial, pane: Pane) -> None:
    """How much the canary's share of the requests scatters from pane to pane."""
    canary, baseline = pane.sums[:, :, EVENTS].sum(axis=0).tolist()
    if canary + baseline:
        total = canary + baseline
        trial.share_scatter += np.array([1.0, canary * canary / total, canary, total])
