"""What a canary analysis means once its file is valid: who is compared with whom, by what, until when."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from stream.model import names

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
LATENCY_METRICS = tuple(f"latency-{name}" for name in QUANTILES)
ERROR_RATE = "error-rate"
THROUGHPUT = "throughput"
ERROR_COLUMN = "availability"
"""The SLI column of errors by the default rule: an availability without criteria."""
SLO_PREFIX = "slo/"
"""``slo/payment-up``: the share of an SLO's events that are bad."""


class Direction(StrEnum):
    """Which change of a metric is harm."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class Baseline(StrEnum):
    """What the canary is compared with; the first of an analysis' list that there is."""

    BASELINE = "baseline"
    STABLE = "stable"
    BEFORE = "before"
    """The service's own past, up to the deploy."""


class Method(StrEnum):
    SEQUENTIAL = "sequential"
    FIXED = "fixed"
    KAYENTA = "kayenta"


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse is not yet a harm: a share of the baseline's value, and at least so much in its unit
    (milliseconds of a latency, percentage points of a rate)."""

    pct: Decimal
    least: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One of ``LATENCY_METRICS``, ``error-rate``, ``throughput``, or an SLO by its name."""

    name: str
    direction: Direction
    margin: Margin
    weight: Decimal = Decimal(1)
    critical: bool = False

    @property
    def quantile(self) -> float | None:
        """For a latency."""
        return QUANTILES[self.name.removeprefix("latency-")] if self.name in LATENCY_METRICS else None

    @property
    def slo(self) -> str | None:
        """Name of the SLO, for one of its kind."""
        return self.name.removeprefix(SLO_PREFIX) if self.name.startswith(SLO_PREFIX) else None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One ``CanaryAnalysis``. Percentages are decimals exactly as written; durations are whole panes."""

    namespace: str
    name: str
    service: str
    metrics: tuple[Metric, ...]
    method: Method = Method.SEQUENTIAL
    baselines: tuple[Baseline, ...] = tuple(Baseline)
    alpha: Decimal = Decimal("0.05")
    pass_score: Decimal = Decimal(90)
    marginal_score: Decimal = Decimal(70)
    shortest_s: int = 300
    longest_s: int = 3600
    warmup_s: int = 60
    least_events: int = 100
    """Of each arm."""
    stages_pct: tuple[Decimal, ...] = (Decimal(100),)
    """Shares of the traffic that the canary gets, ascending."""
    rolls_back: bool = True
    """Whether a failure is a rollback, and not advice alone."""
    as_published: bool = False
    """Kayenta's judge with its known defects."""

    @property
    def identity(self) -> str:
        return names.identity(self.namespace, self.name)

    @property
    def service_key(self) -> str:
        return names.service_key(self.namespace, self.service)
