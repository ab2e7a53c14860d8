"""Is a quantile of the canary beyond a margin above the baseline's? Valid at every look, on histograms.

After Howard & Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification" (arXiv 1906.09712). If Q is an arm's true p-quantile, the number k of its N values at or
below Q is that of Bernoulli trials, and the beta-binomial mixture

    G(k, N) = ln B(cp + k, c(1−p) + N − k) − ln B(cp, c(1−p)) − k ln p − (N − k) ln(1−p)

is the logarithm of a martingale that begins at 1. So for the true quantile Q of the baseline e^(G_b + G_c)
is one as well, with k_c counted up to the margin above Q; and as Q is not known, the least over all Q is
taken, which is no more than the true one: an e-process, at most 1/α at any look but with probability α.

- One-sided: where a count speaks for the canary it is taken as the value that says least.
- Ties and buckets: within a bucket, and among equal values, k may be anything between the counts below and
  above. It is taken as what says least. So neither costs an error, only a little power.
- Requests are taken as independent: a design effect divides the counts (design_effect.py).
- Sampled requests count with Kish's effective size, which makes it nearly exact instead of exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log1p

import numpy as np
from numpy.typing import NDArray

from stream.canary.interval_search import ROUNDING, WIDEST_SHIFT, Asked, nearest_refuted
from stream.canary.log_beta import digamma, log_beta
from stream.canary.margin_maps import LAST, MarginMap, Shifted
from stream.sketch.buckets import SPAN_BITS, ZERO
from stream.sketch.histogram import HistogramSet
from stream.sketch.whole import Whole, first_beyond, floats, running

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MANY_IN_THE_TAIL = 16.0
"""With so many, (k − ½)/(N − 1) = p is where G is least, to 10⁻⁶ of a nat."""
_STEPS = 8


def concentration(p: float, alpha: float, typical_size: Floats | float) -> Floats:
    """c of the mixture: it is sharpest, at level α, around so many values in the arm."""
    one = 2 * log(1 / alpha)
    return np.asarray(np.maximum(typical_size / (one + log1p(one)) - 1, 1e-3))


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One arm's histograms, ready for look-ups: row r is the r-th histogram."""

    words: Ints
    """Row and bucket in one ascending word."""
    sums: Whole
    """Running sums of weights over all rows, with 0 in front."""
    starts: Whole
    """[k] the running sum before each row."""
    sizes: Floats
    """[k] effective number of requests."""
    scale: Floats
    """[k] effective requests in a unit of weight."""

    @classmethod
    def of(cls, histograms: HistogramSet) -> Arm:
        rows = np.repeat(np.arange(len(histograms)), histograms.sizes)
        totals = histograms.totals()
        sizes = histograms.effective_sizes()
        sums = running(histograms.weights)
        return cls(
            rows << SPAN_BITS | (histograms.buckets.astype(np.int64) - ZERO),
            sums,
            sums[histograms.offsets[:-1]],
            sizes,
            sizes / np.maximum(floats(totals), 1),
        )

    def below(self, rows: Ints, bucket: Ints) -> Floats:
        """Effective count of values in buckets below ``bucket``."""
        return self._counts(rows, np.searchsorted(self.words, rows << SPAN_BITS | bucket, "left"))

    def up_to(self, rows: Ints, bucket: Ints) -> Floats:
        """Effective count of values in ``bucket`` and below."""
        return self._counts(rows, np.searchsorted(self.words, rows << SPAN_BITS | bucket, "right"))

    def _counts(self, rows: Ints, places: Ints) -> Floats:
        return floats(self.sums[places] - self.starts[rows]) * self.scale[rows]

    def first_above(self, rows: Ints, count: Floats) -> Ints:
        """The first bucket up to which more than ``count`` values lie; the last bucket if there is none."""
        places = self._place_above(rows, count)
        there = places < np.searchsorted(self.words, (rows + 1) << SPAN_BITS)
        words = np.append(self.words, 0)[places]
        return np.where(there, words & ((1 << SPAN_BITS) - 1), LAST)

    def _place_above(self, rows: Ints, count: Floats) -> Ints:
        more = count / np.maximum(self.scale[rows], 1e-300)
        return first_beyond(self.sums, self.starts[rows], more) - 1

    def run(self, rows: Ints, bucket: Ints, count: Floats) -> tuple[Ints, Ints]:
        """Places of the filled buckets above ``bucket``, through the first up to which ``count`` values lie:
        the first place of each row's, and how many."""
        first = np.searchsorted(self.words, rows << SPAN_BITS | bucket, "right")
        end = np.searchsorted(self.words, (rows + 1) << SPAN_BITS)
        last = np.minimum(self._place_above(rows, count) + 1, end)
        return first, np.maximum(last - first, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """G for rows with a quantile and a concentration each. All counts are of independent requests."""

    p: Floats
    c: Floats
    sizes: Floats

    def mildest(self) -> Floats:
        """The k that says least, of all between 0 and N: G is convex in it."""
        k = np.clip(self.p * self.sizes + 0.5 - self.p, 0, self.sizes)
        tail = np.minimum(self.p, 1 - self.p) * (self.c + self.sizes)
        few = np.flatnonzero(tail < _MANY_IN_THE_TAIL)
        k[few] = self._mildest_of_few(few, k[few])
        return k

    def _mildest_of_few(self, which: Ints, k: Floats) -> Floats:
        """Newton's way to the zero of the derivative, kept in its bracket."""
        p, c, n = self.p[which], self.c[which], self.sizes[which]
        low, high = np.zeros_like(k), n.copy()
        for _ in range(_STEPS):
            (up, up_slope), (down, down_slope) = digamma(c * p + k), digamma(c * (1 - p) + n - k)
            slope = up - down - np.log(p) + np.log1p(-p)
            low, high = np.where(slope <= 0, k, low), np.where(slope >= 0, k, high)
            step = k - slope / (up_slope + down_slope)
            k = np.where((step >= low) & (step <= high), step, (low + high) / 2)
        return k

    def at(self, which: Ints, k: Floats) -> Floats:
        p, c, n = self.p[which], self.c[which], self.sizes[which]
        a, b = c * p, c * (1 - p)
        prior = log_beta(self.c * self.p, self.c * (1 - self.p))[which]
        return log_beta(a + k, b + n - k) - prior - k * np.log(p) - (n - k) * np.log1p(-p)


@dataclass(frozen=True, slots=True, eq=False)
class QuantileTest:
    """Rows to test: ``rows[i]`` of both arms' histograms at the quantile ``p[i]``."""

    baseline: Arm
    canary: Arm
    rows: Ints
    p: Floats
    c_baseline: Floats
    c_canary: Floats
    design_effect: Floats

    def _sides(self) -> tuple[Side, Side]:
        return (
            Side.of(self.baseline, self.rows, self.p, self.c_baseline, self.design_effect),
            Side.of(self.canary, self.rows, self.p, self.c_canary, self.design_effect),
        )

    def log_e_worse(self, margin: MarginMap) -> Floats:
        """Evidence against "the canary's quantile is within the margin above the baseline's"."""
        baseline, canary = self._sides()
        row = np.arange(len(self.rows))
        # The last bucket at which the baseline says nothing against Q lying there.
        j = baseline.last_mild()
        ends = margin.high(row, j)

        def candidates(which: Ints, bucket: Ints) -> tuple[Ints, Ints]:
            at = margin.first_reaching(which, bucket)
            return at, margin.high(which, at)

        return _least(baseline, canary, (j, ends), candidates)

    def log_e_within(self, margin: MarginMap) -> Floats:
        """Evidence against "the canary's quantile is at or beyond the margin's end"."""
        baseline, canary = self._sides()
        row = np.arange(len(self.rows))
        j = margin.last_within(row, canary.last_mild())

        def candidates(which: Ints, bucket: Ints) -> tuple[Ints, Ints]:
            return margin.low(which, bucket), bucket

        return _least(canary, baseline, (margin.low(row, j), j), candidates)

    def take(self, which: Ints) -> QuantileTest:
        """Some of the rows."""
        return QuantileTest(
            self.baseline,
            self.canary,
            self.rows[which],
            self.p[which],
            self.c_baseline[which],
            self.c_canary[which],
            self.design_effect[which],
        )

    def swapped(self) -> QuantileTest:
        """With the arms exchanged: what it calls worse is a canary that is below the baseline."""
        return QuantileTest(
            *(self.canary, self.baseline, self.rows, self.p),
            *(self.c_canary, self.c_baseline, self.design_effect),
        )

    def shifts(self) -> Ints:
        """By how many buckets the canary's quantile is above the baseline's."""
        baseline, canary = (side.quantile_buckets() for side in self._sides())
        return canary - baseline

    def ratio_interval(
        self, log_threshold: Floats | float, near: tuple[Ints, Ints] | None = None
    ) -> tuple[Ints, Ints]:
        """Between which whole shifts the ratio of the quantiles lies, canary over baseline, at every look:
        each end is wrong with probability α = e^(−log_threshold) at most. ±WIDEST_SHIFT: unbounded.

        ``near``: where the ends were at an earlier look, ``UNKNOWN_SHIFT`` of none; it makes the search
        short, and does not change what is found.
        """
        thresholds = np.broadcast_to(log_threshold, self.rows.shape)
        shifts = np.clip(self.shifts(), 1 - WIDEST_SHIFT, WIDEST_SHIFT - 1)

        def above(which: Ints, shift: Ints) -> NDArray[np.bool_]:
            return self.take(which).log_e_worse(Shifted(shift)) >= thresholds[which]

        def below(which: Ints, shift: Ints) -> NDArray[np.bool_]:
            return self.take(which).log_e_within(Shifted(-shift)) >= thresholds[which]

        lower, upper = (None, None) if near is None else (near[0], -near[1])
        most = self._most()
        found = [np.full(len(shifts), -WIDEST_SHIFT) for _ in most]
        searches = ((shifts, above, lower), (-shifts, below, upper))
        for ends, possible, (start, refuted, known) in zip(found, most, searches, strict=True):
            some = np.flatnonzero(possible >= thresholds - ROUNDING)
            nearby = None if known is None else known[some]
            ends[some] = nearest_refuted(start[some], Asked(some, refuted), nearby)
        return found[0], -found[1]

    def _most(self) -> tuple[Floats, Floats]:
        """The most that can be said against any shift downwards, and upwards: if one arm's values were all
        beyond the other's. With few requests that is too little for any bound."""
        baseline, canary = self._sides()
        row = np.arange(len(self.rows))

        def most(rising: Side, falling: Side) -> Floats:
            below = rising.mixture.at(row, rising.mildest) + falling.mixture.at(row, np.zeros(len(row)))
            above = rising.mixture.at(row, rising.mixture.sizes) + falling.mixture.at(row, falling.mildest)
            return np.minimum(below, above)

        return most(baseline, canary), most(canary, baseline)


def _least(
    rising: Side,
    falling: Side,
    start: tuple[Ints, Ints],
    candidates: Callable[[Ints, Ints], tuple[Ints, Ints]],
) -> Floats:
    """The least, over the buckets in which Q may lie, of what both arms say against it.

    Along Q one arm's evidence rises, the other's falls, each in steps. Before ``start`` the rising one says
    least all the time; so it is enough to look there, and wherever the falling one falls, until that one
    says least.
    """
    everything = np.arange(len(rising.rows))
    first, sizes = falling.run_from(start[1])
    which = np.repeat(everything, sizes)
    offsets = np.cumsum(sizes) - sizes
    places = np.arange(len(which)) - np.repeat(offsets - first, sizes)
    u, d = candidates(which, falling.arm.words[places] & ((1 << SPAN_BITS) - 1))
    which = np.concatenate((everything, which))
    u, d = np.concatenate((start[0], u)), np.concatenate((start[1], d))
    said = rising.at_least(which, u) + falling.at_most(which, d)
    result = said[: len(everything)].copy()
    some = sizes > 0
    if some.any():
        more = np.minimum.reduceat(said[len(everything) :], offsets[some])
        result[some] = np.minimum(result[some], more)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One arm in a test: its counts, divided by the design effect, and what they say."""

    arm: Arm
    rows: Ints
    effect: Floats
    mixture: Mixture
    mildest: Floats

    @classmethod
    def of(cls, arm: Arm, rows: Ints, p: Floats, c: Floats, effect: Floats) -> Side:
        mixture = Mixture(p, c, arm.sizes[rows] / effect)
        return cls(arm, rows, effect, mixture, mixture.mildest())

    def last_mild(self) -> Ints:
        """The last bucket below which no more lies than says least."""
        return self.arm.first_above(self.rows, self.mildest * self.effect)

    def quantile_buckets(self) -> Ints:
        """Where each row's quantile is; the last bucket of nothing."""
        wanted = self.mixture.p * self.arm.sizes[self.rows]
        return self.arm.first_above(self.rows, np.nextafter(wanted, 0))

    def run_from(self, bucket: Ints) -> tuple[Ints, Ints]:
        """Filled buckets above ``bucket``, until what lies below says least."""
        return self.arm.run(self.rows, bucket, self.mildest * self.effect)

    def at_least(self, which: Ints, bucket: Ints) -> Floats:
        """What is said by so many below ``bucket``, or more."""
        k = self.arm.below(self.rows[which], bucket) / self.effect[which]
        return self._said(which, np.maximum(k, self.mildest[which]))

    def at_most(self, which: Ints, bucket: Ints) -> Floats:
        """What is said by so many in ``bucket`` and below, or fewer."""
        k = self.arm.up_to(self.rows[which], bucket) / self.effect[which]
        return self._said(which, np.minimum(k, self.mildest[which]))

    def _said(self, which: Ints, k: Floats) -> Floats:
        # A rounding error above N would be a count of less than nothing.
        return self.mixture.at(which, np.minimum(k, self.mixture.sizes[which]))


def quantile_interval(
    arm: Arm, rows: Ints, p: Floats, c: Floats, effect: Floats, log_threshold: float
) -> tuple[Ints, Ints]:
    """The first and last bucket in which each row's quantile may lie, at every look: each end is wrong with
    probability α = e^(−log_threshold) at most."""
    mixture = Mixture(p, c, arm.sizes[rows] / effect)
    everything = np.arange(len(rows))
    said_too_low = _furthest(mixture, everything, np.zeros(len(rows)), log_threshold)
    said_too_high = _furthest(mixture, everything, mixture.sizes, log_threshold)
    first = np.where(said_too_low < 0, 0, arm.first_above(rows, said_too_low * effect))
    # The last bucket with fewer than so many values below it.
    most = np.minimum(said_too_high, mixture.sizes + 1)
    above = arm.first_above(rows, np.nextafter(most * effect, 0))
    last = np.where(said_too_high > mixture.sizes, LAST, above)
    return first + ZERO, last + ZERO


def _furthest(mixture: Mixture, which: Ints, end: Floats, log_threshold: float) -> Floats:
    """Of the counts between ``end`` and the mildest, the nearest to the mildest that is refuted; beyond
    ``end`` if none is."""
    refuted, kept = end.astype(np.float64), mixture.mildest()
    none = mixture.at(which, refuted) < log_threshold
    for _ in range(60):
        middle = (refuted + kept) / 2
        out = mixture.at(which, middle) >= log_threshold
        refuted, kept = np.where(out, middle, refuted), np.where(out, kept, middle)
    return np.where(none, np.where(end > 0, np.inf, -1.0), refuted)
