"""One stage of one rollout under judgement: what both arms did since it began, by endpoint.

Endpoints are strata: a row each. Panes are counted as they are decided; what comes late for a pane is counted
with the next. All that is kept are sums, so that a trial is as large after a day as after a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.canary.cohorts import OTHER
from stream.canary.counts import EVENTS, Counts
from stream.canary.design_effect import Scatter
from stream.canary.error_test import EVIDENCE_ROWS
from stream.canary.interval_search import UNKNOWN_SHIFT
from stream.canary.strata import StratumWeights
from stream.model.analysis import ERROR_COLUMN, ERROR_RATE, SLO_PREFIX, THROUGHPUT, Analysis, Baseline, Metric
from stream.sketch import whole
from stream.sketch.histogram import HistogramSet
from stream.sketch.whole import Whole

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Point = tuple[float | None, float | None]
"""(canary, baseline); None: no requests that say."""

MAX_ENDPOINTS = 64
"""Kept apart; the rest is one stratum, ``__other__``."""
CANARY, BASELINE = 0, 1
ARMS = 2
SCATTER_ROWS = len(Scatter.__dataclass_fields__)
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class ServiceSlo:
    """An SLO of an analysed service: by which column requests are judged, and how many must be good."""

    name: str
    column: str
    target_pct: float


@dataclass(frozen=True, slots=True)
class Measures:
    """The metrics of an analysis by what is counted for them."""

    rates: tuple[Metric, ...]
    """Errors and SLIs."""
    columns: tuple[int, ...]
    """Of each rate, and then of each SLO, its place among the columns of
    :class:`~stream.canary.cohorts.CohortBook`. The SLOs' are reported, and not tested."""
    slos: tuple[ServiceSlo, ...]
    latencies: tuple[Metric, ...]
    quantiles: Floats
    share: Metric | None

    @classmethod
    def of(cls, analysis: Analysis, slos: Sequence[ServiceSlo], column_of: Mapping[str, int]) -> Measures:
        """``slos``: of the service; ``column_of``: by name of a column, its place."""
        names = {ERROR_RATE: ERROR_COLUMN, **{SLO_PREFIX + slo.name: slo.column for slo in slos}}
        rates = tuple(m for m in analysis.metrics if m.name in names)
        latencies = tuple(m for m in analysis.metrics if m.quantile is not None)
        share = next((m for m in analysis.metrics if m.name == THROUGHPUT), None)
        return cls(
            rates,
            tuple(column_of[c] for c in [*(names[m.name] for m in rates), *(s.column for s in slos)]),
            tuple(slos),
            latencies,
            np.array([m.quantile for m in latencies], np.float64),
            share,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """What one tick adds, by endpoint."""

    sums: Whole
    """[E, 2 arms, 3], columns as in :class:`~stream.canary.counts.Counts`, and so the others."""
    cells: Whole
    """[M + S, E, 2 arms, 4]"""
    histograms: HistogramSet
    """Keys as :func:`key_of` has them."""


def key_of(arm: Ints | int, endpoint: Ints) -> Ints:
    """Of the histogram of an arm at an endpoint: the canary's are first."""
    return np.asarray(arm * MAX_ENDPOINTS + endpoint)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """How far a trial was at the last whole minute."""

    sums: Whole
    """[2, 3] endpoints together."""
    cells: Whole
    """[M + S, 2, 4]"""
    histograms: HistogramSet
    points: tuple[tuple[Point, ...], ...]
    """By whole minute: the value of each metric of the analysis."""


@dataclass(slots=True)
class Trial:
    """``E`` endpoints, ``M`` rates, ``S`` SLOs, ``Q`` quantiles."""

    analysis: Analysis
    measures: Measures
    endpoints: list[str] = field(default_factory=list)
    serial: int = 0
    """Of the rollout's stage."""
    stage: int = 0
    """Its place among the stages of the analysis."""
    alpha_share: float = 1.0
    """Of the α of the whole rollout."""
    percent: float | None = None
    """Of the traffic, that the canary gets; None: nobody said."""
    seen: set[Baseline] = field(default_factory=set)
    """Baselines that had requests since the stage began."""
    baseline: Baseline | None = None
    """None: it was not seen yet which there is."""
    panes: int = 0
    """Decided since the stage began, without warm-up."""
    looks: int = 0
    warmup: list[int] = field(default_factory=lambda: [0, 0])
    """Requests of each arm that were left out."""
    weights: StratumWeights = field(default_factory=StratumWeights.none)
    sums: Whole = field(default_factory=lambda: np.zeros((0, ARMS, 3), np.int64))
    cells: Whole = field(init=False)
    histograms: HistogramSet = field(default_factory=HistogramSet.empty)
    evidence: Floats = field(init=False)
    """[8, M, E]"""
    rate_scatter: Floats = field(init=False)
    """[9, M, E + 1] of the endpoints, and first of all of them together; so ``tail_scatter``."""
    tail_scatter: Floats = field(init=False)
    limits: Ints = field(init=False)
    """[Q, E] bucket above which a request is in the tail: the baseline's quantile before this pane."""
    typical: Floats = field(default_factory=lambda: np.zeros((ARMS, 0)))
    """[2, E] requests at which the quantiles' tests are sharpest: fixed when an endpoint is first seen."""
    share_scatter: Floats = field(default_factory=lambda: np.zeros(4))
    """Panes, Σ n_c²/n, Σ n_c, Σ n."""
    near: Ints = field(init=False)
    """[2, Q, E] where the ends of intervals were at the last detailed look: a help to find the next ones,
    that is not stored."""
    mark: Mark = field(init=False)
    _places: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rates, quantiles = len(self.measures.rates), len(self.measures.latencies)
        self.cells = np.zeros((len(self.measures.columns), 0, ARMS, 4), np.int64)
        self.evidence = np.zeros((EVIDENCE_ROWS, rates, 0))
        self.rate_scatter = np.zeros((SCATTER_ROWS, rates, 1))
        self.tail_scatter = np.zeros((SCATTER_ROWS, quantiles, 1))
        self.limits = np.zeros((quantiles, 0), np.int64)
        self.near = np.zeros((2, quantiles, 0), np.int64)
        self.set_mark(())

    def stratum(self, endpoint: str) -> int:
        """Row of an endpoint; a new one if there is room."""
        place = self._places.get(endpoint)
        if place is None and len(self.endpoints) >= MAX_ENDPOINTS - 1:
            endpoint = OTHER
            place = self._places.get(endpoint)
        if place is None:
            place = self._places[endpoint] = len(self.endpoints)
            self.endpoints.append(endpoint)
            self._grow(1)
        return place

    def _grow(self, more: int) -> None:
        def wider(array: NDArray[Any], axis: int, fill: float = 0) -> NDArray[Any]:
            shape = list(array.shape)
            shape[axis] = more
            return np.concatenate([array, np.full(shape, fill, array.dtype)], axis=axis)

        self.sums = wider(self.sums, 0)
        self.cells = wider(self.cells, 1)
        self.evidence = wider(self.evidence, 2)
        self.rate_scatter = wider(self.rate_scatter, 2)
        self.tail_scatter = wider(self.tail_scatter, 2)
        self.limits = wider(self.limits, 1, UNKNOWN)
        self.near = wider(self.near, 2, UNKNOWN_SHIFT)
        self.typical = wider(self.typical, 1)

    def pane(self, counts: Counts, arms: Sequence[int], endpoints: Sequence[str]) -> Pane:
        """``counts`` by cohort, and for each of its keys the arm and the endpoint."""
        # Rows are given out by name: what is decided must not depend on how cohorts came to their numbers.
        rows = {endpoint: self.stratum(endpoint) for endpoint in sorted(set(endpoints))}
        row = np.array([rows[endpoint] for endpoint in endpoints], np.int64)
        arm = np.array(arms, np.int64)
        endpoints_arms = len(self.endpoints), ARMS
        sums = whole.placed((*endpoints_arms, 3), (row, arm), counts.sums)
        cells = [np.zeros((0, *endpoints_arms, 4), np.int64)]
        place = np.searchsorted(counts.keys, counts.cell_keys)
        for column in self.measures.columns:
            mine = counts.cell_columns == column
            at = place[mine]
            cells.append(whole.placed((*endpoints_arms, 4), (row[at], arm[at]), counts.cells[mine])[None])
        of = np.searchsorted(counts.keys, counts.histograms.keys)
        return Pane(sums, np.concatenate(cells), counts.histograms.remap(key_of(arm[of], row[of])))

    def add(self, pane: Pane) -> None:
        """Count what is only summed up; the tests are those of ``absorb.py``."""
        self.sums, self.cells = whole.added(self.sums, pane.sums), whole.added(self.cells, pane.cells)
        self.histograms = HistogramSet.merge([self.histograms, pane.histograms])

    def set_mark(self, points: tuple[tuple[Point, ...], ...]) -> None:
        """A minute ends here."""
        self.mark = Mark(whole.summed(self.sums, 0), whole.summed(self.cells, 1), self.histograms, points)

    def arm(self, arm: int) -> HistogramSet:
        """A histogram for each endpoint, empty where the arm had no latencies."""
        return self.histograms.aligned(key_of(arm, np.arange(len(self.endpoints))))

    @property
    def metrics(self) -> list[str]:
        """Names, in the order of the analysis."""
        return [metric.name for metric in self.analysis.metrics]

    @property
    def events(self) -> Ints:
        """[E, 2] requests."""
        return self.sums[:, :, EVENTS].astype(np.int64)

    @property
    def requests(self) -> tuple[int, int]:
        """(canary, baseline)."""
        of_arm = self.events.sum(axis=0).tolist()
        return of_arm[CANARY], of_arm[BASELINE]
