"""The methods for one look, on a trial: how it stands at each minute, and a verdict when its time is over."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from stream.canary.absorb import absorb
from stream.canary.counts import PANE_BITS, Counts
from stream.canary.detail import measure
from stream.canary.look import settle
from stream.canary.methods import judge
from stream.canary.points import end_minute
from stream.canary.sequential import Progress
from stream.canary.trial import BASELINE, CANARY, Measures, ServiceSlo, Trial
from stream.canary.verdict import Recommendation, Severity, Verdict
from stream.config.margins import MARGINS
from stream.model.analysis import ERROR_COLUMN, Analysis, Baseline, Method, Metric
from stream.sketch.histogram import ONE, SQUARE, HistogramSet

METRICS = tuple(Metric(name, *MARGINS[name]) for name in ("latency-p50", "latency-p99", "error-rate"))
PLAIN = Analysis("shop", "payment-canary", "payment", METRICS, warmup_s=0)
SLOS = (ServiceSlo("payment-up", ERROR_COLUMN, 99.0),)


def trial_of(
    method: Method, slower: float = 1.0, errors: float = 0.005, minutes: int = 10, **fields: object
) -> Trial:
    """Of one endpoint with 200 requests of each arm a pane; the canary's are so much slower and worse."""
    analysis = replace(PLAIN, method=method, **fields)  # type: ignore[arg-type]
    trial = Trial(analysis, Measures.of(analysis, SLOS, {ERROR_COLUMN: 0}), baseline=Baseline.STABLE)
    rng = np.random.default_rng(5)
    for pane in range(6 * minutes):
        counts = counted(rng, slower, errors)
        absorb([trial], [trial.pane(counts, [CANARY, BASELINE], ["/pay", "/pay"])])
        if pane % 6 == 5:
            end_minute(trial)
    return trial


def counted(rng: np.random.Generator, slower: float, errors: float) -> Counts:
    n, keys = 200, np.arange(2)
    bad = rng.binomial(n, [errors, 0.005])
    latency = rng.lognormal(3, 0.5, (2, n)) * np.array([[slower], [1.0]])
    events = np.full(2, n)
    cells = np.column_stack([events, events * ONE, bad, bad * ONE])
    sums = np.column_stack([events, events * ONE, events * SQUARE])
    histograms = HistogramSet.from_values(np.repeat(keys, n), latency.ravel())
    assert int(keys.max()) < 1 << PANE_BITS
    return Counts.summed(keys, sums, keys, np.zeros(2, np.int64), cells, histograms)


def missing(method: Method, canary: set[str], baseline: set[str], **fields: object) -> Trial:
    """A trial of three endpoints; of each arm only those in the set send latencies, and a verdict if "ok"
    is in it."""
    analysis = replace(PLAIN, method=method, **fields)  # type: ignore[arg-type]
    trial = Trial(analysis, Measures.of(analysis, SLOS, {ERROR_COLUMN: 0}), baseline=Baseline.STABLE)
    rng, endpoints = np.random.default_rng(3), ["/a", "/b", "/c"]
    n, keys, has = 200, np.arange(6), [canary, baseline]
    arms, where = [CANARY, BASELINE] * 3, [e for e in endpoints for _ in range(2)]
    slow = np.array([key for key in keys if where[key] in has[arms[key]]], np.int64)
    judged = np.array([key for key in keys if "ok" in has[arms[key]]], np.int64)
    for pane in range(36):
        events = np.full(6, n)
        sums = np.column_stack([events, events * ONE, events * SQUARE])
        cells = np.column_stack([events, events * ONE, events // 200, events // 200 * ONE])[judged]
        latencies = HistogramSet.from_values(np.repeat(slow, n), rng.lognormal(3, 0.5, n * len(slow)))
        counts = Counts.summed(keys, sums, judged, np.zeros(len(judged), np.int64), cells, latencies)
        absorb([trial], [trial.pane(counts, arms, where)])
        settle(trial)
        if pane % 6 == 5:
            end_minute(trial)
    return trial


EVERYTHING = {"/a", "/b", "/c", "ok"}
LATENCY_ONLY = (METRICS[1],)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize(
    ("canary", "baseline", "metrics", "unknown"),
    [
        (set(), set(), METRICS, {"latency-p99", "error-rate"}),
        ({"ok"}, {"ok"}, METRICS, {"latency-p99"}),
        ({"ok"}, EVERYTHING, METRICS, {"latency-p99"}),
        (EVERYTHING, {"ok"}, METRICS, {"latency-p99"}),
        (EVERYTHING, {"/a", "/b", "/c"}, METRICS, {"error-rate"}),
        ({"/a", "/b", "/c"}, EVERYTHING, METRICS, {"error-rate"}),
        ({"ok"}, EVERYTHING, LATENCY_ONLY, {"latency-p99"}),
        ({"/a", "ok"}, {"/c", "ok"}, METRICS, set()),
    ],
)
def test_what_an_arm_says_nothing_of_is_nodata_and_no_canary_passes_by_it(
    method: Method, canary: set[str], baseline: set[str], metrics: tuple[Metric, ...], unknown: set[str]
) -> None:
    trial = missing(method, canary, baseline, metrics=metrics)
    measured = measure([trial])[0] if method is Method.SEQUENTIAL else ()
    said = judge(trial, progress(trial), measured)
    found = {one.name: one for one in said.metrics}
    assert {name for name, one in found.items() if one.classification == "nodata"} >= unknown
    for name in unknown:
        one = found[name]
        assert one.n == 0 or one.n_baseline == 0
        assert one.canary is None or one.baseline is None
        assert said.verdict is not Verdict.MARGINAL or one.reason in said.reason
    if unknown:
        assert said.verdict is not Verdict.PASS
        assert said.recommendation is not Recommendation.PROMOTE
        assert said.score is None or said.score < 90


def test_what_the_fixed_method_is_not_asked_for_it_does_not_miss() -> None:
    """Without latencies in either arm, and an analysis of errors alone."""
    trial = missing(Method.FIXED, {"ok"}, {"ok"}, metrics=(METRICS[2],))
    said = judge(trial, progress(trial))
    assert (said.verdict, [one.name for one in said.metrics]) == (Verdict.PASS, ["error-rate"])
    trial = missing(Method.FIXED, {"ok"}, EVERYTHING, metrics=(METRICS[2],))
    assert judge(trial, progress(trial)).verdict is Verdict.MARGINAL


def test_the_fixed_method_says_nothing_of_errors_that_nobody_counted() -> None:
    trial = missing(Method.FIXED, EVERYTHING, EVERYTHING, metrics=LATENCY_ONLY)
    assert {one.name for one in judge(trial, progress(trial)).metrics} == {"latency", "latency-p99"}


def progress(trial: Trial, over: bool = True) -> Progress:
    elapsed_s = trial.analysis.longest_s if over else 600
    return Progress(elapsed_s, 300, trial.analysis.longest_s, 100, *trial.requests)


@pytest.mark.parametrize("method", [Method.FIXED, Method.KAYENTA])
def test_before_the_end_there_is_no_verdict_but_how_it_stands(method: Method) -> None:
    trial = trial_of(method, slower=2.0, errors=0.1)
    said = judge(trial, progress(trial, over=False))
    assert (said.verdict, said.final) == (Verdict.INCONCLUSIVE, False)
    assert said.recommendation is Recommendation.CONTINUE
    assert said.reason.startswith("so far fail")


@pytest.mark.parametrize("method", [Method.FIXED, Method.KAYENTA])
def test_a_bad_canary_fails_and_one_that_is_alike_passes(method: Method) -> None:
    bad, alike = trial_of(method, slower=2.0, errors=0.1), trial_of(method)
    failed, passed = judge(bad, progress(bad)), judge(alike, progress(alike))
    assert (failed.verdict, failed.recommendation) == (Verdict.FAIL, Recommendation.ROLLBACK)
    assert (passed.verdict, passed.recommendation) == (Verdict.PASS, Recommendation.PROMOTE)
    assert passed.score == 100
    assert failed.score is not None
    assert failed.score < 70


def test_the_fixed_method_names_each_anomaly_with_its_severity() -> None:
    trial = trial_of(Method.FIXED, slower=2.0, errors=0.1)
    found = {one.name: one.severity for one in judge(trial, progress(trial)).anomalies}
    assert found == {
        "error-rate": Severity.CRITICAL,
        "latency": Severity.WARNING,
        "latency-p99": Severity.CRITICAL,
        "slo/payment-up": Severity.CRITICAL,
    }


def test_kayenta_as_published_fails_a_score_that_is_just_the_marginal_one() -> None:
    """One of two metrics of equal weight is high: 50."""
    metrics = METRICS[0], METRICS[2]
    fields = {"metrics": metrics, "marginal_score": Decimal(50)}
    mended = trial_of(Method.KAYENTA, slower=2.0, **fields)
    published = trial_of(Method.KAYENTA, slower=2.0, as_published=True, **fields)
    assert judge(mended, progress(mended)).verdict is Verdict.MARGINAL
    assert judge(published, progress(published)).verdict is Verdict.FAIL


def test_kayenta_has_a_point_for_each_minute() -> None:
    trial = trial_of(Method.KAYENTA, minutes=7)
    assert len(trial.mark.points) == 7
    p50 = [point[0] for point in trial.mark.points]
    assert all(canary is not None and 15 < canary < 25 for canary, _ in p50)
