"""How one α is spent over a whole rollout: shares of it for each metric in each stage.

Whatever happens, however often it is looked at, a release that is within every margin is called worse in any
stage with probability α at most: the shares add up to α (Bonferroni), and each test is valid at all looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

RESERVE = 0.1
"""The part of α that is kept for stages that an analysis has not planned."""
LEAST_SHARE = 1e-100
"""What is halved again and again ends here: no sum notices it, and it has a logarithm."""


@dataclass(frozen=True, slots=True)
class Spending:
    alpha: float
    metric_weights: Mapping[str, float]
    stage_weights: Sequence[float]

    @classmethod
    def over(cls, alpha: float, metric_weights: Mapping[str, float], stages_pct: Sequence[float]) -> Spending:
        """Even over the stages that have a control, and by weight over the metrics.

        At 100 % of the traffic there is nothing to compare with, so such a stage costs nothing, unless it is
        the only one (then it is compared with the time before the deploy).
        """
        assert 0 < alpha < 1, f"α = {alpha}"
        assert metric_weights, "no metrics"
        assert all(weight > 0 for weight in metric_weights.values()), "a metric without weight"
        compared = [float(pct < 100) for pct in stages_pct]
        return cls(alpha, dict(metric_weights), compared if any(compared) else [1.0] * len(compared))

    def alpha_of(self, metric: str, stage: int) -> float:
        """0 for a stage without a control."""
        share = self.metric_weights[metric] / sum(self.metric_weights.values())
        return self.alpha * share * self.stage_weights[stage] / sum(self.stage_weights)

    def log_threshold(self, metric: str, stage: int) -> float:
        """What ln E must reach, ln 1/α."""
        alpha = self.alpha_of(metric, stage)
        return -log(alpha) if alpha > 0 else float("inf")


def share_of_stage(
    plan_pct: Sequence[float], spent: float, begun: tuple[int, ...], percent: float | None
) -> tuple[float, tuple[int, ...]]:
    """(share of a rollout's α for the stage that begins now, planned stages that have had theirs).

    Stages of the plan with a control have even shares of 1 − ``RESERVE``. Every other one has half of what is
    then left: one that nobody planned, one that begins for a second time, and the one at 100 %, which is
    compared with the past. So all that may ever begin have less than α together, however many they are.

    ``percent``: of the traffic; None: nobody said, so it is the only stage of a plan without shares.
    """
    places = [i for i, pct in enumerate(plan_pct) if pct < 100]
    if not places and (percent is None or begun):
        places = [0]
    each = (1 - RESERVE) / len(places) if places else 0.0
    for place in places:
        if place not in begun and (percent is None or plan_pct[place] == percent < 100):
            # A plan that was changed meanwhile may give out no more than is left.
            return max(min(each, 1 - spent), LEAST_SHARE), (*begun, place)
    kept = each * sum(1 for place in places if place not in begun)
    return max((1 - spent - kept) / 2, LEAST_SHARE), begun
