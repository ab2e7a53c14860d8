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

A baseline of the past is there before the canary's first request, so that no block has requests of both arms.
Then each arm is a bet of its own (Robbins' mixture over all rates) against the rates within the margin that
explain both best, on the counts so far (``all_at_once``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream.canary.log_beta import log_beta
from stream.canary.null_line import nearest_on_line

Floats = NDArray[np.float64]

_HALF = 0.5
"""Before anything is known, each arm's rate is the common one, with as much weight as half an error."""
_LEAST_RATE = 1e-12
_MOST_FLOOR = 1 - 1e-6
"""A difference of 1 no rates can have: then nothing is beyond the margin."""
EDGES = 2
EVIDENCE_ROWS = 4 + 2 * EDGES
"""Of the state: four counts, and evidence on both sides of the edges."""


@dataclass(frozen=True, slots=True, eq=False)
class RateMargin:
    """By row, how much higher a rate may be: by this ratio, or by this difference where that is more."""

    ratio: Floats
    floor: Floats

    @classmethod
    def same(cls, rows: int, ratio: float = 1.0, floor: float = 0.0) -> RateMargin:
        """One margin for all rows."""
        return cls(np.full(rows, ratio), np.full(rows, floor))

    @classmethod
    def concat(cls, parts: Sequence[RateMargin]) -> RateMargin:
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def take(self, rows: NDArray[np.int64]) -> RateMargin:
        return RateMargin(self.ratio[rows], self.floor[rows])

    @property
    def edges(self) -> tuple[tuple[Floats, Floats], ...]:
        """(ratio, difference) of each edge, by row; always two."""
        return (self.ratio, np.zeros_like(self.floor)), (
            np.ones_like(self.ratio),
            np.minimum(self.floor, _MOST_FLOOR),
        )

    @property
    def counts(self) -> NDArray[np.bool_]:
        """[2, rows] whether an edge says anything that the other does not."""
        with_floor = self.floor != 0
        return np.stack((~with_floor | (self.ratio != 1), with_floor))

    def limit(self, baseline: Floats) -> Floats:
        return np.maximum(baseline * self.ratio, baseline + self.floor)


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
    """[2, rows] ln E against each edge of "within the margin"."""
    within: Floats
    """[2, rows] ln E against the same edges, from the other side."""

    @classmethod
    def start(cls, margin: RateMargin) -> ErrorEvidence:
        rows = len(margin.ratio)
        nothing = np.zeros((EDGES, rows))
        return cls(margin, Block.none(rows), nothing, nothing)

    @classmethod
    def concat(cls, parts: Sequence[ErrorEvidence]) -> ErrorEvidence:
        """The rows of all, one after the other."""
        columns = np.concatenate([part.columns() for part in parts], axis=1)
        return cls.from_columns(columns, RateMargin.concat([part.margin for part in parts]))

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
        """With a block more of each row. A row without requests stays as it is."""
        canary, baseline = self.estimates()
        there = (block.n_canary > 0) | (block.n_baseline > 0)
        worse, within = self.worse.copy(), self.within.copy()
        for i, (edge, counts) in enumerate(zip(self.margin.edges, self.margin.counts, strict=True)):
            some = np.flatnonzero(there & counts)
            ratio, difference = edge[0][some], edge[1][some]
            of_c, of_b = canary[some], baseline[some]
            gain = _gain(_rows(block, some), of_c, of_b, ratio, difference)
            beyond = of_c > ratio * of_b + difference
            worse[i, some] += np.where(beyond, gain, 0)
            within[i, some] += np.where(beyond, 0, gain)
        return ErrorEvidence(self.margin, self.so_far.plus(block), worse, within)

    def all_at_once(self, which: NDArray[np.bool_]) -> ErrorEvidence:
        """The evidence of some rows from what all blocks add up to, for arms that were not there at the same
        time: a block with requests of one arm alone says nothing, as the other's rate may be anything."""
        if not which.any():
            return self
        some = np.flatnonzero(which)
        seen = _rows(self.so_far, some)
        canary = np.clip(seen.bad_canary / np.maximum(seen.n_canary, 1e-300), _LEAST_RATE, 1 - _LEAST_RATE)
        baseline = np.clip(
            seen.bad_baseline / np.maximum(seen.n_baseline, 1e-300), _LEAST_RATE, 1 - _LEAST_RATE
        )
        regret = _regret(seen.bad_canary, seen.n_canary) + _regret(seen.bad_baseline, seen.n_baseline)
        there = (seen.n_canary > 0) & (seen.n_baseline > 0)
        worse, within = self.worse.copy(), self.within.copy()
        for i, edge in enumerate(self.margin.edges):
            ratio, difference = edge[0][some], edge[1][some]
            gain = _gain(seen, canary, baseline, ratio, difference) - regret
            beyond = canary > ratio * baseline + difference
            worse[i, some] = np.where(there, np.where(beyond, gain, -regret), 0)
            within[i, some] = np.where(there, np.where(beyond, -regret, gain), 0)
        return ErrorEvidence(self.margin, self.so_far, worse, within)

    def log_e_worse(self) -> Floats:
        """Evidence against "the canary's rate is within the margin"."""
        return np.asarray(np.where(self.margin.counts, self.worse, np.inf).min(axis=0))

    def log_e_within(self) -> Floats:
        """Evidence against "the canary's rate is beyond the margin"."""
        counts = self.margin.counts
        total = np.logaddexp.reduce(np.where(counts, self.within, -np.inf), axis=0)
        return np.asarray(total - np.log(counts.sum(axis=0)))

    def take(self, rows: NDArray[np.int64]) -> ErrorEvidence:
        """Some of the rows, in the order asked for."""
        so_far = _rows(self.so_far, rows)
        return ErrorEvidence(self.margin.take(rows), so_far, self.worse[:, rows], self.within[:, rows])

    def columns(self) -> Floats:
        """[8, rows]: the whole state but for the margin."""
        seen = [getattr(self.so_far, f.name) for f in fields(Block)]
        return np.concatenate((np.stack(seen), self.worse, self.within))

    @classmethod
    def from_columns(cls, columns: Floats, margin: RateMargin) -> ErrorEvidence:
        """Raises ValueError when they are not those of :meth:`columns`."""
        if columns.shape != (EVIDENCE_ROWS, len(margin.ratio)) or not np.isfinite(columns).all():
            raise ValueError(f"these columns are no evidence on {len(margin.ratio)} margins")
        n_canary, bad_canary, n_baseline, bad_baseline = columns[:4]
        if (bad_canary < 0).any() or (bad_baseline < 0).any():
            raise ValueError("a negative number of errors")
        if (bad_canary > n_canary).any() or (bad_baseline > n_baseline).any():
            raise ValueError("more errors than requests")
        block = Block(n_canary, bad_canary, n_baseline, bad_baseline)
        return cls(margin, block, columns[4 : 4 + EDGES], columns[4 + EDGES :])


def _rows(block: Block, which: NDArray[np.int64]) -> Block:
    return Block(*(getattr(block, f.name)[which] for f in fields(Block)))


def _gain(block: Block, canary: Floats, baseline: Floats, ratio: Floats, difference: Floats) -> Floats:
    """ln of the block's likelihood at the estimates over that at the nearest rates on the line."""
    null_c, null_b = nearest_on_line(canary, baseline, block.n_canary, block.n_baseline, ratio, difference)
    return _log_ratio(block.bad_canary, block.n_canary, canary, null_c) + _log_ratio(
        block.bad_baseline, block.n_baseline, baseline, null_b
    )


def _regret(bad: Floats, n: Floats) -> Floats:
    """By how much the likelihood of ``bad`` in ``n`` at the best rate is above its mean over all rates, these
    taken after Jeffreys; over the likelihood at the true rate that mean is a martingale that begins at 1
    (Robbins, 1970)."""
    rate = bad / np.maximum(n, 1e-300)
    best = _x_log(bad, rate) + _x_log(n - bad, 1 - rate)
    mean = log_beta(bad + _HALF, n - bad + _HALF) - np.log(np.pi)
    return np.asarray(np.maximum(best - mean, 0))


def _x_log(x: Floats, y: Floats) -> Floats:
    """x · ln y, and 0 where x is."""
    return np.where(x > 0, x * np.log(np.where(x > 0, y, 1)), 0)


def _log_ratio(bad: Floats, n: Floats, estimate: Floats, null: Floats) -> Floats:
    # An arm without requests may be given a rate of 0 or 1: it says nothing, whatever the rate.
    null = np.clip(null, _LEAST_RATE / 2, 1 - _LEAST_RATE / 2)
    good = np.log1p(-estimate) - np.log1p(-null)
    return np.asarray(bad * (np.log(estimate) - np.log(null)) + (n - bad) * good)
