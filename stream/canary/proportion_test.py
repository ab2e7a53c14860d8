"""Whether two shares of errors differ: χ² with Yates' correction, or Fisher's exact test of small counts."""

from __future__ import annotations

import math

LEAST_EXPECTED = 5.0
"""Below it in any cell, χ² is no good (Cochran, Annals of Mathematical Statistics, 1952)."""
_ALIKE = 1 + 1e-7
"""Tables whose chances differ by rounding alone are equally unlikely, as in R's ``fisher.test``."""


def proportion_test(bad: int, total: int, bad_baseline: int, total_baseline: int) -> float:
    """Two-sided p; 1 where there is nothing to compare."""
    assert 0 <= bad <= total, "more bad requests than requests"
    assert 0 <= bad_baseline <= total_baseline, "more bad requests than requests"
    both, bads = total + total_baseline, bad + bad_baseline
    if not total or not total_baseline or bads in (0, both):
        return 1.0
    smallest = min(total, total_baseline) * min(bads, both - bads) / both
    if smallest < LEAST_EXPECTED:
        return _fisher(bad, total, bads, both)
    return _chi_square(bad, total, bads, both)


def _chi_square(bad: int, total: int, bads: int, both: int) -> float:
    """Yates, Supplement to the Journal of the Royal Statistical Society, 1934; one degree of freedom."""
    expected = total * bads / both
    off = max(0.0, abs(bad - expected) - 0.5)
    # All four cells are off by as much.
    rest = both - total
    inverse = 1 / expected + 1 / (total - expected) + both / (rest * bads) + both / (rest * (both - bads))
    return math.erfc(math.sqrt(off * off * inverse / 2))


def _fisher(bad: int, total: int, bads: int, both: int) -> float:
    """All tables with these sums that are as unlikely as this one, or more so."""
    first, last = max(0, bads - (both - total)), min(total, bads)
    logs = [_log_choose(total, k) + _log_choose(both - total, bads - k) for k in range(first, last + 1)]
    most = max(logs)
    chances = [math.exp(log - most) for log in logs]
    observed = chances[bad - first] * _ALIKE
    return min(1.0, math.fsum(c for c in chances if c <= observed) / math.fsum(chances))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
