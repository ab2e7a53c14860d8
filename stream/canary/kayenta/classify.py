"""One metric: Pass, High, Low, or no data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from stream.canary.kayenta.samples import cles, mean_ratio, without_nan, zeros_for_nan
from stream.canary.kayenta.shift import Shift, shift_between
from stream.model.analysis import Direction

Floats = NDArray[np.float64]


class Class(StrEnum):
    PASS = "Pass"  # noqa: S105 - no password
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"


class NanStrategy(StrEnum):
    REMOVE = "remove"
    REPLACE = "replace"


class Effect(StrEnum):
    MEAN_RATIO = "meanRatio"
    CLES = "cles"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Sizes of an effect from which it counts: allowed ones are none."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rules:
    """How one metric is compared; the defaults are the published ones."""

    direction: Direction = Direction.EITHER
    nan_strategy: NanStrategy = NanStrategy.REMOVE
    is_critical: bool = False
    must_have_data: bool = False
    tolerance: float = 0.25
    confidence: float = 0.98
    effect: Effect = Effect.MEAN_RATIO
    allowed: Thresholds = Thresholds(1.0, 1.0)
    critical: Thresholds = Thresholds(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Classified:
    classification: Class
    reason: str
    is_critical: bool = False
    """Whether it alone fails the canary."""
    effect: float = 1.0
    shift: Shift | None = None


def classify(experiment: Floats, control: Floats, rules: Rules, *, as_published: bool = False) -> Classified:
    """Compare points, NaN where there is none; shapes [n] and [m]."""
    treat = without_nan if rules.nan_strategy is NanStrategy.REMOVE else zeros_for_nan
    experiment, control = treat(experiment), treat(control)
    if not (len(experiment) and len(control)):
        return _without_data(len(experiment), rules)
    if np.array_equal(np.sort(experiment), np.sort(control)):
        return Classified(Class.PASS, "both have the same values")
    if len(np.unique(np.concatenate([experiment, control]))) == 1:
        return Classified(Class.PASS, "both have one and the same value")
    shift = shift_between(experiment, control, rules.confidence, as_published=as_published)
    effect = (mean_ratio if rules.effect is Effect.MEAN_RATIO else cles)(experiment, control)
    bound = rules.tolerance * abs(shift.estimate)
    higher, lower = shift.low > bound, shift.high < -bound
    if shift.estimate == 0 and not as_published:
        # Mostly equal values, such as zeros: the published judge goes by what its root finder is off by.
        higher, lower = shift.standard > shift.beyond, shift.standard < -shift.beyond
    rises = higher and rules.direction is not Direction.DECREASE
    falls = lower and rules.direction is not Direction.INCREASE
    if rises and (math.isnan(effect) or effect >= rules.allowed.high):
        is_critical = rules.is_critical and (math.isnan(effect) or effect >= rules.critical.high)
        return Classified(Class.HIGH, _words("higher", shift, effect, bound), is_critical, effect, shift)
    if falls and (math.isnan(effect) or effect <= rules.allowed.low):
        is_critical = rules.is_critical and (math.isnan(effect) or effect <= rules.critical.low)
        return Classified(Class.LOW, _words("lower", shift, effect, bound), is_critical, effect, shift)
    return Classified(Class.PASS, "no difference beyond what is allowed", False, effect, shift)


def _without_data(points: int, rules: Rules) -> Classified:
    side = "control" if points else "experiment"
    if rules.nan_strategy is NanStrategy.REPLACE:
        return Classified(Class.PASS, f"no data of the {side}, which counts as zero")
    is_failure = rules.must_have_data and not rules.is_critical
    classification = Class.NODATA_FAIL if is_failure else Class.NODATA
    return Classified(classification, f"no data of the {side}", rules.is_critical)


def _words(how: str, shift: Shift, effect: float, bound: float) -> str:
    size = "of a size that cannot be told" if math.isnan(effect) else f"of size {effect:.4g}"
    return (
        f"{how} by {abs(shift.estimate):.4g} [{shift.low:.4g}, {shift.high:.4g}], beyond {bound:.4g}, {size}"
    )
