"""The kind ``CanaryAnalysis``: its keys, one line each, and what they mean.

- A metric without a margin has the default of :mod:`stream.config.margins`; a margin that is given replaces
  both of its numbers.
- Durations are rounded up to whole panes. Stages ascend, and the last one need not be 100.
- A metric that is named twice is a fault: which margin would hold?
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import pairwise

from stream.config.header import NO_METADATA, Metadata, Reading, read_metadata
from stream.config.margins import MARGINS
from stream.config.section import FaultError, Section, Value, expected
from stream.config.values import count, duration_ms, flag, list_of, name, number, one_of
from stream.model.analysis import (
    LATENCY_METRICS,
    SLO_PREFIX,
    THROUGHPUT,
    Analysis,
    Baseline,
    Direction,
    Margin,
    Method,
    Metric,
)
from stream.window.panes import round_up_to_pane_s

ON_FAIL = ("rollback", "advise")
_KNOWN = tuple(metric for metric in MARGINS if metric != "slo")
_percent = number(least=0, most=100)
_margin_pct = number(least=0, most=1000)


def read_analysis(document: Section) -> Reading:
    """Reads what stands beside ``apiVersion`` and ``kind``."""
    metadata = document.required("metadata", read_metadata) or NO_METADATA
    analysis = document.required("spec", partial(_spec, metadata))
    return Reading(metadata.identity, metadata.mark, analysis, "analysis")


def _spec(metadata: Metadata, value: Value) -> Analysis | None:
    plain = Analysis("", "", "", ())
    with value.section() as spec:
        service = spec.required("service", name)
        metrics = spec.required("metrics", _metrics)
        method = spec.optional("method", one_of(tuple(Method)), plain.method)
        baselines = spec.optional("baseline", list_of(one_of(tuple(Baseline)), "baseline"), plain.baselines)
        alpha = spec.optional("alpha", number(above=0, below=1), plain.alpha)
        pass_score, marginal_score = spec.optional(
            "scores", _scores, (plain.pass_score, plain.marginal_score)
        )
        lengths_s = plain.shortest_s, plain.longest_s
        shortest_s, longest_s = spec.optional("duration", duration_range(*lengths_s), lengths_s)
        warmup_ms = spec.optional("warmup", duration_ms(zero=True), plain.warmup_s * 1000)
        least_events = spec.optional("minimumEvents", count, plain.least_events)
        stages = spec.optional("stages", _stages, plain.stages_pct)
        on_fail = spec.optional("onFail", one_of(ON_FAIL), ON_FAIL[0])
        as_published = spec.optional("asPublished", flag, False)
    if metadata.name is None or service is None or metrics is None:
        return None
    return Analysis(
        metadata.namespace,
        metadata.name,
        service,
        metrics,
        Method(method),
        tuple(Baseline(baseline) for baseline in dict.fromkeys(baselines)),
        alpha,
        pass_score,
        marginal_score,
        shortest_s,
        longest_s,
        round_up_to_pane_s(warmup_ms),
        least_events,
        stages,
        on_fail == "rollback",
        as_published,
    )


def _metrics(value: Value) -> tuple[Metric, ...]:
    found: dict[str, Metric] = {}
    first_at: dict[str, int] = {}
    for item in value.items():
        metric = item.read(_metric)
        if metric is None:
            continue
        line = first_at.setdefault(metric.name, item.node.mark.line)
        if metric.name in found:
            item.report(f"the metric {metric.name} is already on line {line}")
        found.setdefault(metric.name, metric)
    if not value.items():
        raise FaultError("must name at least one metric", f"such as {_KNOWN[3]}")
    return tuple(found.values())


def _metric(value: Value) -> Metric | None:
    with value.section() as metric:
        called = metric.required("name", _metric_name)
        direction, margin = MARGINS["slo" if called is None or called.startswith(SLO_PREFIX) else called]
        direction = Direction(metric.optional("direction", one_of(_directions(called)), direction))
        margin = metric.optional("margin", _margin, margin)
        weight = metric.optional("weight", number(above=0), Decimal(1))
        critical = metric.optional("critical", flag, False)
    return None if called is None else Metric(called, direction, margin, weight, critical)


def _directions(called: str | None) -> tuple[Direction, ...]:
    """Which changes of a metric can be harm: fewer errors are none, nor is more traffic by itself."""
    if called == THROUGHPUT:
        return Direction.DECREASE, Direction.EITHER
    return tuple(Direction) if called is None or called in LATENCY_METRICS else (Direction.INCREASE,)


def _metric_name(value: Value) -> str:
    called = name(value)
    if called in _KNOWN or (called.startswith(SLO_PREFIX) and len(called) > len(SLO_PREFIX)):
        return called
    return one_of((*_KNOWN, f"{SLO_PREFIX}<name of an SLO>"))(value)


def _margin(value: Value) -> Margin | None:
    with value.section() as margin:
        pct = margin.required("percent", _margin_pct)
        least = margin.optional("least", number(least=0), Decimal(0))
    return None if pct is None else Margin(pct, least)


def _scores(value: Value) -> tuple[Decimal, Decimal]:
    plain = Analysis("", "", "", ())
    with value.section() as scores:
        passing = scores.optional("pass", _percent, plain.pass_score)
        marginal = scores.optional("marginal", _percent, plain.marginal_score)
    if marginal > passing:
        raise FaultError(f"marginal ({marginal}) must be at most pass ({passing})")
    return passing, marginal


def duration_range(least_s: int, most_s: int) -> Callable[[Value], tuple[int, int]]:
    """``{minimum, maximum}``, in seconds and whole panes; the arguments stand in for one that is left out."""

    def parse(value: Value) -> tuple[int, int]:
        with value.section() as duration:
            shortest_ms = duration.optional("minimum", duration_ms(zero=True), least_s * 1000)
            longest_ms = duration.optional("maximum", duration_ms(), most_s * 1000)
        if shortest_ms > longest_ms:
            raise FaultError("minimum must be at most maximum")
        return round_up_to_pane_s(shortest_ms), round_up_to_pane_s(longest_ms)

    return parse


def _stages(value: Value) -> tuple[Decimal, ...]:
    shares = list_of(number(above=0, most=100), "stage")(value)
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise expected("shares in percent that ascend", value)
    return tuple(shares)
