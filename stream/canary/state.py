"""State records of canary analyses: what is kept of counts and trials between two owners of a partition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.canary.case import Case
from stream.canary.counts import Counts
from stream.canary.error_test import EVIDENCE_ROWS
from stream.canary.strata import StratumWeights
from stream.canary.trial import ARMS, SCATTER_ROWS, Mark, Measures, Trial
from stream.canary.verdict import Judgement, Recommendation, Verdict
from stream.model.analysis import Analysis, Baseline
from stream.sketch.histogram_codec import histograms_from_bytes, histograms_to_bytes
from stream.wire.columns import pack, unpack
from stream.wire.state import Record


class CountsRecord(Record, frozen=True):
    keys: bytes
    sums: bytes
    cell_keys: bytes
    cell_columns: bytes
    cells: bytes
    histograms: bytes


def counts_record(counts: Counts) -> CountsRecord:
    return CountsRecord(
        pack(counts.keys),
        pack(counts.sums),
        pack(counts.cell_keys),
        pack(counts.cell_columns),
        pack(counts.cells),
        histograms_to_bytes(counts.histograms),
    )


def counts_of(record: CountsRecord) -> Counts:
    """Raises ValueError on columns that cannot be read."""
    return Counts(
        unpack(record.keys),
        unpack(record.sums).reshape(-1, 3),
        unpack(record.cell_keys),
        unpack(record.cell_columns),
        unpack(record.cells).reshape(-1, 4),
        histograms_from_bytes(record.histograms),
    )


class ColumnsRecord(Record, frozen=True):
    """Names of the columns, by the numbers that counts have."""

    names: list[str]


class CohortRecord(Record, frozen=True):
    namespace: str
    service: str
    endpoint: str
    version: str
    track: str


class SaidRecord(Record, frozen=True):
    """What was said of an analysis last."""

    told: str
    verdict: str | None
    recommendation: str | None
    reason: str


def said_record(case: Case) -> SaidRecord:
    said = case.said
    if said is None:
        return SaidRecord(case.told, None, None, "")
    return SaidRecord(case.told, said.verdict.value, said.recommendation.value, said.reason)


def restore_said(case: Case, record: SaidRecord) -> None:
    case.told = record.told
    if record.verdict is not None and record.recommendation is not None:
        verdict, advice = Verdict(record.verdict), Recommendation(record.recommendation)
        case.said = Judgement(verdict, advice, record.reason)


class TrialRecord(Record, frozen=True):
    """Numbers of floating point are stored bit by bit: what is decided after a restore is what would have
    been decided without."""

    metrics: list[str]
    """Rates, then latencies, as the columns below go by them, with what they are held to."""
    stage: int
    percent: float | None
    baseline: str | None
    panes: int
    looks: int
    warmup: list[int]
    endpoints: list[str]
    weight_keys: bytes
    weights: bytes
    sums: bytes
    cells: bytes
    histograms: bytes
    evidence: bytes
    rate_scatter: bytes
    tail_scatter: bytes
    limits: bytes
    typical: bytes
    share_scatter: bytes
    serial: int
    seen: list[str]


class MarkRecord(Record, frozen=True):
    """A trial at the last whole minute: beside the trial, as it changes less often."""

    serial: int
    sums: bytes
    cells: bytes
    histograms: bytes
    points: list[list[tuple[float | None, float | None]]]
    metrics: list[str]
    """Whose values the points are."""


def trial_record(trial: Trial) -> TrialRecord:
    return TrialRecord(
        _names(trial.measures),
        trial.stage,
        trial.percent,
        None if trial.baseline is None else trial.baseline.value,
        trial.panes,
        trial.looks,
        list(trial.warmup),
        list(trial.endpoints),
        pack(trial.weights.keys),
        trial.weights.weights.tobytes(),
        pack(trial.sums),
        pack(trial.cells),
        histograms_to_bytes(trial.histograms),
        trial.evidence.tobytes(),
        trial.rate_scatter.tobytes(),
        trial.tail_scatter.tobytes(),
        pack(trial.limits),
        trial.typical.tobytes(),
        trial.share_scatter.tobytes(),
        trial.serial,
        sorted(trial.seen),
    )


def mark_record(serial: int, mark: Mark, metrics: list[str]) -> MarkRecord:
    return MarkRecord(
        serial,
        pack(mark.sums),
        pack(mark.cells),
        histograms_to_bytes(mark.histograms),
        [list(points) for points in mark.points],
        metrics,
    )


def restore_mark(trial: Trial, record: MarkRecord) -> None:
    """Minutes of other metrics than those of the analysis are left out.

    Raises ValueError on a record that cannot be read."""
    if record.serial == trial.serial:
        points = record.points if record.metrics == trial.metrics else []
        trial.mark = Mark(
            unpack(record.sums).reshape(ARMS, 3),
            unpack(record.cells).reshape(-1, ARMS, 4),
            histograms_from_bytes(record.histograms),
            tuple(tuple(minute) for minute in points),
        )


def trial_of(record: TrialRecord, analysis: Analysis, measures: Measures) -> Trial | None:
    """None when the analysis looks at other metrics by now, or at rates with another margin: what it had seen
    says nothing of them.

    Raises ValueError on a record that cannot be read.
    """
    if record.metrics != _names(measures):
        return None
    rates, quantiles = len(measures.rates), len(measures.latencies)
    trial = Trial(analysis, measures, stage=record.stage, percent=record.percent)
    trial.baseline = None if record.baseline is None else Baseline(record.baseline)
    trial.panes, trial.looks, trial.warmup = record.panes, record.looks, list(record.warmup)
    for endpoint in record.endpoints:
        trial.stratum(endpoint)
    count = len(record.endpoints)
    trial.weights = StratumWeights(unpack(record.weight_keys), _floats(record.weights, -1))
    trial.sums = unpack(record.sums).reshape(count, ARMS, 3)
    columns = len(measures.columns)
    trial.cells = unpack(record.cells).reshape(columns, count, ARMS, 4)
    trial.histograms = histograms_from_bytes(record.histograms)
    trial.evidence = _floats(record.evidence, EVIDENCE_ROWS, rates, count)
    trial.rate_scatter = _floats(record.rate_scatter, SCATTER_ROWS, rates, count + 1)
    trial.tail_scatter = _floats(record.tail_scatter, SCATTER_ROWS, quantiles, count + 1)
    trial.limits = unpack(record.limits).reshape(quantiles, count)
    trial.typical = _floats(record.typical, ARMS, count)
    trial.share_scatter = _floats(record.share_scatter, 4)
    trial.serial, trial.seen = record.serial, {Baseline(kind) for kind in record.seen}
    return trial


def _names(measures: Measures) -> list[str]:
    """What the columns of a record go by: metrics, and the SLOs' columns."""
    columns = [f"{slo.name}|{slo.column}" for slo in measures.slos]
    # Evidence on a rate is evidence on its margin; that on a latency is made of histograms at each look.
    rates = [
        f"{m.name}|{m.direction.value}|{m.margin.pct.normalize()}|{m.margin.least.normalize()}"
        for m in measures.rates
    ]
    return [*rates, *(m.name for m in measures.latencies), *columns]


def _floats(data: bytes, *shape: int) -> NDArray[np.float64]:
    return np.frombuffer(data, np.float64).reshape(shape).copy()
