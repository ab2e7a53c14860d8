"""Canary verdicts and rollouts in the words of people: ``p99 +222 % [over +35 %]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream.console import text

Record = Mapping[str, Any]


def trial_line(status: Record) -> str:
    """Of a ``rollout-status`` whose stage has begun: who is on trial, with how much, beside whom."""
    percent, previous = status["stage"]["percent"], status["previous_version"]
    line = f"{_release(status, status['version'])} is on trial"
    line += "" if percent is None else f" at {percent:g} %"
    return line + ("" if previous is None else f", beside {previous}")


def verdict_line(verdict: Record) -> str:
    """Of a final ``canary-verdicts`` record, with its reason."""
    release = _release(verdict, verdict["canary"]["version"])
    match verdict["verdict"]:
        case "fail":
            worse = [effect(one) for one in verdict["metrics"] if one["classification"] == "worse"]
            return f"{release} failed its canary: {', '.join(worse) or verdict['reason']}"
        case "pass":
            return f"{release} passed its canary: no metric is worse"
    return f"{release} is undecided ({verdict['verdict']}): somebody has to look"


def verdict_details(verdict: Record) -> list[str]:
    """What a verdict rests on."""
    worse = [one for one in verdict["metrics"] if one["classification"] == "worse"]
    lines = [_against(one) for one in worse] or [verdict["reason"]]
    others = ", ".join(effect(one) for one in verdict["metrics"] if one["classification"] != "worse")
    if others:
        lines.append(f"not worse: {others}" if worse else others)
    requests = text.count(verdict["requests"]["canary"])
    return [*lines, f"after {text.duration(judged_s(verdict))} and {requests} requests of the canary"]


def judged_s(verdict: Record) -> float:
    """From the beginning of the stage to the verdict."""
    return (text.epoch_ms(verdict["evaluated_at"]) - text.epoch_ms(verdict["started_at"])) / 1000


def effect(metric: Record) -> str:
    """``p99 +222 % [over +35 %]``; of errors, which are few, the rates."""
    name = _short(metric["name"])
    if not metric["name"].startswith("latency-"):
        if metric["canary"] is None or metric["baseline"] is None:
            return name
        return f"{name} {_rate(metric['canary'])} against {_rate(metric['baseline'])}"
    if metric["ratio"] is None:
        return name
    return f"{name} {text.change(metric['ratio'])}{_interval(metric['interval'])}"


def _interval(interval: Sequence[float | None] | None) -> str:
    low, high = interval or (None, None)
    if low is not None and high is not None:
        return f" [{text.change(low)}, {text.change(high)}]"
    if low is not None:
        return f" [over {text.change(low)}]"
    return "" if high is None else f" [under {text.change(high)}]"


def _against(metric: Record) -> str:
    """Both values of a metric that is worse, and where most of it is."""
    show = text.latency if metric["name"].startswith("latency-") else _rate
    line = f"{_short(metric['name'])} {show(metric['canary'])} against {show(metric['baseline'])}"
    if metric["margin_ratio"] is not None:
        line += f", {text.change(metric['margin_ratio'])} would be no harm"
    return line + (f"; most of it on {metric['worst_endpoint']}" if metric["worst_endpoint"] else "")


def _release(record: Record, version: str | None) -> str:
    return f"{record['service']} {version or 'without a version'}"


def _short(metric: str) -> str:
    return "errors" if metric == "error-rate" else metric.removeprefix("latency-").removeprefix("slo/")


def _rate(share: float) -> str:
    return f"{100 * share:.2g} %"
