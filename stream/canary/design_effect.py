"""By how much requests that come in bursts say less than as many independent ones.

Retries, noisy neighbours and bad minutes make the requests of one pane alike. Where requests were
independent, the difference of the arms' rates in a pane would scatter around its mean by θ(1−θ)(1/n_c +
1/n_b). By how much more it does is the design effect; all counts are divided by it.

It is the *difference* that is looked at: what hits both arms in the same pane is no evidence against either,
and takes none away. A lasting harm does not scatter, and so does not hide behind a design effect.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHRINKAGE_PANES = 4.0
"""The estimate is drawn towards 1 as if by so many panes without bursts."""
_FEWEST_PANES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Sums over panes, by row; those of different panes may be added in any order."""

    panes: Floats
    """Panes in which both arms had requests, and any of them was bad."""
    weight: Floats
    """Σ h, h = n_c·n_b/(n_c + n_b)."""
    first: Floats
    """Σ h·d, d the difference of the rates in a pane."""
    second: Floats
    """Σ h·d²"""
    expected: Floats
    """What ``second`` would be if all requests were independent and the arms alike."""
    n_canary: Floats
    bad_canary: Floats
    n_baseline: Floats
    bad_baseline: Floats
    """Of those panes together."""

    @classmethod
    def none(cls, rows: int) -> Scatter:
        return cls(*(np.zeros(rows) for _ in fields(cls)))

    @classmethod
    def of_pane(
        cls, n_canary: Floats, bad_canary: Floats, n_baseline: Floats, bad_baseline: Floats
    ) -> Scatter:
        """Of one pane. ``bad``: errors; or, for a quantile, requests above it (as known before the pane)."""
        n = n_canary + n_baseline
        bad = bad_canary + bad_baseline
        counts = (n_canary > 0) & (n_baseline > 0) & (bad > 0) & (bad < n)
        safe_c, safe_b, safe = (np.where(counts, x, 1.0) for x in (n_canary, n_baseline, n))
        h = np.where(counts, safe_c * safe_b / safe, 0)
        d = bad_canary / safe_c - bad_baseline / safe_b
        rate = np.where(counts, bad / safe, 0)
        spread = rate * (1 - rate) * safe / np.maximum(safe - 1, 1)
        kept = (np.where(counts, x, 0) for x in (n_canary, bad_canary, n_baseline, bad_baseline))
        return cls(counts.astype(np.float64), h, h * d, h * d * d, np.where(counts, spread, 0), *kept)

    def plus(self, other: Scatter) -> Scatter:
        return Scatter(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Scatter)))

    def take(self, rows: NDArray[np.int64]) -> Scatter:
        return Scatter(*(getattr(self, f.name)[rows] for f in fields(Scatter)))

    def columns(self) -> Floats:
        """[9, rows]: the whole state."""
        return np.stack([getattr(self, f.name) for f in fields(Scatter)])

    @classmethod
    def from_columns(cls, columns: Floats) -> Scatter:
        """Raises ValueError when they are not those of :meth:`columns`."""
        if columns.ndim != 2 or len(columns) != len(fields(cls)) or not np.isfinite(columns).all():
            raise ValueError("these columns are no scatter")
        return cls(*columns)

    def _of_unlike_arms(self) -> Floats:
        """By how much more the difference scatters where one arm's rate is a multiple of the other's."""
        n_c, n_b = np.maximum(self.n_canary, 1), np.maximum(self.n_baseline, 1)
        of_c, of_b, of_all = (
            rate * (1 - rate)
            for rate in (
                self.bad_canary / n_c,
                self.bad_baseline / n_b,
                (self.bad_canary + self.bad_baseline) / (n_c + n_b),
            )
        )
        alike = of_all * (1 / n_c + 1 / n_b)
        return np.where(alike > 0, (of_c / n_c + of_b / n_b) / np.maximum(alike, 1e-300), 1)

    def design_effect(self) -> Floats:
        """At least 1; 1 of too few panes to tell."""
        degrees = np.maximum(self.panes - 1, 0)
        around = self.second - self.first * self.first / np.maximum(self.weight, 1e-300)
        expected = self.expected * self._of_unlike_arms() * degrees / np.maximum(self.panes, 1)
        raw = np.where(expected > 0, around / np.maximum(expected, 1e-300), 1)
        shrunk = (SHRINKAGE_PANES + degrees * raw) / (SHRINKAGE_PANES + degrees)
        return np.where(self.panes < _FEWEST_PANES, 1.0, np.maximum(shrunk, 1.0))
