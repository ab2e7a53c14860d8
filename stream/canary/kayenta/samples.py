"""What happens to a metric's points before they are compared, and how large a difference is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

IQR_FACTOR = 3.0
FENCE_PERCENTILES = (1.0, 99.0)


def without_nan(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def zeros_for_nan(values: Floats) -> Floats:
    return np.where(np.isnan(values), 0.0, values)


def percentile(values: Floats, p: float) -> float:
    """Type 7 of Hyndman & Fan (The American Statistician, 1996): linear between order statistics."""
    return float(np.percentile(values, p, method="linear"))


def iqr_outliers(values: Floats, factor: float, *, fences: bool = False) -> NDArray[np.bool_]:
    """Beyond ``factor`` interquartile ranges from the quartiles. ``fences``: never within the 1st to the 99th
    percentile."""
    if not len(values):
        return np.zeros(0, np.bool_)
    q1, q3 = percentile(values, 25), percentile(values, 75)
    low, high = q1 - factor * (q3 - q1), q3 + factor * (q3 - q1)
    if fences:
        low = min(low, percentile(values, FENCE_PERCENTILES[0]))
        high = max(high, percentile(values, FENCE_PERCENTILES[1]))
    return (values < low) | (values > high)


def sigma_outliers(values: Floats, k: float) -> NDArray[np.bool_]:
    """More than ``k`` standard deviations of the sample from its mean."""
    if len(values) < 2:
        return np.zeros(len(values), np.bool_)
    return np.asarray(np.abs(values - values.mean()) > k * values.std(ddof=1))


def mean_ratio(experiment: Floats, control: Floats) -> float:
    """1 where both means are equal; NaN where one of them is zero."""
    mine, theirs = float(experiment.mean()), float(control.mean())
    if mine == theirs:
        return 1.0
    return math.nan if 0 in (mine, theirs) else mine / theirs


def cles(experiment: Floats, control: Floats) -> float:
    """Common language effect size: the chance that a value of the experiment is the larger one, ties shared
    (McGraw & Wong, Psychological Bulletin, 1992)."""
    ordered = np.sort(control)
    below = np.searchsorted(ordered, experiment, "left")
    up_to = np.searchsorted(ordered, experiment, "right")
    return float((below + up_to).sum()) / 2 / (len(experiment) * len(control))


def cohen_d(experiment: Floats, control: Floats) -> float:
    """Difference of the means in pooled standard deviations (Cohen, Statistical Power Analysis, 1988)."""
    n, m = len(experiment), len(control)
    spread = (n - 1) * float(experiment.var(ddof=1)) + (m - 1) * float(control.var(ddof=1))
    return abs(float(experiment.mean()) - float(control.mean())) / math.sqrt(spread / (n + m - 2))
