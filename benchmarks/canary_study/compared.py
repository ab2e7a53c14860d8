"""What the sequential method is compared with, on the same data: tests for one look, at every minute."""

from __future__ import annotations

from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.rollouts import Counts

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SIGNIFICANT = 0.05


def fixed_looks(canary: Counts, baseline: Counts) -> Flags:
    """Mann–Whitney U on latencies, or χ² with Yates' correction on errors, at p < 0.05 to its harm."""
    return _slower(canary, baseline) | _more_errors(canary, baseline)


def _p(z: Floats) -> Floats:
    return np.array([erfc(abs(one) / sqrt(2)) for one in z])


def _slower(canary: Counts, baseline: Counts) -> Flags:
    a, b = (arm.latencies.sum(axis=1).astype(np.float64) for arm in (canary, baseline))
    n, m = a.sum(axis=1), b.sum(axis=1)
    total = n + m
    u = (a * (np.cumsum(b, axis=1) - b / 2)).sum(axis=1)
    ties = ((a + b) ** 3 - (a + b)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
        away = u - n * m / 2
        z = np.sign(away) * np.maximum(np.abs(away) - 0.5, 0) / deviation
    z = np.nan_to_num(z)
    return np.asarray((z > 0) & (_p(z) < SIGNIFICANT))


def _more_errors(canary: Counts, baseline: Counts) -> Flags:
    n_c, y_c, n_b, y_b = (
        x.sum(axis=1).astype(np.float64)
        for x in (canary.requests, canary.errors, baseline.requests, baseline.errors)
    )
    total, bad = n_c + n_b, y_c + y_b
    with np.errstate(invalid="ignore", divide="ignore"):
        away = np.maximum(np.abs(y_c * (n_b - y_b) - y_b * (n_c - y_c)) - total / 2, 0)
        chi = np.sqrt(total * away**2 / (n_c * n_b * bad * (total - bad)))
        more = y_c / n_c > y_b / n_b
    return np.asarray(more & (_p(np.nan_to_num(chi)) < SIGNIFICANT))
