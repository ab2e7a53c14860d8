"""Classified metrics to a score, and a score to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stream.canary.kayenta.classify import Class

NODATA_SHARE = 0.5
"""With so many metrics without data nothing is said for the canary."""


class Outcome(StrEnum):
    PASS = "Pass"  # noqa: S105 - no password
    MARGINAL = "Marginal"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class Scored:
    """One metric; one without groups is in none."""

    name: str
    classification: Class
    is_critical: bool = False
    groups: tuple[str, ...] = ()
    is_muted: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    score: float
    groups: Mapping[str, float]
    """As shown: 0 for a group without data, which counts as 100."""
    reason: str


def score(metrics: Sequence[Scored], weights: Mapping[str, float]) -> Score:
    """``weights`` in percent by group; what is left of 100 is shared by the groups without one."""
    metrics = [metric for metric in metrics if not metric.is_muted]
    names = list(dict.fromkeys(group for metric in metrics for group in metric.groups))
    counted = {name: _group([m for m in metrics if name in m.groups]) for name in names}
    shown = {name: 0.0 if value is None else value for name, value in counted.items()}
    critical = [m.name for m in metrics if m.is_critical and m.classification is not Class.PASS]
    if critical:
        return Score(0.0, shown, f"{', '.join(critical)} failed, and must not")
    empty = sum(metric.classification is Class.NODATA for metric in metrics)
    if metrics and empty >= NODATA_SHARE * len(metrics) and any(v is not None for v in counted.values()):
        all_empty = all(value is None for value in counted.values())
        if all_empty or empty > NODATA_SHARE * len(metrics):
            return Score(0.0, shown, f"{empty} of {len(metrics)} metrics have no data")
    if metrics and empty == len(metrics):
        return Score(0.0, shown, "no metric has data")
    given = {name: weights[name] for name in names if name in weights}
    rest = (100 - sum(given.values())) / max(1, len(names) - len(given))
    total = sum(
        (100.0 if value is None else value) * given.get(name, rest) / 100 for name, value in counted.items()
    )
    return Score(round(total, 2), shown, "weighted sum of the groups")


def _group(metrics: Sequence[Scored]) -> float | None:
    """Percent that passed; None without data."""
    judged = [metric for metric in metrics if metric.classification is not Class.NODATA]
    passed = sum(metric.classification is Class.PASS for metric in judged)
    return 100 * passed / len(judged) if judged else None


def verdict(score: float, pass_score: float, marginal_score: float, *, as_published: bool = False) -> Outcome:
    """The published standalone judge fails a score that is just the marginal one, which its own scorer calls
    Marginal."""
    if score >= pass_score:
        return Outcome.PASS
    if score > marginal_score or (score == marginal_score and not as_published):
        return Outcome.MARGINAL
    return Outcome.FAIL
