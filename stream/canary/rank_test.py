"""Mann–Whitney's U on two histograms with the same buckets.

Bucketing is a function of the value alone, so under the null hypothesis both arms stay alike: the test on
buckets, with its correction for ties, is as valid as on the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankTest:
    """``superiority`` is the chance that a request of the canary is the slower one of two, ties shared: U/nm.
    Two-sided ``p``, by the normal approximation with continuity correction."""

    superiority: float
    p: float


def rank_test(canary: Floats, baseline: Floats) -> RankTest:
    """Counts by bucket, from the fastest to the slowest, shape [b] each; neither arm empty.

    U = Σ aⱼ(B_<j + bⱼ/2), Var U = nm/12 · [(N+1) − Σ(tⱼ³−tⱼ)/(N(N−1))] (Lehmann, Nonparametrics, 1975,
    section 1.4).
    """
    n, m = float(canary.sum()), float(baseline.sum())
    assert n > 0, "an arm without requests cannot be ranked"
    assert m > 0, "an arm without requests cannot be ranked"
    below = np.cumsum(baseline) - baseline
    u = float((canary * (below + baseline / 2)).sum())
    ties = canary + baseline
    both = n + m
    tied = float((ties**3 - ties).sum()) / (both * (both - 1)) if both > 1 else 0.0
    variance = n * m / 12 * (both + 1 - tied)
    superiority = u / (n * m)
    if variance <= 0:  # one bucket holds everything
        return RankTest(superiority, 1.0)
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return RankTest(superiority, math.erfc(z / math.sqrt(2)))
