"""Kayenta's judge on the same rollouts, asked again at every minute, as its standalone mode does.

Its points are a minute's p50, p95, p99 and error rate of each arm, all endpoints together; harm is an
increase. It is asked from ten minutes on: of a single point each it calls any increase High. A rollout fails
when a metric is High: one of four takes the score to 75, which is no pass.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.latencies import BUCKETS
from benchmarks.canary_study.rollouts import Counts
from stream.canary.kayenta.classify import Class, Rules, classify
from stream.model.analysis import Direction
from stream.sketch.buckets import middles

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

QUANTILES = (0.5, 0.95, 0.99)
METRICS = len(QUANTILES) + 1
RULES = Rules(Direction.INCREASE)
LEAST_MINUTES = 10
_NEARLY = 0.98
"""Of the quantile that a rank sum without a shift must reach before the judge can find one."""


class Kayenta:
    """``failed`` by rollout, minute by minute.

    A metric is High only if its ranks differ significantly without any shift, or all of the canary's points
    are above all others. That is followed for all rollouts at once, and the judge itself is asked about those
    that may be High.
    """

    def __init__(self, rollouts: int) -> None:
        self._points = np.empty((METRICS, 2, rollouts, 0))
        """NaN where an arm had no requests."""
        self._u = np.zeros((METRICS, rollouts))
        self._tied = np.zeros((METRICS, rollouts))
        self._n = np.zeros((METRICS, 2, rollouts))
        self._least = np.full((METRICS, rollouts), np.inf)
        """Of the canary's points; the most of the baseline's."""
        self._most = np.full((METRICS, rollouts), -np.inf)
        self._failed = np.zeros(rollouts, np.bool_)
        self._z = _NEARLY * NormalDist().inv_cdf((1 + RULES.confidence) / 2)

    def look(self, canary: Counts, baseline: Counts) -> Flags:
        """Which rollouts have failed by now; of the minute's counts."""
        new = np.stack([points(arm) for arm in (canary, baseline)], axis=1)
        self._follow(new)
        self._points = np.concatenate((self._points, new[..., None]), axis=-1)
        self._least = np.fmin(self._least, new[:, 0])
        self._most = np.fmax(self._most, new[:, 1])
        if self._points.shape[-1] < LEAST_MINUTES:
            return self._failed.copy()
        may_be = (self._standard() >= self._z) | (self._least > self._most)
        for metric, rollout in np.argwhere(may_be & ~self._failed).tolist():
            mine = self._points[metric, :, rollout]
            found = classify(mine[0], mine[1], RULES)
            self._failed[rollout] |= found.classification is Class.HIGH
        return self._failed.copy()

    def _follow(self, added: Floats) -> None:
        """Adds the new points to U, its ties and its numbers, one arm after the other."""
        for arm, sign in ((0, 1.0), (1, -1.0)):
            new = added[:, arm, :, None]
            others = self._points[:, 1 - arm]
            if arm:
                others = np.concatenate((others, added[:, :1].swapaxes(1, 2)), axis=-1)
            both = np.concatenate((others, self._points[:, arm]), axis=-1)
            self._u += (np.sign(np.nan_to_num(sign * (new - others)))).sum(axis=-1) / 2
            equal = (new == both).sum(axis=-1)
            self._tied += 3.0 * equal * equal + 3.0 * equal
            self._n[:, arm] += ~np.isnan(added[:, arm])

    def _standard(self) -> Floats:
        """Standardised rank sums: U less its mean is half the sum of signs."""
        n, m = self._n[:, 0], self._n[:, 1]
        total = np.maximum(n + m, 2)
        spread = np.sqrt(n * m / 12 * (total + 1 - self._tied / (total * (total - 1))))
        away = np.sign(self._u) * np.maximum(np.abs(self._u) - 0.5, 0)
        return np.where(spread > 0, away / np.maximum(spread, 1e-300), 0)


def points(arm: Counts) -> Floats:
    """[metrics, rollouts] a minute's; NaN where the arm had no requests."""
    sums = np.cumsum(arm.latencies.sum(axis=1), axis=1)
    n = sums[:, -1]
    found = []
    for p in QUANTILES:
        at = (sums < np.maximum(np.ceil(p * n), 1)[:, None]).sum(axis=1)
        found.append(middles(BUCKETS[np.minimum(at, len(BUCKETS) - 1)]))
    rate = arm.errors.sum(axis=1) / np.maximum(n, 1)
    return np.where(n > 0, np.stack([*found, rate]), np.nan)
