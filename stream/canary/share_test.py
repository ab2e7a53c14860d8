"""Whose are the events, at a known or constant share of traffic? Valid at every look.

After Lindon & Malek, "Anytime-valid inference for multinomial count data" (arXiv 2011.03567). If each of the
events of both arms is the canary's with probability ρ, the beta-binomial mixture

    BF = B(aρ + Y_c, a(1−ρ) + Y_b) / B(aρ, a(1−ρ)) / (ρ^Y_c (1−ρ)^Y_b)

is a martingale that begins at 1. Traffic may rise and fall as it likes, only the split must stay. That gives

- a test of the **throughput share** itself: does the canary get what its stage says;
- a confidence sequence for a **ratio of rare rates** (errors): at a ratio r and n requests of each arm, an
  error
  is the canary's with probability n_c·r / (n_c·r + n_b).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.canary.log_beta import log_beta

Floats = NDArray[np.float64]

WIDEST_RATIO = 1024.0
"""Ratios beyond it, or below its inverse, are reported as unbounded."""
_STEPS = 60


def log_e_share(canary: Floats, baseline: Floats, share: Floats, sharpness: Floats | float) -> Floats:
    """Evidence against "each event is the canary's with probability ``share``", from counts so far.

    ``sharpness`` is a of the mixture: the larger, the smaller the deviations that it is best at.
    """
    a, b = sharpness * share, sharpness * (1 - share)
    mixed = log_beta(a + canary, b + baseline) - log_beta(a, b)
    return np.asarray(mixed - canary * np.log(share) - baseline * np.log1p(-share))


def share_interval(
    canary: Floats, baseline: Floats, sharpness: Floats | float, log_threshold: float
) -> tuple[Floats, Floats]:
    """Between which shares the true one lies at every look: wrong at α = e^(−log_threshold) at most."""
    total = np.maximum(canary + baseline, 1e-300)
    middle = np.where(canary + baseline > 0, canary / total, 0.5)
    low = _edge(canary, baseline, sharpness, log_threshold, middle, np.zeros_like(middle))
    high = _edge(canary, baseline, sharpness, log_threshold, middle, np.ones_like(middle))
    return low, high


def _edge(
    canary: Floats,
    baseline: Floats,
    sharpness: Floats | float,
    log_threshold: float,
    kept: Floats,
    out: Floats,
) -> Floats:
    """The share between ``kept`` and ``out`` from which on all are refuted; ``out`` if none is.

    Found by halving in log-odds, where the Bayes factor has one minimum.
    """
    to_high = out > 0.5
    inside = np.log(np.clip(kept, 1e-15, 1 - 1e-15)) - np.log1p(-np.clip(kept, 1e-15, 1 - 1e-15))
    outside = np.where(to_high, 40.0, -40.0)

    def refuted(odds: Floats) -> NDArray[np.bool_]:
        share = np.clip(1 / (1 + np.exp(-odds)), 1e-17, 1 - 1e-16)
        return log_e_share(canary, baseline, share, sharpness) >= log_threshold

    never = ~refuted(outside)
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        gone = refuted(middle)
        inside, outside = np.where(gone, inside, middle), np.where(gone, middle, outside)
    return np.where(never, out, 1 / (1 + np.exp(-outside)))


def log_e_share_outside(
    canary: Floats, baseline: Floats, low: Floats, high: Floats, sharpness: Floats | float
) -> Floats:
    """Evidence against "the canary's share lies in [low, high]": that of the share in it that says least."""
    total = np.maximum(canary + baseline, 1e-300)
    # The Bayes factor of a share grows with its distance (in log-odds) from about the observed one.
    seen = np.clip((canary + 0.5) / (total + 1), low, high)
    nearby = np.clip(canary / total, low, high)
    return np.minimum(
        log_e_share(canary, baseline, seen, sharpness), log_e_share(canary, baseline, nearby, sharpness)
    )


def ratio_interval(
    bad_canary: Floats,
    n_canary: Floats,
    bad_baseline: Floats,
    n_baseline: Floats,
    sharpness: Floats | float,
    log_threshold: float,
) -> tuple[Floats, Floats]:
    """Between which values the ratio of the arms' error rates lies at every look, with both numbers of errors
    divided by a design effect already; 0 and inf where there is no bound."""
    low, high = share_interval(bad_canary, bad_baseline, sharpness, log_threshold)
    traffic = n_baseline / np.maximum(n_canary, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        least, most = low / (1 - low) * traffic, high / (1 - high) * traffic
    empty = (n_canary <= 0) | (n_baseline <= 0)
    least = np.where(empty | (least < 1 / WIDEST_RATIO), 0, least)
    return least, np.where(empty | (most > WIDEST_RATIO), np.inf, most)


def difference_of_ratio(ratio: Floats, bad: Floats, n_canary: Floats, n_baseline: Floats) -> Floats:
    """By how much the rates differ at this ratio, with ``bad`` errors in all; inf: all the canary's."""
    with np.errstate(invalid="ignore", divide="ignore"):
        finite = bad * (ratio - 1) / (n_canary * ratio + n_baseline)
        return np.where(np.isinf(ratio), bad / n_canary, finite)
