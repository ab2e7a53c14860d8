"""Which change of a quantile is harm: by row a rise, a fall, or either.

A fall is harm when the baseline is above the canary by more than the margin: the same test with the arms
exchanged. Where either is harm, both are bets against "within the margin", and their average is one; and
"within" must be shown on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from stream.canary.margin_maps import Allowances
from stream.canary.quantile_test import QuantileTest
from stream.model.analysis import Direction

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Harmful:
    """By row; one of them at least."""

    rise: NDArray[np.bool_]
    fall: NDArray[np.bool_]

    @classmethod
    def of(cls, directions: Sequence[Direction]) -> Harmful:
        return cls(
            np.array([one is not Direction.DECREASE for one in directions], np.bool_),
            np.array([one is not Direction.INCREASE for one in directions], np.bool_),
        )


def log_e_of_quantiles(test: QuantileTest, margin: Allowances, harmful: Harmful) -> tuple[Floats, Floats]:
    """Evidence against "within the margin", and against "beyond" it."""
    if not harmful.fall.any():
        return test.log_e_worse(margin), test.log_e_within(margin)
    worse, within = np.full((2, len(test.rows)), -np.inf), np.full((2, len(test.rows)), np.inf)
    for side, (one, which) in enumerate(((test, harmful.rise), (test.swapped(), harmful.fall))):
        some = np.flatnonzero(which)
        part, allowed = one.take(some), margin.take(some)
        worse[side, some], within[side, some] = part.log_e_worse(allowed), part.log_e_within(allowed)
    both = harmful.rise & harmful.fall
    return np.logaddexp(*worse) - np.where(both, log(2), 0), within.min(axis=0)
