"""All that configuration files say."""

from __future__ import annotations

from dataclasses import dataclass

from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.graph import ServiceGraph
from stream.model.objective import Objective


@dataclass(frozen=True, slots=True)
class Ruleset:
    objectives: tuple[Objective, ...] = ()
    analyses: tuple[Analysis, ...] = ()
    graphs: tuple[ServiceGraph, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
