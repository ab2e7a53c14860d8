"""From counts of both arms to what is measured of a metric: by endpoint first, then all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.canary.directions import Harmful, log_e_of_quantiles
from stream.canary.error_test import Block, ErrorEvidence
from stream.canary.interval_search import WIDEST_SHIFT
from stream.canary.margin_maps import Allowances
from stream.canary.quantile_test import QuantileTest
from stream.canary.sequential import Limit, Measured
from stream.canary.share_test import Shares, ratio_interval
from stream.canary.strata import (
    NEARLY_ALL,
    combined_effect,
    combined_log_e_of_groups,
    shown_on_nearly_all_of_groups,
)
from stream.model.analysis import Direction
from stream.sketch.buckets import middles, ratio_of_shift
from stream.sketch.histogram import HistogramSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SHARPNESS = 10.0
"""Of the intervals of ratios of error rates: best at ratios of 1.5 and more."""
_SHARE_SHARPNESS = 500.0
"""Of the throughput share: best at changes of about a tenth."""
_WHOLE = 1 - 1e-9
_ALONE = np.zeros(1, np.int64)
"""Where the rows of a single metric begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Both arms, one row for each comparison: a metric at an endpoint."""

    log_e_worse: Floats
    log_e_within: Floats
    canary: Floats
    baseline: Floats
    """Values: a quantile in ms, or a rate."""
    ratio: Floats
    lower: Floats
    upper: Floats
    n_canary: Floats
    n_baseline: Floats
    """Effective numbers of requests."""

    def take(self, rows: Ints) -> Compared:
        return Compared(*(getattr(self, name)[rows] for name in self.__slots__))


def compare_latencies(
    baseline: HistogramSet,
    canary: HistogramSet,
    test: QuantileTest,
    margin: Allowances,
    harmful: Harmful,
    log_thresholds: Floats,
    near: tuple[Ints, Ints] | None = None,
) -> Compared:
    """Of the histograms that ``test`` was made of; thresholds, by row, of the intervals. ``near``: their ends
    at an earlier look; those of this one take their place."""
    by_quantile = {
        p: (baseline.quantile_buckets(p), canary.quantile_buckets(p)) for p in set(test.p.tolist())
    }
    places = np.empty((2, len(test.rows)), np.int64)
    for p, buckets in by_quantile.items():
        mine = test.p == p
        places[:, mine] = [of_arm[test.rows[mine]] for of_arm in buckets]
    lower, upper = test.ratio_interval(log_thresholds, near)
    if near is not None:
        near[0][:], near[1][:] = lower, upper
    worse, within = log_e_of_quantiles(test, margin, harmful)
    values = middles(places)
    # Of zero there is no ratio: a bucket counts as one step.
    return Compared(
        worse,
        within,
        values[1],
        values[0],
        ratio_of_shift(places[1] - places[0]),
        np.where(lower <= -WIDEST_SHIFT, 0.0, ratio_of_shift(lower)),
        np.where(upper >= WIDEST_SHIFT, np.inf, ratio_of_shift(upper)),
        test.canary.sizes[test.rows] / test.design_effect,
        test.baseline.sizes[test.rows] / test.design_effect,
    )


def compare_errors(evidence: ErrorEvidence, design_effect: Floats, log_thresholds: Floats) -> Compared:
    """Of what all blocks so far add up to."""
    seen = evidence.so_far
    n_c, y_c, n_b, y_b = (
        x / design_effect for x in (seen.n_canary, seen.bad_canary, seen.n_baseline, seen.bad_baseline)
    )
    lower, upper = ratio_interval(y_c, n_c, y_b, n_b, _SHARPNESS, log_thresholds)
    # Half an error more in each arm, so that there is a ratio where there are no errors.
    smooth = (y_c + 0.5) / (n_c + 1) / ((y_b + 0.5) / (n_b + 1))
    ratio = np.where((y_c > 0) & (y_b > 0), y_c * n_b / np.maximum(y_b * n_c, 1e-300), smooth)
    return Compared(
        evidence.log_e_worse() / design_effect,
        evidence.log_e_within() / design_effect,
        y_c / np.maximum(n_c, 1e-300),
        y_b / np.maximum(n_b, 1e-300),
        ratio,
        lower,
        upper,
        n_c,
        n_b,
    )


def compare_share(
    requests: Block,
    share: Floats,
    margin: Floats,
    either: NDArray[np.bool_],
    design_effect: Floats,
    log_thresholds: Floats,
) -> Compared:
    """The canary's share of all requests with what its stage says: ``margin`` 0.2 allows a fifth
    more, and as much less that it would be a fifth more the other way round.

    A share that is too small is harm; one too large is too where it may be ``either``. All by row.
    """
    n_c, n_b = requests.n_canary / design_effect, requests.n_baseline / design_effect
    total = np.maximum(n_c + n_b, 1e-300)
    low = share / (1 + margin)
    high = np.where(either, np.minimum(share * (1 + margin), _WHOLE), _WHOLE)
    shares = Shares(n_c, n_b, share, _SHARE_SHARPNESS)
    least, most = shares.interval(log_thresholds)
    inside = (least >= low) & (most <= high)
    return Compared(
        shares.log_e_outside(low, high),
        np.where(inside, np.inf, 0.0),
        n_c / total,
        share,
        n_c / total / share,
        least / share,
        most / share,
        n_c,
        n_b,
    )


def put_together(
    name: str,
    compared: Compared,
    weights: Floats,
    endpoints: Sequence[str],
    log_threshold: float,
    margin: Limit,
    requests: tuple[int, int],
    *,
    weight: float = 1.0,
    critical: bool = False,
    design_effect: float = 1.0,
    direction: Direction = Direction.INCREASE,
) -> Measured:
    """One metric of one analysis: its comparisons by endpoint, and the endpoints' weights.

    ``requests``: of the canary and of the baseline, as counted.

    The effect is that on the heaviest endpoints with nearly all of the weight, those that both arms have:
    ratios averaged on that of logarithms, each interval held to its share of α. The values are those at the
    baseline's mix.
    """
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order])
    heavy = order[: int(np.searchsorted(sums, NEARLY_ALL * sums[-1])) + 1]
    in_both = heavy[(compared.n_canary[heavy] > 0) & (compared.n_baseline[heavy] > 0)]
    heavy = in_both if len(in_both) else heavy
    shares = weights[heavy]
    effects = np.stack((compared.ratio[heavy], compared.lower[heavy], compared.upper[heavy]))
    with np.errstate(divide="ignore"):
        ratio, lower, upper = np.exp(combined_effect(np.log(effects), shares)).tolist()
    values = np.stack((compared.baseline[heavy], compared.canary[heavy]))
    baseline, canary = combined_effect(values, shares).tolist()
    of_each = compared.log_e_worse + np.log(weights)
    alone = int(of_each.argmax())
    blamed = len(endpoints) > 1 and of_each[alone] >= log_threshold
    threshold = np.array([log_threshold])
    return Measured(
        name,
        float(combined_log_e_of_groups(compared.log_e_worse, weights, _ALONE)[0]),
        log_threshold,
        canary if len(heavy) == 1 or not baseline else baseline * ratio,
        baseline,
        requests,
        float(compared.n_canary.sum()),
        float(compared.n_baseline.sum()),
        ratio,
        lower,
        upper,
        bool(shown_on_nearly_all_of_groups(compared.log_e_within, weights, _ALONE, threshold)[0]),
        margin.ratio,
        margin.floor,
        weight,
        critical,
        endpoints[alone] if blamed else None,
        design_effect,
        direction,
    )
