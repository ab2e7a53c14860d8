"""The sequential method: what the evidence on each metric means, at any look, and for the whole canary.

A metric is **worse** when the evidence against "within the margin" has reached 1/α, its share of it;
**within** when that against "beyond the margin" has, on endpoints with nearly all of the traffic; otherwise
**open**. One of which an arm has nothing is neither, and **nodata**. So:

- ``fail``: some metric is worse.
- ``pass``: every metric is within, and the shortest duration is over. Or the longest is, none is worse, and
  twice the margin would have been seen in each that is not within.
- ``marginal``: the longest duration is over, and neither.
- ``inconclusive``: until then; and at the end, if there was too little data.
- ``nodata``: an arm had no requests at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, inf, isfinite, log
from typing import NamedTuple

from stream.canary.verdict import (
    WITHOUT_DATA,
    Interval,
    Judgement,
    MetricResult,
    Recommendation,
    Verdict,
    without_data,
)
from stream.model.analysis import Direction

LARGEST_LOG_E = 690.0
"""e^690 is a number yet."""
TWICE = 2.0
"""A harm of so many margins must have been visible for a pass at the end."""


class Standing(StrEnum):
    """Where a metric stands."""

    WORSE = "worse"
    WITHIN = "within"
    OPEN = "open"
    NODATA = WITHOUT_DATA


class Limit(NamedTuple):
    """How much higher one metric's value may be: by this ratio, or by this difference where that is more."""

    ratio: float = 1.0
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric at one look, endpoints put together."""

    name: str
    log_e: float
    """ln of the evidence against "within the margin"."""
    log_threshold: float
    """What it must reach: ln 1/α of the metric in this stage."""
    canary: float
    baseline: float
    requests: tuple[int, int]
    """(canary, baseline)"""
    n_canary: float
    n_baseline: float
    """Effective numbers of requests."""
    ratio: float
    """Canary over baseline, endpoint by endpoint."""
    lower: float
    upper: float
    """Of the ratio, at all looks: each end is wrong with probability α at most. 0 and inf: no bound."""
    within: bool
    """Whether the evidence against "beyond the margin" suffices."""
    margin_ratio: float
    margin_floor: float
    weight: float = 1.0
    critical: bool = False
    worst_endpoint: str | None = None
    design_effect: float = 1.0
    """The largest of all endpoints."""
    direction: Direction = Direction.INCREASE
    """Which change is harm."""

    @property
    def limit(self) -> float:
        """The largest ratio that is no harm, at the baseline's value; inf if no rise is."""
        if self.direction is Direction.DECREASE:
            return inf
        if self.baseline <= 0:
            return inf if self.margin_floor > 0 else self.margin_ratio
        return max(self.margin_ratio, 1 + self.margin_floor / self.baseline)

    @property
    def standing(self) -> Standing:
        if not (self.n_canary > 0 and self.n_baseline > 0):
            return Standing.NODATA
        if self.log_e >= self.log_threshold:
            return Standing.WORSE
        return Standing.WITHIN if self.within else Standing.OPEN

    @property
    def lowest(self) -> float:
        """The smallest ratio that is no harm; 0 if no fall is. The baseline is then above the canary by the
        margin."""
        if self.direction is Direction.INCREASE:
            return 0.0
        floor = self.margin_floor / self.baseline if self.baseline > 0 else 1.0
        return max(min(1 / self.margin_ratio, 1 - floor), 0.0)

    @property
    def smallest_seen(self) -> float:
        """The smallest rise (as a ratio) that would have been called worse: as far above the limit as the
        lower end is below the effect. Where only a fall is harm, the smallest fall. inf: none."""
        if self.direction is Direction.DECREASE:
            return self._smallest_fall
        if self.lower <= 0 or self.ratio <= 0 or self.limit == inf:
            return inf
        return self.limit * max(self.ratio / self.lower, 1.0)

    @property
    def _smallest_fall(self) -> float:
        if self.upper == inf or self.upper <= 0 or self.lowest <= 0:
            return inf
        return self.lowest * min(self.ratio / self.upper, 1.0)

    @property
    def would_have_shown(self) -> bool:
        """Whether twice the margin would have been seen, in each direction that is harm."""
        if self.standing is Standing.NODATA:
            return False
        # Whose whole interval is beyond the limit shows harm rather, though the test does not call it so yet.
        shown = self.lower <= self.limit and self.upper >= self.lowest
        if self.direction is not Direction.DECREASE:
            rise = self.smallest_seen
            shown = shown and rise < inf and rise - 1 <= TWICE * (self.limit - 1)
        if self.direction is not Direction.INCREASE:
            fall = self._smallest_fall
            shown = shown and 0 < fall < inf and 1 / fall - 1 <= TWICE * (1 / self.lowest - 1)
        return shown

    @property
    def score(self) -> float:
        """0–100: how much of the interval, on the scale of logarithms, lies within the margin."""
        if self.standing in (Standing.WORSE, Standing.NODATA):
            return 0.0
        if self.standing is Standing.WITHIN:
            return 100.0
        if self.lower <= 0 or self.upper == inf or (self.limit == inf and not self.lowest):
            return 50.0
        low, high = max(self.lower, self.lowest), min(self.upper, self.limit)
        if low >= high:
            return 100.0 if self.lowest <= self.lower == self.upper <= self.limit else 0.0
        return 100 * log(high / low) / log(self.upper / self.lower)

    @property
    def reason(self) -> str:
        """In words, with numbers."""
        if self.standing is Standing.NODATA:
            return self._without_data.reason
        change, margin = (
            f"{self.name} {self.canary:.4g} against {self.baseline:.4g}",
            f"{self.margin_floor:.4g}",
        )
        if self.baseline > 0:  # else there is no ratio to speak of
            change += f", {_change(self.ratio)} [{_change(self.lower)}, {_change(self.upper)}]"
            margin = self._margin()
        where = f", most of it on {self.worst_endpoint}" if self.worst_endpoint else ""
        match self.standing:
            case Standing.WORSE:
                return f"{change}: beyond the margin of {margin}{where}"
            case Standing.WITHIN:
                return f"{change}: within the margin of {margin}"
        return f"{change}: around the margin of {margin}; {self._still_hidden()}"

    def result(self) -> MetricResult:
        """As all methods report it."""
        if self.standing is Standing.NODATA:
            threshold = exp(min(self.log_threshold, LARGEST_LOG_E))
            return replace(
                self._without_data, threshold=threshold, weight=self.weight, critical=self.critical
            )
        return MetricResult(
            self.name,
            _bounded(self.canary),
            _bounded(self.baseline),
            *self.requests,
            self.n_canary,
            self.n_baseline,
            self.standing.value,
            self.reason,
            _bounded(self.ratio),
            Interval(self.lower if self.lower > 0 else None, _bounded(self.upper)),
            e=exp(min(self.log_e, LARGEST_LOG_E)),
            threshold=exp(min(self.log_threshold, LARGEST_LOG_E)),
            design_effect=self.design_effect,
            margin_ratio=_bounded(self.lowest if self.direction is Direction.DECREASE else self.limit),
            smallest_seen=_bounded(self.smallest_seen),
            worst_endpoint=self.worst_endpoint,
            weight=self.weight,
            critical=self.critical,
        )

    @property
    def _without_data(self) -> MetricResult:
        return without_data(self.name, *self.requests)

    def _margin(self) -> str:
        match self.direction:
            case Direction.INCREASE:
                return _change(self.limit)
            case Direction.DECREASE:
                return _change(self.lowest)
        return f"{_change(self.lowest)} to {_change(self.limit)}"

    def _still_hidden(self) -> str:
        if self.smallest_seen == inf:
            return "too little to say from where on harm would have been seen"
        return f"harm from {_change(self.smallest_seen)} would have been seen"


def _bounded(number: float) -> float | None:
    return number if isfinite(number) else None


def _change(ratio: float) -> str:
    """+18 %, ×3.2, or that there is no bound."""
    if ratio == inf:
        return "∞"
    if ratio >= 3:
        return f"×{ratio:.1f}"
    pct = 100 * (ratio - 1)
    digits = 0 if abs(pct) >= 10 or round(pct, 1) == round(pct) else 1
    return f"{pct:+.{digits}f} %".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an analysis is."""

    elapsed_s: int
    """Event time since the stage began, less the warm-up."""
    shortest_s: int
    longest_s: int
    least_events: int
    n_canary: int
    n_baseline: int

    @property
    def enough(self) -> bool:
        return min(self.n_canary, self.n_baseline) >= self.least_events


def judge(metrics: Sequence[Measured], progress: Progress) -> Judgement:
    """The table above. A fail or a pass ends the stage."""
    over = progress.elapsed_s >= progress.longest_s

    def said(verdict: Verdict, reason: str, final: bool = over) -> Judgement:
        results = tuple(one.result() for one in metrics)
        return Judgement(verdict, advice(verdict, over), reason, _score(metrics), results, final=final)

    if min(progress.n_canary, progress.n_baseline) == 0:
        return said(
            Verdict.NODATA, f"the {'canary' if progress.n_canary == 0 else 'baseline'} had no requests"
        )
    if not progress.enough:
        few = (
            f"{progress.n_canary:,} requests of the canary and {progress.n_baseline:,} of the baseline: "
            f"{progress.least_events:,} of each are needed"
        )
        return said(Verdict.INCONCLUSIVE, few)
    worse = [one for one in metrics if one.standing is Standing.WORSE]
    if worse:
        return said(Verdict.FAIL, "; ".join(one.reason for one in worse), final=True)
    still_open = [one for one in metrics if one.standing in (Standing.OPEN, Standing.NODATA)]
    if not metrics:
        return said(Verdict.INCONCLUSIVE, "nothing was measured of any metric")
    if not still_open and progress.elapsed_s >= progress.shortest_s:
        return said(Verdict.PASS, "every metric is within its margin", final=True)
    if not over:
        return said(Verdict.INCONCLUSIVE, _so_far(still_open))
    hidden = [one for one in still_open if not one.would_have_shown]
    if hidden:
        return said(Verdict.MARGINAL, "; ".join(one.reason for one in hidden), final=True)
    seen = "no harm was found, and twice the margin of every metric would have been seen"
    return said(Verdict.PASS, seen, final=True)


def advice(verdict: Verdict, over: bool) -> Recommendation:
    """What to do with the release; ``over``: the longest duration is."""
    match verdict:
        case Verdict.PASS:
            return Recommendation.PROMOTE
        case Verdict.FAIL:
            return Recommendation.ROLLBACK
    return Recommendation.PAUSE if over or verdict is Verdict.MARGINAL else Recommendation.CONTINUE


def _so_far(still_open: Sequence[Measured]) -> str:
    if not still_open:
        return "every metric is within its margin; the shortest duration is not over"
    return "; ".join(one.reason for one in still_open)


def _score(metrics: Sequence[Measured]) -> float:
    """Mean of the metrics' scores by weight; 0 if a critical one is worse."""
    if any(one.critical and one.standing is Standing.WORSE for one in metrics) or not metrics:
        return 0.0
    return sum(one.weight * one.score for one in metrics) / sum(one.weight for one in metrics)


def p_value(log_e: float) -> float:
    """Valid at any look; 1 at most."""
    return min(1.0, exp(-max(log_e, 0.0)))
