"""The shift between two samples: Mann–Whitney's confidence interval and the Hodges–Lehmann estimate.

Normal approximation with the correction for ties, as R's ``wilcox.test(exact = FALSE, conf.int = TRUE)``
(Hollander & Wolfe, Nonparametric Statistical Methods, section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PUBLISHED_TOLERANCE = 1e-4
"""How far the published root finder may be off, in the metric's own unit: with values around 1e-5 it finds
nothing."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How much larger the experiment's values are."""

    low: float
    high: float
    estimate: float
    standard: float = 0.0
    """Standardised rank sum where nothing is shifted: its sign and size hold where most values are equal, and
    every estimate of a shift is zero."""
    beyond: float = 0.0
    """From which size on that is significant."""


def wilcoxon_difference(
    experiment: Floats, control: Floats, shift: float, quantile: float, *, corrected: bool = True
) -> float:
    """Standardised rank sum of the experiment less a shift, minus a quantile: it falls as the shift grows."""
    n, m = len(experiment), len(control)
    _, place, ties = np.unique(
        np.concatenate([experiment - shift, control]), return_inverse=True, return_counts=True
    )
    before = np.cumsum(ties) - ties
    ranks = (before + (ties + 1) / 2)[place]
    rank_sum = float(ranks[:n].sum()) - n * (n + 1) / 2 - n * m / 2
    correction = float(np.sign(rank_sum)) * 0.5 if corrected else 0.0
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / ((n + m) * (n + m - 1))
    sigma = float(np.sqrt(n * m / 12 * ((n + m + 1) - tied)))
    return (rank_sum - correction) / sigma - quantile if sigma else float(np.sign(rank_sum)) - quantile


def shift_between(
    experiment: Floats, control: Floats, confidence: float, *, as_published: bool = False
) -> Shift:
    """Shapes [n] and [m], finite, neither empty. Where both are constant there is nothing to estimate."""
    if np.ptp(experiment) == 0 and np.ptp(control) == 0:
        only = float(experiment[0] - control[0])
        return Shift(only, only, only)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    least, most = float(experiment.min() - control.max()), float(experiment.max() - control.min())
    find = _by_brent if as_published else _exactly(experiment, control)

    def root(quantile: float, corrected: bool) -> float:
        def at(shift: float) -> float:
            return wilcoxon_difference(experiment, control, shift, quantile, corrected=corrected)

        if at(least) <= 0:
            return least
        return most if at(most) >= 0 else find(at, least, most)

    standard = wilcoxon_difference(experiment, control, 0.0, 0.0)
    return Shift(root(z, True), root(-z, True), root(0.0, False), standard, z)


Finder = Callable[[Callable[[float], float], float, float], float]


def _by_brent(at: Callable[[float], float], low: float, high: float) -> float:
    """A root up to the published tolerance (Brent, Algorithms for Minimization without Derivatives, 1973)."""
    b, f_b, a, f_a = high, at(high), low, at(low)
    c, f_c = a, f_a
    step = last = b - a
    while True:
        if abs(f_c) < abs(f_b):
            a, b, c = b, c, b
            f_a, f_b, f_c = f_b, f_c, f_b
        half = (c - b) / 2
        if abs(half) <= PUBLISHED_TOLERANCE / 2 or f_b == 0:
            return b
        last, step = step, _step(a, b, c, f_a, f_b, f_c, last)
        a, f_a = b, f_b
        b += step if abs(step) > PUBLISHED_TOLERANCE / 2 else math.copysign(PUBLISHED_TOLERANCE / 2, half)
        f_b = at(b)
        if (f_b > 0) == (f_c > 0):
            c, f_c = a, f_a
            step = last = b - a


def _step(a: float, b: float, c: float, f_a: float, f_b: float, f_c: float, last: float) -> float:
    """By interpolation where that stays inside and gets on, else by halving."""
    half = (c - b) / 2
    if abs(last) < PUBLISHED_TOLERANCE / 2 or abs(f_a) <= abs(f_b):
        return half
    s = f_b / f_a
    if a == c:
        p, q = 2 * half * s, 1 - s
    else:
        q, r = f_a / f_c, f_b / f_c
        p, q = s * (2 * half * q * (q - r) - (b - a) * (r - 1)), (q - 1) * (r - 1) * (s - 1)
    p, q = (p, -q) if p > 0 else (-p, q)
    inside = 2 * p < min(3 * half * q - abs(PUBLISHED_TOLERANCE / 2 * q), abs(last * q))
    return p / q if inside else half


def _exactly(experiment: Floats, control: Floats) -> Finder:
    """The function only steps where a shift makes two values equal: the root is one of these differences, or
    the middle of those between which it is zero."""
    steps = np.unique(np.subtract.outer(experiment, control))

    def find(at: Callable[[float], float], low: float, high: float) -> float:
        def first(is_past: Callable[[float], bool]) -> int:
            """The first gap between two steps in which the function is so."""
            a, b = 0, len(steps) - 1
            while a < b:
                middle = (a + b) // 2
                inside = float(steps[middle] + steps[middle + 1]) / 2
                a, b = (a, middle) if is_past(at(inside)) else (middle + 1, b)
            return a

        start, end = first(lambda value: value <= 0), first(lambda value: value < 0)
        return float(steps[start] + steps[end]) / 2

    return find
