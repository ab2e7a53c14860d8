"""Is the canary's error rate beyond a margin above the baseline's? Valid at every look, under any split.

After Turner, Ly & Grünwald, "Generic E-variables for exact sequential k-sample tests" (arXiv 2106.02693), and
Turner & Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond" (2203.09785).
Requests come in blocks. For each, rates are estimated from earlier blocks alone; where they are beyond the
margin the block's likelihood under them is divided by the one under the nearest rates within it:

    E ← E · Π_g θ̂_g^y_g (1−θ̂_g)^(n_g−y_g) / Π_g θ°_g^y_g (1−θ°_g)^(n_g−y_g)

That is an e-variable whatever the true rates within the margin are, because what the margin allows is convex:
with s_g = (θ̂_g−θ°_g)/(θ°_g(1−θ°_g)) the expectation is Π_g (1 + (θ_g−θ°_g)·s_g)^n_g ≤ exp Σ n_g
(θ_g−θ°_g)·s_g ≤ 1, the last by θ° being nearest. So traffic may move between the arms at will, and rates
that rise and fall for both alike are no harm.

"Within the margin" is θ_c ≤ ratio·θ_b **or** θ_c ≤ θ_b + floor. That is two convex sets, each with its own E;
against both speaks the lesser of them. Against "beyond", which is both at once, speaks their average.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log

import numpy as np
from numpy.typing import NDArray

from stream.canary.null_line import nearest_on_line

Floats = NDArray[np.float64]

_HALF = 0.5
"""Before anything is known, each arm's rate is the common one, with as much weight as half an error."""
_LEAST_RATE = 1e-12


@dataclass(frozen=True, slots=True)
class RateMargin:
    """How much higher a rate may be: by this ratio, or by this difference where that is more."""

    ratio: float = 1.0
    floor: float = 0.0

    @property
    def lines(self) -> tuple[tuple[float, float], ...]:
        """(ratio, difference) of each edge."""
        if not self.floor:
            return ((self.ratio, 0.0),)
        if self.ratio == 1:
            return ((1.0, self.floor),)
        return (self.ratio, 0.0), (1.0, self.floor)

    def limit(self, baseline: Floats | float) -> Floats:
        return np.maximum(np.asarray(baseline) * self.ratio, np.asarray(baseline) + self.floor)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Requests and errors of both arms by row, since the look before. Effective numbers, if sampled."""

    n_canary: Floats
    bad_canary: Floats
    n_baseline: Floats
    bad_baseline: Floats

    def __post_init__(self) -> None:
        for n, bad in ((self.n_canary, self.bad_canary), (self.n_baseline, self.bad_baseline)):
            assert ((bad >= 0) & (bad <= n)).all(), "more errors than requests"

    def plus(self, other: Block) -> Block:
        return Block(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Block)))

    @classmethod
    def none(cls, rows: int) -> Block:
        return cls(*(np.zeros(rows) for _ in fields(cls)))


@dataclass(frozen=True, slots=True, eq=False)
class ErrorEvidence:
    """What earlier blocks add up to, and their evidence; one row for each of several comparisons.

    Blocks are added in the order of their time. What comes late belongs to the next block.
    """

    margin: RateMargin
    so_far: Block
    worse: Floats
    """[lines, rows] ln E against each edge of "within the margin"."""
    within: Floats
    """[lines, rows] ln E against the same edges, from the other side."""

    @classmethod
    def start(cls, rows: int, margin: RateMargin) -> ErrorEvidence:
        nothing = np.zeros((len(margin.lines), rows))
        return cls(margin, Block.none(rows), nothing, nothing)

    def estimates(self) -> tuple[Floats, Floats]:
        """(canary, baseline) rates, never 0 or 1, from the blocks so far."""
        seen = self.so_far
        common = (seen.bad_canary + seen.bad_baseline + _HALF) / (seen.n_canary + seen.n_baseline + 1)
        weight = _HALF / common
        canary = (seen.bad_canary + _HALF) / (seen.n_canary + weight)
        baseline = (seen.bad_baseline + _HALF) / (seen.n_baseline + weight)
        return (
            np.clip(canary, _LEAST_RATE, 1 - _LEAST_RATE),
            np.clip(baseline, _LEAST_RATE, 1 - _LEAST_RATE),
        )

    def add(self, block: Block) -> ErrorEvidence:
        canary, baseline = self.estimates()
        there = (block.n_canary > 0) | (block.n_baseline > 0)
        worse, within = self.worse.copy(), self.within.copy()
        for i, (ratio, difference) in enumerate(self.margin.lines):
            beyond = canary > ratio * baseline + difference
            gain = np.zeros(len(canary))
            gain[there] = _gain(_rows(block, there), canary[there], baseline[there], ratio, difference)
            worse[i] += np.where(beyond, gain, 0)
            within[i] += np.where(beyond, 0, gain)
        return ErrorEvidence(self.margin, self.so_far.plus(block), worse, within)

    def log_e_worse(self) -> Floats:
        """Evidence against "the canary's rate is within the margin"."""
        return np.asarray(self.worse.min(axis=0))

    def log_e_within(self) -> Floats:
        """Evidence against "the canary's rate is beyond the margin"."""
        return np.asarray(np.logaddexp.reduce(self.within, axis=0) - log(len(self.within)))

    def take(self, rows: NDArray[np.int64]) -> ErrorEvidence:
        """Some of the rows, in the order asked for."""
        return ErrorEvidence(self.margin, _rows(self.so_far, rows), self.worse[:, rows], self.within[:, rows])

    def columns(self) -> Floats:
        """[4 + 2·lines, rows]: the whole state but for the margin."""
        seen = [getattr(self.so_far, f.name) for f in fields(Block)]
        return np.concatenate((np.stack(seen), self.worse, self.within))

    @classmethod
    def from_columns(cls, columns: Floats, margin: RateMargin) -> ErrorEvidence:
        """Raises ValueError when they are not those of :meth:`columns`."""
        lines = len(margin.lines)
        if columns.ndim != 2 or len(columns) != 4 + 2 * lines or not np.isfinite(columns).all():
            raise ValueError(f"these columns are no evidence on {lines} edges of a margin")
        n_canary, bad_canary, n_baseline, bad_baseline = columns[:4]
        if (bad_canary < 0).any() or (bad_baseline < 0).any():
            raise ValueError("a negative number of errors")
        if (bad_canary > n_canary).any() or (bad_baseline > n_baseline).any():
            raise ValueError("more errors than requests")
        block = Block(n_canary, bad_canary, n_baseline, bad_baseline)
        return cls(margin, block, columns[4 : 4 + lines], columns[4 + lines :])


def _rows(block: Block, which: NDArray[np.bool_] | NDArray[np.int64]) -> Block:
    return Block(*(getattr(block, f.name)[which] for f in fields(Block)))


def _gain(block: Block, canary: Floats, baseline: Floats, ratio: float, difference: float) -> Floats:
    """ln of the block's likelihood at the estimates over that at the nearest rates on the line."""
    null_c, null_b = nearest_on_line(canary, baseline, block.n_canary, block.n_baseline, ratio, difference)
    return _log_ratio(block.bad_canary, block.n_canary, canary, null_c) + _log_ratio(
        block.bad_baseline, block.n_baseline, baseline, null_b
    )


def _log_ratio(bad: Floats, n: Floats, estimate: Floats, null: Floats) -> Floats:
    # An arm without requests may be given a rate of 0 or 1: it says nothing, whatever the rate.
    null = np.clip(null, _LEAST_RATE / 2, 1 - _LEAST_RATE / 2)
    good = np.log1p(-estimate) - np.log1p(-null)
    return np.asarray(bad * (np.log(estimate) - np.log(null)) + (n - bad) * good)
