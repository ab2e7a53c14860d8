"""Logarithms of the gamma and beta functions for whole columns, which numpy has not."""

from __future__ import annotations

from math import log, pi

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LARGE = 8.0
"""From here on Stirling's series of six terms is exact to 10⁻¹⁴."""
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_HALF_LOG_TAU = log(2 * pi) / 2


def log_gamma(x: Floats) -> Floats:
    """ln Γ(x) for x > 0; within 10⁻¹³ of it, or of its size where that is larger."""
    small = x < _LARGE
    any_small = bool(small.any())
    far = np.where(small, x + _LARGE, x) if any_small else x
    inverse = 1 / far
    square = inverse * inverse
    series = np.zeros_like(far)
    for term in reversed(_SERIES):
        series = series * square + term
    result = (far - 0.5) * np.log(far) - far + _HALF_LOG_TAU + series * inverse
    if any_small:
        near = x[small]
        product = near.copy()
        for step in range(1, int(_LARGE)):
            product *= near + step
        result[small] -= np.log(product)
    return result


def digamma(x: Floats) -> tuple[Floats, Floats]:
    """ψ(x) and its derivative for x > 0; within 10⁻¹¹ of them, or of their size."""
    value, slope = np.zeros_like(x), np.zeros_like(x)
    far = x
    for _ in range(int(_LARGE)):
        small = far < _LARGE
        if not small.any():
            break
        here = np.where(small, far, np.inf)
        value -= 1 / here
        slope += 1 / (here * here)
        far = np.where(small, far + 1, far)
    inverse = 1 / far
    square = inverse * inverse
    value += (
        np.log(far) - inverse / 2 - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    )
    slope += (
        inverse
        + square / 2
        + square * inverse * (1 / 6 - square * (1 / 30 - square * (1 / 42 - square / 30)))
    )
    return value, slope


def log_beta(a: Floats, b: Floats) -> Floats:
    """ln B(a, b) for a, b > 0."""
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)
