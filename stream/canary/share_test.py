"""Whose are the events, at a known or constant share of traffic? Valid at every look.

After Lindon & Malek, "Anytime-valid inference for multinomial count data" (arXiv 2011.03567). If each of the
events of both arms is the canary's with probability ρ, the beta-binomial mixture

    BF = B(am + Y_c, a(1−m) + Y_b) / B(am, a(1−m)) / (ρ^Y_c (1−ρ)^Y_b)

is a martingale that begins at 1, whatever m and a are: they say where deviations are looked for (theirs is
m = ρ). In ρ it is least at the observed share, and grows from there. Traffic may rise and fall as it likes,
only the split must stay. That gives

- a test of the **throughput share** itself: does the canary get what its stage says;
- a confidence sequence for a **ratio of rare rates** (errors): at a ratio r and n requests of each arm, an
  error is the canary's with probability n_c·r / (n_c·r + n_b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.canary.log_beta import log_beta

Floats = NDArray[np.float64]

WIDEST_RATIO = 1024.0
"""Ratios beyond it, or below its inverse, are reported as unbounded."""
_STEPS = 60
_FAR = 30.0
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Events so far by row, and where deviations are looked for."""

    canary: Floats
    baseline: Floats
    middle: Floats
    """m, strictly between 0 and 1: fixed before the events, such as the share that the stage says."""
    sharpness: float
    """a: the larger, the smaller the deviations that it is best at."""

    def log_e(self, share: Floats) -> Floats:
        """Evidence against "each event is the canary's with probability ``share``"."""
        a, b = self.sharpness * self.middle, self.sharpness * (1 - self.middle)
        mixed = log_beta(a + self.canary, b + self.baseline) - log_beta(a, b)
        return np.asarray(mixed - self.canary * np.log(share) - self.baseline * np.log1p(-share))

    def log_e_outside(self, low: Floats, high: Floats) -> Floats:
        """Evidence against "the canary's share lies in [low, high]": that of the one that says least."""
        return self.log_e(np.clip(self._observed(), low, high))

    def interval(self, log_threshold: Floats | float) -> tuple[Floats, Floats]:
        """Between which shares the true one lies at every look: wrong at α = e^(−log_threshold) at most."""
        return self._edge(log_threshold, 0.0), self._edge(log_threshold, 1.0)

    def _observed(self) -> Floats:
        total = self.canary + self.baseline
        return np.where(total > 0, self.canary / np.maximum(total, 1e-300), self.middle)

    def _edge(self, log_threshold: Floats | float, end: float) -> Floats:
        """The share from which on towards ``end`` all are refuted, or ``end`` if none is: by halving in
        log-odds."""
        kept = np.clip(self._observed(), _LEAST_SHARE, 1 - _LEAST_SHARE)
        inside, outside = np.log(kept) - np.log1p(-kept), np.full_like(kept, _FAR if end else -_FAR)
        never = self.log_e(_of_odds(outside)) < log_threshold
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            gone = self.log_e(_of_odds(middle)) >= log_threshold
            inside, outside = np.where(gone, inside, middle), np.where(gone, middle, outside)
        return np.where(never, end, _of_odds(outside))


def _of_odds(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def ratio_interval(
    bad_canary: Floats,
    n_canary: Floats,
    bad_baseline: Floats,
    n_baseline: Floats,
    sharpness: float,
    log_threshold: Floats | float,
) -> tuple[Floats, Floats]:
    """Between which values the ratio of the arms' error rates lies at every look, with both numbers of errors
    divided by a design effect already; 0 and inf where there is no bound."""
    none = (n_canary <= 0) | (n_baseline <= 0)
    split = np.where(none, 0.5, n_canary / np.maximum(n_canary + n_baseline, 1e-300))
    low, high = Shares(bad_canary, bad_baseline, split, sharpness).interval(log_threshold)
    traffic = n_baseline / np.maximum(n_canary, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        least, most = low / (1 - low) * traffic, high / (1 - high) * traffic
    least = np.where(none | (least < 1 / WIDEST_RATIO), 0, least)
    return least, np.where(none | (most > WIDEST_RATIO), np.inf, most)


def difference_of_ratio(ratio: Floats, bad: Floats, n_canary: Floats, n_baseline: Floats) -> Floats:
    """By how much the rates differ at this ratio, with ``bad`` errors in all; inf: all the canary's."""
    with np.errstate(invalid="ignore", divide="ignore"):
        finite = bad * (ratio - 1) / (n_canary * ratio + n_baseline)
        return np.where(np.isinf(ratio), bad / n_canary, finite)
