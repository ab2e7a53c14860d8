"""How one α is spent over a whole rollout: shares of it for each metric in each stage.

Whatever happens, however often it is looked at, a release that is within every margin is called worse in any
stage with probability α at most: the shares add up to α (Bonferroni), and each test is valid at all looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log


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
