"""Where two estimated rates come nearest to the line "canary = ratio · baseline + difference"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_STEPS = 80
_CLOSE = 1e-13
_LEAST_RATE = 1e-13


def nearest_on_line(
    canary: Floats,
    baseline: Floats,
    n_canary: Floats,
    n_baseline: Floats,
    ratio: Floats,
    difference: Floats,
) -> tuple[Floats, Floats]:
    """The rates (canary, baseline) on each row's line of least n_c·KL(canary‖·) + n_b·KL(baseline‖·).

    Rates strictly between 0 and 1, counts ≥ 0; of no requests in either arm, the baseline's rate. All shapes
    are [rows].
    """
    n_baseline = np.where(n_canary + n_baseline > 0, n_baseline, 1.0)
    on_line = _on_ray(canary, baseline, n_canary, n_baseline, ratio)
    other = np.flatnonzero(difference)
    if len(other):
        columns = (canary, baseline, n_canary, n_baseline, ratio, difference)
        on_line[other] = _on_any(*(column[other] for column in columns))
    on_line = np.clip(on_line, *_ends(ratio, difference))
    return ratio * on_line + difference, on_line


def _ends(ratio: Floats, difference: Floats) -> tuple[Floats, Floats]:
    """Between which baselines' rates the canary's is one as well."""
    return np.maximum(-difference / ratio, 0), np.minimum((1 - difference) / ratio, 1)


def _on_ray(canary: Floats, baseline: Floats, n_canary: Floats, n_baseline: Floats, ratio: Floats) -> Floats:
    # The derivative's zero is the lesser root of a·t² − b·t + c.
    a = ratio * (n_baseline + n_canary)
    b = n_baseline * (1 + baseline * ratio) + n_canary * (ratio + canary)
    c = n_baseline * baseline + n_canary * canary
    return np.asarray(2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0))))


def _on_any(
    canary: Floats,
    baseline: Floats,
    n_canary: Floats,
    n_baseline: Floats,
    ratio: Floats,
    difference: Floats,
) -> Floats:
    # The zero of an ascending derivative, between what suits each arm by itself: Newton, kept in its bracket.
    least, most = _ends(ratio, difference)
    alone = np.clip((canary - difference) / ratio, least, most)
    low, high = np.minimum(baseline, alone), np.maximum(baseline, alone)
    low, high = np.maximum(low, least), np.minimum(high, most)
    t = (low + high) / 2
    # A row that is found stays as it is: nothing may depend on what else is looked for beside it.
    found = np.zeros(t.shape, np.bool_)
    for _ in range(_MOST_STEPS):
        # On the ends of the line one rate is 0 or 1, where there is no slope.
        inner, u = _inside(t), _inside(ratio * t + difference)
        of_t, of_u = inner * (1 - inner), u * (1 - u)
        slope = n_baseline * (inner - baseline) / of_t + ratio * n_canary * (u - canary) / of_u
        low, high = np.where(slope <= 0, t, low), np.where(slope >= 0, t, high)
        bend = n_baseline * _bend(inner, baseline, of_t) + ratio * ratio * n_canary * _bend(u, canary, of_u)
        step = t - slope / bend
        inside = (step > low) & (step < high)
        following = np.where(found, t, np.where(inside, step, (low + high) / 2))
        found |= np.abs(following - t) <= _CLOSE * following
        t = following
        if found.all():
            break
    return t


def _inside(rate: Floats) -> Floats:
    return np.clip(rate, _LEAST_RATE, 1 - _LEAST_RATE)


def _bend(x: Floats, rate: Floats, variance: Floats) -> Floats:
    return np.asarray((variance - (x - rate) * (1 - 2 * x)) / (variance * variance))
