"""The methods for one look, on a trial: how it stands at each minute, and a verdict when its time is over."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from stream.canary.absorb import absorb
from stream.canary.counts import PANE_BITS, Counts
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
