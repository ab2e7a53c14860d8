"""Kayenta's own test vectors (numbers only): every one within its tolerance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from stream.canary.kayenta.classify import Class, Effect, NanStrategy, Rules, Thresholds, classify
from stream.canary.kayenta.samples import (
    cles,
    cohen_d,
    iqr_outliers,
    mean_ratio,
    percentile,
    sigma_outliers,
    without_nan,
    zeros_for_nan,
)
from stream.canary.kayenta.score import Scored, score
from stream.canary.kayenta.shift import PUBLISHED_TOLERANCE, shift_between, wilcoxon_difference
from stream.model.analysis import Direction

VECTORS = json.loads(Path(__file__).with_name("kayenta_vectors.json").read_text())
ROOT_TOLERANCE = 1.5 * PUBLISHED_TOLERANCE


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def cases(kind: str, *fields: str) -> Any:
    found = [v for v in VECTORS[kind] if all(field in v for field in fields)]
    assert found
    return pytest.mark.parametrize("case", found, ids=[f"{i}-{v['name']}" for i, v in enumerate(found)])


def rules(case: dict[str, Any]) -> Rules:
    params = case["params"]
    return Rules(
        Direction(case["direction"]),
        NanStrategy(case["nan_strategy"]),
        case["is_critical_metric"],
        False,
        params["tolerance"],
        params["conf_level"],
        Effect(params["effect_size_measure"]),
        Thresholds(*params["effect_size_thresholds_low_high"]),
        Thresholds(*params["critical_thresholds_low_high"]),
    )


@pytest.mark.parametrize("as_published", [False, True])
@cases("mann_whitney")
def test_the_shift_and_its_interval(case: dict[str, Any], as_published: bool) -> None:
    found = shift_between(
        numbers(case["experiment"]), numbers(case["control"]), case["conf_level"], as_published=as_published
    )
    for name, value in (("ci_low", found.low), ("ci_high", found.high), ("estimate", found.estimate)):
        assert value == pytest.approx(case["expected"][name], abs=ROOT_TOLERANCE), name
        if not as_published:
            assert value == pytest.approx(case["independent_exact"][name], abs=1e-6), name


@cases("wilcoxon_diff", "x")
def test_the_standardised_rank_sum(case: dict[str, Any]) -> None:
    found = wilcoxon_difference(numbers(case["x"]), numbers(case["y"]), case["mu"], case["quantile"])
    assert found == pytest.approx(case["expected"], abs=case["tol"])


@cases("wilcoxon_diff", "p")
def test_the_normal_quantile(case: dict[str, Any]) -> None:
    assert NormalDist().inv_cdf(case["p"]) == pytest.approx(case["expected"], abs=case["tol"])


@pytest.mark.parametrize("as_published", [False, True])
@cases("classifier")
def test_the_classification(case: dict[str, Any], as_published: bool) -> None:
    found = classify(
        numbers(case["experiment"]), numbers(case["control"]), rules(case), as_published=as_published
    )
    expected = case["expected"]
    if "classification" in expected:
        assert found.classification == expected["classification"], found.reason
    if "critical" in expected:
        assert found.is_critical == expected["critical"]
    if "deviation_is_nan" in expected:
        assert math.isnan(found.effect)
    if "deviation" in expected:
        assert found.effect == expected["deviation"]
    assert found.reason


@cases("issue_cases")
def test_what_is_published_is_what_its_users_complained_of(case: dict[str, Any]) -> None:
    found = classify(numbers(case["experiment"]), numbers(case["control"]), rules(case), as_published=True)
    assert found.classification == case["kayenta_result"]["classification"]


@cases("detectors")
def test_the_outliers(case: dict[str, Any]) -> None:
    values = numbers(case["input"])
    if case["detector"] == "ksigma":
        found = sigma_outliers(values, case["k"])
    else:
        found = iqr_outliers(values, case["factor"], fences=case["reduce_sensitivity"])
    assert found.tolist() == case["is_outlier"]


@cases("transforms")
def test_what_is_left_of_the_points(case: dict[str, Any]) -> None:
    values = numbers(case["input"])
    done = {
        "nan_remove": lambda: without_nan(values),
        "nan_replace_0": lambda: zeros_for_nan(values),
        "iqr_remove": lambda: values[~iqr_outliers(values, case["factor"])],
        "ksigma_remove": lambda: values[~sigma_outliers(values, case["k"])],
    }[case["op"]]()
    assert done.tolist() == case["expected"]


@cases("statistics", "effect")
def test_the_size_of_an_effect(case: dict[str, Any]) -> None:
    measure = {"meanRatio": mean_ratio, "cohenD": cohen_d, "cles": cles}[case["effect"]]
    found = measure(numbers(case["experiment"]), numbers(case["control"]))
    if case["expected"] == "NaN":
        assert math.isnan(found)
    else:
        assert found == pytest.approx(case["expected"], abs=case.get("tol", 1e-9))


@cases("statistics", "percentile_type7")
def test_percentiles(case: dict[str, Any]) -> None:
    for wanted in case["percentile_type7"]:
        found = percentile(numbers(case["input"]), wanted["p"])
        assert found == pytest.approx(wanted["expected"], abs=max(1e-5, wanted["tol"]))


@cases("scorer")
def test_the_score(case: dict[str, Any]) -> None:
    metrics = [
        Scored(m["name"], Class(m["classification"]), m["critical"], tuple(m["groups"]))
        for m in case["metrics"]
    ]
    found = score(metrics, case["group_weights"])
    assert found.score == case["expected"]["summary_score"]
    if "group_scores_sorted" in case["expected"]:
        assert sorted(found.groups.values()) == case["expected"]["group_scores_sorted"]
