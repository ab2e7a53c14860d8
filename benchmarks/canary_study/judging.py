"""The sequential method on many rollouts at once, by the same code that judges a real one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.latencies import LOWEST
from benchmarks.canary_study.rollouts import MINUTES, Counts, World
from stream.canary.design_effect import Scatter
from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.margin_maps import Allowance, Allowances
from stream.canary.quantile_test import Arm, QuantileTest, concentration
from stream.canary.sequential import Limit
from stream.canary.spending import Spending
from stream.canary.strata import StratumWeights, combined_log_e, shown_on_nearly_all
from stream.sketch.histogram import ONE, SQUARE, HistogramSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ALPHA = 0.05
LEAST_EVENTS = 100
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
METRICS = (*QUANTILES, "errors")


@dataclass(frozen=True)
class Margins:
    """Of latencies by quantile, in ms, and of errors."""

    latencies: dict[str, Limit] = field(default_factory=lambda: dict.fromkeys(QUANTILES, Limit()))
    errors: Limit = field(default_factory=Limit)


class Sequential:
    """Always-valid tests, looked at every minute; ``failed`` and ``passed`` by rollout at each look."""

    def __init__(self, world: World, rollouts: int, margins: Margins) -> None:
        self.shape = (rollouts, world.endpoints)
        rows = rollouts * world.endpoints
        self._spending = Spending.over(ALPHA, dict.fromkeys(METRICS, 1.0), [world.share * 100])
        self._errors = ErrorEvidence.start(RateMargin.same(rows, *margins.errors))
        self._error_scatter = [Scatter.none(rows), Scatter.none(rollouts)]
        self._tail_scatter = [[Scatter.none(rows), Scatter.none(rollouts)] for _ in QUANTILES]
        self._limits: Ints | None = None
        """[quantiles, rollouts, endpoints] above which index of a bucket a request is in the tail."""
        self._weights: Floats | None = None
        self._allowances = Allowances.of(
            [Allowance.of(*margins.latencies[name]) for name in QUANTILES],
            np.repeat(np.arange(len(QUANTILES)), rows),
        )
        self._concentrations = [
            np.repeat(
                [
                    concentration(p, ALPHA / len(METRICS), max(requests * MINUTES / 2 / world.endpoints, 1))
                    for p in QUANTILES.values()
                ],
                rows,
            )
            for requests in (world.per_minute * (1 - world.share), world.per_minute * world.share)
        ]

    def pane(self, canary: Counts, baseline: Counts) -> None:
        """A bet on errors, and what the design effect is estimated from."""
        of_errors = (canary.requests, canary.errors, baseline.requests, baseline.errors)
        self._errors = self._errors.add(Block(*(x.ravel().astype(np.float64) for x in of_errors)))
        self._error_scatter = _scattered(self._error_scatter, of_errors)
        if self._limits is None:
            self._know_tails(_histograms(baseline))
            return
        above = [_above(arm.latencies, self._limits) for arm in (canary, baseline)]
        for i in range(len(self._limits)):
            counts = (canary.requests, above[0][i], baseline.requests, above[1][i])
            self._tail_scatter[i] = _scattered(self._tail_scatter[i], counts)

    def look(self, canary: Counts, baseline: Counts) -> tuple[Flags, Flags]:
        """(failed, passed) with all counts so far."""
        if self._weights is None:
            seen = baseline.requests.sum(axis=0).astype(np.float64)
            given = StratumWeights.none().seen(np.arange(self.shape[1]), seen)
            self._weights = np.broadcast_to(given.weights, self.shape)
        histograms = [_histograms(arm) for arm in (baseline, canary)]
        worse, within = self._latencies(histograms[0], histograms[1])
        effect = _effect(self._error_scatter, self.shape)
        worse.append(self._errors.log_e_worse().reshape(self.shape) / effect)
        within.append(self._errors.log_e_within().reshape(self.shape) / effect)
        enough = np.minimum(canary.requests.sum(axis=1), baseline.requests.sum(axis=1)) >= LEAST_EVENTS
        failed, passed = np.zeros(self.shape[0], np.bool_), enough.copy()
        for name, against, for_it in zip(METRICS, worse, within, strict=True):
            threshold = self._spending.log_threshold(name, 0)
            failed |= enough & (combined_log_e(against, self._weights) >= threshold)
            passed &= shown_on_nearly_all(for_it, self._weights, threshold)
        self._know_tails(histograms[0])
        return failed, passed

    def _know_tails(self, baseline: HistogramSet) -> None:
        """From the next pane on."""
        of_each = [baseline.quantile_buckets(p).reshape(self.shape) for p in QUANTILES.values()]
        self._limits = (np.stack(of_each) - LOWEST).clip(0)

    def _latencies(self, baseline: HistogramSet, canary: HistogramSet) -> tuple[list[Floats], list[Floats]]:
        rows = np.arange(len(baseline))
        effects = [_effect(scatter, self.shape).ravel() for scatter in self._tail_scatter]
        test = QuantileTest(
            Arm.of(baseline),
            Arm.of(canary),
            np.tile(rows, len(QUANTILES)),
            np.repeat(list(QUANTILES.values()), len(rows)),
            self._concentrations[0],
            self._concentrations[1],
            np.concatenate(effects),
        )
        by_quantile = (len(QUANTILES), *self.shape)
        return (
            list(test.log_e_worse(self._allowances).reshape(by_quantile)),
            list(test.log_e_within(self._allowances).reshape(by_quantile)),
        )


def _above(latencies: NDArray[np.int32], limits: Ints) -> Ints:
    """[quantiles, rollouts, endpoints] requests above the limits."""
    flat = latencies.ravel()
    filled = np.flatnonzero(flat != 0)
    row, bucket = np.divmod(filled, latencies.shape[2])
    n = flat[filled]
    over = [
        np.bincount(row, n * (bucket > limit[row]), minlength=limit.size)
        for limit in limits.reshape(len(limits), -1)
    ]
    return np.stack(over).astype(np.int64).reshape(limits.shape)


def _scattered(so_far: list[Scatter], counts: tuple[Ints, Ints, Ints, Ints]) -> list[Scatter]:
    """With a pane more, by endpoint and over all of them."""
    of_each = Scatter.of_pane(*(x.ravel().astype(np.float64) for x in counts))
    of_all = Scatter.of_pane(*(x.sum(axis=1).astype(np.float64) for x in counts))
    return [so_far[0].plus(of_each), so_far[1].plus(of_all)]


def _effect(scatter: list[Scatter], shape: tuple[int, int]) -> Floats:
    """Of each endpoint, at least that of all together: what they share is seen in their sum alone."""
    return np.maximum(scatter[0].design_effect().reshape(shape), scatter[1].design_effect()[:, None])


def _histograms(arm: Counts) -> HistogramSet:
    flat = arm.latencies.ravel()
    filled = np.flatnonzero(flat != 0)
    row, bucket = np.divmod(filled, arm.latencies.shape[2])
    n = arm.requests.ravel()
    sizes = np.bincount(row, minlength=len(n))
    return HistogramSet(
        np.arange(len(n)),
        n,
        SQUARE * n,
        np.concatenate(([0], np.cumsum(sizes))),
        (bucket + LOWEST).astype(np.int32),
        flat[filled].astype(np.int64) * ONE,
    )
