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
from stream.canary.rows import Rows, side_by_side
from stream.canary.trial import BASELINE, CANARY, UNKNOWN, Pane, Trial
from stream.model.analysis import Baseline
from stream.sketch.buckets import ZERO
from stream.sketch.histogram import ONE, SQUARE, HistogramSet
from stream.sketch.whole import Whole, added, floats

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
    past = rows.of_endpoint(lambda t: np.full(len(t.endpoints), t.baseline is Baseline.BEFORE))
    return _of_blocks(rows).all_at_once(past)


def _of_blocks(rows: Rows) -> ErrorEvidence:
    ratios = rows.of_metric(lambda t: [1 + float(m.margin.pct) / 100 for m in t.measures.rates])
    floors = rows.of_metric(lambda t: [float(m.margin.least) / 100 for m in t.measures.rates])
    return ErrorEvidence.from_columns(rows.joined(lambda t: t.evidence), RateMargin(ratios, floors))


def efficiency(sums: Whole) -> Floats:
    """By how much weighted requests say less than as many unweighted ones (Kish); from […, 3], 0 to 1."""
    weight, events = floats(sums[..., WEIGHT]) / ONE, floats(sums[..., EVENTS])
    squares = np.maximum(floats(sums[..., SQUARES]), 1) / SQUARE
    return np.minimum(weight * weight / squares / np.maximum(events, 1), 1.0)


def _per_weight(sums: Whole) -> Floats:
    """Effective requests in a unit of weight; from […, 3]. Of unsampled requests 1."""
    return floats(sums[..., WEIGHT]) / ONE / (np.maximum(floats(sums[..., SQUARES]), 1) / SQUARE)


def effective(cells: Whole, efficiencies: Floats) -> tuple[Floats, Floats]:
    """Effective numbers of requests and of bad ones, from […, 4]."""
    n = floats(cells[..., CELL_EVENTS]) * efficiencies
    return n, n * (floats(cells[..., CELL_BAD_WEIGHT]) / np.maximum(floats(cells[..., CELL_WEIGHT]), 1))


def _of_both(trial: Trial, pane: Whole, so_far: Whole) -> Whole:
    """[…, E, 2, k] the pane of both arms. A baseline of the past is there at once: it scatters no more."""
    if trial.baseline is not Baseline.BEFORE:
        return pane
    before = np.zeros_like(so_far)
    before[..., BASELINE, :] = so_far[..., BASELINE, :]
    return added(pane, before)


def _rates(trials: Sequence[Trial], panes: Sequence[Pane]) -> None:
    rows = Rows.of_rates(trials)
    if not rows.metrics.any():
        return
    block = [
        _numbers(pane.cells[: len(t.measures.rates)], pane.sums, t.sums) for t, pane in _both(trials, panes)
    ]
    columns = [np.concatenate([numbers[i].reshape(-1) for numbers in block]) for i in range(4)]
    for trial, state in rows.split(_of_blocks(rows).add(Block(*columns)).columns()):
        trial.evidence = state
    numbers = [
        _numbers(
            _of_both(trial, pane.cells, trial.cells)[: len(trial.measures.rates)],
            _of_both(trial, pane.sums, trial.sums),
            trial.sums,
        )
        for trial, pane in _both(trials, panes)
    ]
    for trial, more in zip(trials, _scattered(numbers), strict=True):
        trial.rate_scatter = trial.rate_scatter + more


def _numbers(cells: Whole, sums: Whole, before: Whole) -> Numbers:
    """[M, E] n and bad of the canary, then of the baseline.

    A unit of weight says as much as in this pane, or in all so far where that is less: where all errors are
    sent and a part of the rest, a pane of errors alone would say that everything goes wrong.
    """
    scale = np.minimum(_per_weight(sums), _per_weight(added(sums, before)))
    n = floats(cells[..., CELL_WEIGHT]) / ONE * scale
    bad = np.minimum(floats(cells[..., CELL_BAD_WEIGHT]) / ONE * scale, n)
    return n[..., CANARY], bad[..., CANARY], n[..., BASELINE], bad[..., BASELINE]


Numbers = tuple[Floats, Floats, Floats, Floats]


def _scattered(several: Sequence[Numbers]) -> Iterator[Floats]:
    """[9, …, 1 + E] of a pane's […, E], for each trial; all endpoints together are first."""
    with_all = [
        [np.concatenate([x.sum(axis=-1, keepdims=True), x], axis=-1) for x in numbers] for numbers in several
    ]
    columns = (np.concatenate([one[i].ravel() for one in with_all]) for i in range(4))
    found, start = Scatter.of_pane(*columns).columns(), 0
    for one in with_all:
        yield found[:, start : start + one[0].size].reshape(len(found), *one[0].shape)
        start += one[0].size


def _tails(trials: Sequence[Trial], panes: Sequence[Pane]) -> None:
    """Requests above the limits: as rates, for the design effect of quantiles."""
    rows = Rows.of_latencies(trials)
    if not rows.metrics.any():
        return
    limits = rows.joined(lambda t: t.limits)
    canary = [pane.histograms for pane in panes]
    baseline = [
        t.histograms if t.baseline is Baseline.BEFORE else pane.histograms for t, pane in _both(trials, panes)
    ]
    columns = [*_above(rows, canary, CANARY, limits), *_above(rows, baseline, BASELINE, limits)]
    split = [[part for _, part in rows.split(column)] for column in columns]
    for trial, more in zip(trials, _scattered(list(zip(*split, strict=True))), strict=True):
        trial.tail_scatter = trial.tail_scatter + more


def _above(rows: Rows, histograms: Sequence[HistogramSet], which: int, limits: Ints) -> tuple[Floats, Floats]:
    """[rows] effective requests, and those in buckets above the limit; none where there is no limit."""
    arm, places = Arm.of(side_by_side(rows.trials, histograms, which)), rows.places
    known = limits != UNKNOWN
    n = np.where(known, arm.sizes[places], 0.0)
    above = np.where(known, n - arm.up_to(places, np.maximum(limits, 0)), 0.0)
    return n, np.clip(above, 0, n)


def _know_tails(trials: Sequence[Trial]) -> None:
    """From the next pane on."""
    rows = Rows.of_latencies(trials)
    if not rows.metrics.any():
        return
    baseline = side_by_side(trials, [trial.histograms for trial in trials], BASELINE)
    places = rows.places
    p = rows.of_metric(lambda t: t.measures.quantiles.tolist())
    limits = np.full(len(places), UNKNOWN)
    for quantile in np.unique(p).tolist():
        mine = p == quantile
        found = baseline.quantile_buckets(quantile).astype(np.int64) - ZERO
        limits[mine] = np.where(baseline.count > 0, found, UNKNOWN)[places[mine]]
    for trial, its in rows.split(limits):
        trial.limits = its


def _share(trial: Trial, pane: Pane) -> None:
    """How much the canary's share of the requests scatters from pane to pane."""
    canary, baseline = pane.sums[:, :, EVENTS].sum(axis=0).tolist()
    if canary + baseline:
        total = canary + baseline
        trial.share_scatter += np.array([1.0, canary * canary / total, canary, total])
