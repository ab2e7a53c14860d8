"""How many of the dual-written requests differ? An interval for one rate that holds at every look.

After Robbins, "Statistical methods related to the law of the iterated logarithm" (Ann. Math. Stat. 41(5),
1970), and Lai, "On confidence sequences" (Ann. Stat. 4(2), 1976): with a Beta(am, a(1−m)) mixture over the
rate,

    BF(p) = B(am + Y, a(1−m) + N − Y) / B(am, a(1−m)) / (p^Y (1−p)^(N−Y))

is a martingale that begins at 1 if the rate is p. So the rates at which it has not reached 1/α hold the true
one at all looks at once, but for a probability of α (Ville). It is ``share_test.py``'s, of mismatches among
requests. m is the most that is allowed, and am half a request: little is believed beforehand.

Mismatches come in bursts: one bad record is read again and again. So all counts are divided by a design
effect, by how much more the mismatches of panes scatter around the common rate than binomials would
(Pearson's χ² over its degrees of freedom, drawn towards 1 while there are few panes, and at least 1).
Before mismatches were seen, nothing is known of their bursts, and a quiet beginning would pass for a low
rate: so the *upper* end rests on a design effect that is drawn towards ``UNSEEN_EFFECT`` while few panes
had any.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from stream.canary.design_effect import SHRINKAGE_PANES
from stream.canary.share_test import Shares
from stream.wire.state import Record

FEWEST_PANES = 3
"""Before there are so many a burst cannot be told from a rate."""
UNSEEN_EFFECT = 10.0
"""What is taken for granted before mismatches were seen: bursts of five or so, one record's."""
_UNSEEN_PANES = 4.0
"""It weighs as much as so many panes with mismatches."""
_HALF = 0.5


class Mismatches(Record, frozen=True):
    """Sums over panes. Numbers of requests are effective ones, if they are sampled."""

    panes: int = 0
    """That had requests."""
    n: float = 0.0
    bad: float = 0.0
    squares: float = 0.0
    """Σ bad²/n over panes."""
    bad_panes: int = 0
    """That had mismatches."""

    def plus(self, n: float, bad: float) -> Mismatches:
        """With a pane more."""
        assert 0 <= bad <= n, (bad, n)
        if n == 0:
            return self
        squares, bad_panes = self.squares + bad * bad / n, self.bad_panes + (bad > 0)
        return Mismatches(self.panes + 1, self.n + n, self.bad + bad, squares, bad_panes)

    @property
    def rate(self) -> float | None:
        return self.bad / self.n if self.n else None

    @property
    def design_effect(self) -> float:
        """At least 1; 1 of too few panes to tell."""
        if self.panes < FEWEST_PANES or not 0 < self.bad < self.n:
            return 1.0
        degrees, rate = self.panes - 1, self.bad / self.n
        raw = (self.squares - self.bad * rate) / (rate * (1 - rate) * degrees)
        return max(1.0, (SHRINKAGE_PANES + degrees * raw) / (SHRINKAGE_PANES + degrees))

    @property
    def cautious_effect(self) -> float:
        """For the upper end: not below what is taken for granted, until enough was seen."""
        effect = self.design_effect
        drawn = _UNSEEN_PANES * UNSEEN_EFFECT + self.bad_panes * effect
        return max(effect, drawn / (_UNSEEN_PANES + self.bad_panes))


@dataclass(frozen=True, slots=True)
class MismatchTest:
    seen: Mismatches
    most: float
    """The largest rate that is allowed, strictly between 0 and 1."""
    alpha: float

    @property
    def log_threshold(self) -> float:
        return -log(self.alpha)

    @property
    def is_beyond(self) -> bool:
        """The lower end is above what is allowed."""
        rate = self.seen.rate
        return rate is not None and rate > self.most and self._is_refuted(self.seen.design_effect)

    @property
    def is_within(self) -> bool:
        """The upper end is not above it."""
        rate = self.seen.rate
        return rate is not None and rate <= self.most and self._is_refuted(self.seen.cautious_effect)

    def interval(self) -> tuple[float, float]:
        """Between which rates the true one lies at every look; each end is wrong with probability α at
        most."""
        low, _ = self._shares(self.seen.design_effect).interval(self.log_threshold)
        _, high = self._shares(self.seen.cautious_effect).interval(self.log_threshold)
        return float(low[0]), float(high[0])

    def _is_refuted(self, effect: float) -> bool:
        """Whether the rate is not the largest one that is allowed: larger, or smaller."""
        return float(self._shares(effect).log_e(np.array([self.most]))[0]) >= self.log_threshold

    def _shares(self, effect: float) -> Shares:
        bad, good = self.seen.bad / effect, (self.seen.n - self.seen.bad) / effect
        sharpness = _HALF / min(self.most, 1 - self.most)
        return Shares(np.array([bad]), np.array([good]), np.array([self.most]), sharpness)
