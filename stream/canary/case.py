"""One analysis at work."""

from __future__ import annotations

from dataclasses import dataclass

from stream.canary.rollout import Rollout
from stream.canary.trial import Measures, Trial
from stream.canary.verdict import Judgement
from stream.model.analysis import Analysis


@dataclass(slots=True)
class Case:
    """One analysis: its rollout, the trial of the stage under way, and what was said last."""

    analysis: Analysis
    measures: Measures
    rollout: Rollout
    trial: Trial | None = None
    said: Judgement | None = None
    told: str = ""
    """What the newest status record was about, as a hash; empty: there was none."""
