"""Burn rate and error budget on integers: decisions are never taken on rounded numbers.

Counts are weighted, in millionths. A target of t % leaves the share (100 − t) % for errors, kept as the
fraction of the decimals as written. Reported numbers are these same fractions, rounded once at the end.
Formulas: Google SRE workbook, chapter 5 ("Alerting on SLOs"), in the contract's form (section 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Share:
    """100 − target, in percent, as a fraction of integers."""

    over: int
    under: int

    @classmethod
    def of(cls, target_pct: Decimal) -> Share:
        share = 100 - Fraction(target_pct)
        return cls(share.numerator, share.denominator)


def burn_rate(bad: int, total: int, share: Share) -> float | None:
    """(B/N) / (1 − target/100); None when nothing was counted."""
    return burn_rates([bad], [total], share)[0]


def burn_rates(bad: Iterable[int], total: Iterable[int], share: Share) -> list[float | None]:
    """:func:`burn_rate` of several windows."""
    over, under = share.over, 100 * share.under
    return [b * under / (over * n) if n else None for b, n in zip(bad, total, strict=False)]


def burns_faster(bad: int, total: int, share: Share, threshold: Fraction) -> bool:
    """Whether the burn rate is above the threshold."""
    lhs = 100 * bad * share.under * threshold.denominator
    return lhs > threshold.numerator * share.over * total


@dataclass(frozen=True, slots=True)
class Gate:
    """A threshold of an error budget policy, in percent of the budget left: what happens below it ends only
    when the budget is back at ``until``."""

    below: Fraction
    until: Fraction

    @classmethod
    def of(cls, threshold_pct: Decimal | None, hysteresis: Decimal) -> Gate | None:
        """At most half of the way from the threshold to the whole budget has to be made good."""
        if threshold_pct is None:
            return None
        below = Fraction(threshold_pct)
        return cls(below, below + min(Fraction(hysteresis), (100 - below) / 2))


class Budget(NamedTuple):
    """An error budget at a tick. ``window_s`` / ``elapsed_s`` projects what was seen onto the whole window;
    the basis ``observed`` has both equal."""

    bad: int
    total: int
    share: Share
    window_s: int
    elapsed_s: int

    def _scales(self) -> tuple[int, int]:
        """(used, allowed), both times the same factor."""
        used = 100 * self.bad * self.share.under * self.elapsed_s
        return used, self.share.over * self.total * self.window_s

    def remaining_pct(self) -> float | None:
        """100 · (1 − B/allowed); None when nothing was counted."""
        return self.percentages()[0]

    def consumed_pct(self) -> float | None:
        return self.percentages()[1]

    def percentages(self) -> tuple[float, float] | tuple[None, None]:
        """(remaining, consumed)."""
        used, allowed = self._scales()
        return (100 * (allowed - used) / allowed, 100 * used / allowed) if allowed else (None, None)

    def below(self, threshold_pct: Fraction) -> bool:
        """Whether remaining_pct is below the threshold; what is no number is not."""
        used, allowed = self._scales()
        remaining = 100 * (allowed - used) * threshold_pct.denominator
        return remaining < threshold_pct.numerator * allowed

    def gone(self) -> bool:
        used, allowed = self._scales()
        return bool(allowed) and used >= allowed

    def exhausted_in_ms(self, bad: int, total: int, window_s: int) -> int | None:
        """Time until the budget is gone if errors keep coming as in a window with these counts.

        remaining · W / burn, in whole ms; None when it is not being used up (burn ≤ 1) or nothing was
        counted; 0 when it is gone already. ``window_s`` is the length of the SLO's window.
        """
        if self.gone():
            return 0
        used, allowed = self._scales()
        errors, spared = 100 * bad * self.share.under, self.share.over * total
        if not allowed or errors <= spared:
            return None
        return window_s * 1000 * (allowed - used) * spared // (allowed * errors)
