"""The kinds CanaryAnalysis and ShadowComparison: what they mean, and what is wrong with them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from stream.config import check_paths, load_rules, render_json, render_text
from stream.model.analysis import Analysis, Baseline, Direction, Margin, Method, Metric
from stream.model.comparison import Comparison

SLO = """apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up, namespace: shop}
spec: {service: payment, sli: {metric: availability}, target: 99, timeWindow: {type: rolling, duration: 30d}}
---
"""


def analysis(spec: str, name: str = "canary") -> str:
    head = "apiVersion: sre.example.com/v1\nkind: CanaryAnalysis\n"
    return f"{head}metadata: {{name: {name}, namespace: shop}}\nspec: {{service: payment, {spec}}}\n---\n"


def comparison(spec: str, name: str = "shadow") -> str:
    return analysis(spec, name).replace("CanaryAnalysis", "ShadowComparison")


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    report = check_paths([file])
    return [str(problem).removeprefix(f"{file}:").split(": ", 1)[1] for problem in report.problems]


def test_an_analysis_says_who_is_compared_by_what(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        SLO
        + analysis(
            "metrics: [{name: latency-p99, margin: {percent: 10}, weight: 2, critical: true}, "
            "{name: slo/up}], "
            "method: fixed, baseline: [stable, before], alpha: 0.01, scores: {pass: 95, marginal: 75}, "
            "duration: {minimum: 90s, maximum: 15m}, warmup: 61s, minimumEvents: 50, stages: [5, 25.5, 100], "
            "onFail: advise"
        )
    )
    (found,) = load_rules([file]).analyses
    assert found == Analysis(
        *("shop", "canary", "payment"),
        (
            Metric("latency-p99", Direction.INCREASE, Margin(Decimal(10)), Decimal(2), True),
            Metric("slo/up", Direction.INCREASE, Margin(Decimal(25), Decimal("0.1"))),
        ),
        Method.FIXED,
        (Baseline.STABLE, Baseline.BEFORE),
        Decimal("0.01"),
        *(Decimal(95), Decimal(75), 90, 900, 70, 50),
        (Decimal(5), Decimal("25.5"), Decimal(100)),
        rolls_back=False,
    )


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            "metrics: [{name: latency-p98}]",
            "spec.metrics[0].name: must be one of latency-p50, latency-p90, latency-p95, latency-p99, "
            'latency-p99.9, error-rate, throughput, slo/<name of an SLO>, found "latency-p98" '
            "(did you mean latency-p99?)",
        ),
        (
            "metrics: [{name: error-rate, direction: decrease}]",
            'spec.metrics[0].direction: must be "increase", found "decrease" (did you mean increase?)',
        ),
        ("metrics: [{name: slo/down}]", "spec.metrics: there is no SLO shop/down of payment"),
        (
            "metrics: [{name: error-rate}, {name: error-rate}]",
            "spec.metrics[1]: the metric error-rate is already on line 9",
        ),
        ("metrics: []", "spec.metrics: must name at least one metric (such as latency-p99)"),
        (
            "metrics: [{name: error-rate}], stages: [25, 5]",
            "spec.stages: must be shares in percent that ascend, found a list",
        ),
        (
            "metrics: [{name: error-rate}], baseline: [blue]",
            'spec.baseline[0]: must be one of baseline, stable, before, found "blue" (did you mean stable?)',
        ),
        (
            "metrics: [{name: error-rate}], duration: {minimum: 2h}",
            "spec.duration: minimum must be at most maximum",
        ),
        (
            "metrics: [{name: error-rate}], scores: {pass: 60}",
            "spec.scores: marginal (70) must be at most pass (60)",
        ),
    ],
    ids=lambda case: case.split(":")[0] if isinstance(case, str) else None,
)
def test_what_is_wrong_with_an_analysis_is_told_with_its_place(
    spec: str, problem: str, tmp_path: Path
) -> None:
    assert problems(tmp_path, SLO + analysis(spec)) == [problem]


def test_a_service_has_one_analysis_and_one_comparison(tmp_path: Path) -> None:
    two = analysis("metrics: [{name: error-rate}]") + analysis("metrics: [{name: error-rate}]", "other")
    two += comparison("maximumMismatch: 1") + comparison("maximumMismatch: 1", "other")
    file = tmp_path / "a.yaml"
    assert problems(tmp_path, two) == [
        f"spec.service: shop/payment is already analysed by the one at {file}:3:18",
        f"spec.service: shop/payment is already compared by the one at {file}:13:18",
    ]


def test_a_comparison_says_how_many_may_differ(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        SLO
        + comparison(
            "maximumMismatch: 0.1, compare: {mismatch: slo/up}, alpha: 0.01, minimumEvents: 500, "
            "duration: {minimum: 10m, maximum: 2h}"
        )
    )
    (found,) = load_rules([file]).comparisons
    expected = Comparison(
        *("shop", "shadow", "payment", Decimal("0.1"), "slo/up", Decimal("0.01"), 600, 7200, 500)
    )
    assert (found, found.slo) == (expected, "up")


def test_of_a_comparison_only_the_maximum_must_be_given(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(comparison("maximumMismatch: 1"))
    assert load_rules([file]).comparisons == (Comparison("shop", "shadow", "payment", Decimal(1)),)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("alpha: 0.05", "spec.maximumMismatch: required, but missing"),
        ("maximumMismatch: 0", "spec.maximumMismatch: must be a number above 0 and below 100, found 0"),
        (
            "maximumMismatch: 1, compare: {mismatch: oops}",
            'spec.compare.mismatch: must be one of ok, slo/<name of an SLO>, found "oops"',
        ),
        (
            "maximumMismatch: 1, compare: {mismatch: slo/down}",
            "spec.compare: there is no SLO shop/down of payment",
        ),
        (
            "maximumMismatch: 1, stages: [5]",
            "spec.stages: unknown key (allowed: alpha, compare, duration, maximumMismatch, minimumEvents, "
            "service)",
        ),
    ],
    ids=lambda case: case if isinstance(case, str) else None,
)
def test_what_is_wrong_with_a_comparison_is_told_with_its_place(
    spec: str, problem: str, tmp_path: Path
) -> None:
    assert problems(tmp_path, SLO + comparison(spec)) == [problem]


def test_a_report_names_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(analysis("metrics: [{name: error-rate}]") + comparison("maximumMismatch: 0.5"))
    report = check_paths([Path("a.yaml")])
    assert render_text(report).splitlines() == [
        "shop/canary: sequential canary analysis of payment, 1 metric, at 100 % for 5m to 1h",
        "shop/shadow: shadow comparison of payment, at most 0.5 % mismatches, for 5m to 1d",
        "0 SLOs, 1 canary analysis and 1 shadow comparison in 1 file, no problem",
    ]
    assert render_json(report)["comparisons"] == [
        {
            "file": "a.yaml",
            "line": 8,
            "column": 18,
            "namespace": "shop",
            "name": "shadow",
            "service": "payment",
            "mismatch": "ok",
            "maximum_mismatch_pct": 0.5,
        }
    ]


SCHEMA = Path(__file__).parents[2] / "schemas" / "canary-analysis.schema.json"


@pytest.mark.parametrize(
    ("spec", "is_right"),
    [
        ("metrics: [{name: latency-p99.9}]", True),
        ("metrics: [{name: slo/up, margin: {percent: 10, least: 0.5}, weight: 2, critical: true}]", True),
        (
            "metrics: [{name: throughput, direction: either}], alpha: 0.01, scores: {pass: 80}, warmup: 0s",
            True,
        ),
        ("metrics: [{name: error-rate}], duration: {minimum: 0s, maximum: 15m}, stages: [5, 100]", True),
        ("metrics: [{name: error-rate}], method: fixed, baseline: [before], onFail: advise", True),
        ("metrics: [{name: error-rate}], minimumEvents: null, warmup: 0s, stages: null", True),
        ("metrics: []", False),
        ("stages: [5]", False),
        ("metrics: [{name: latency-p98}]", False),
        ("metrics: [{name: latency-p50, direction: decrease}]", True),
        ("metrics: [{name: error-rate, direction: increase}]", True),
        ("metrics: [{name: error-rate, direction: either}]", False),
        ("metrics: [{name: slo/up, direction: decrease}]", False),
        ("metrics: [{name: throughput, direction: increase}]", False),
        ("metrics: [{name: slo/}]", False),
        ("metrics: [{name: error-rate, margin: {least: 1}}]", False),
        ("metrics: [{name: error-rate, weight: 0}]", False),
        ("metrics: [{name: error-rate}], alpha: 1", False),
        ("metrics: [{name: error-rate}], duration: {maximum: 0s}", False),
        ("metrics: [{name: error-rate}], stages: [0]", False),
        ("metrics: [{name: error-rate}], onFail: page", False),
        ("metrics: [{name: error-rate}], onfail: advise", False),
    ],
)
def test_editors_take_and_refuse_what_validate_does(spec: str, is_right: bool, tmp_path: Path) -> None:
    text = SLO + analysis(spec)
    document = list(yaml.safe_load_all(text))[1]
    schema: Any = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert (problems(tmp_path, text) == []) is is_right
    assert schema.is_valid(document) is is_right
