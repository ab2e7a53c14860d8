"""Many trials side by side: rows of all of them in one array, so that a look costs little for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.canary.trial import ARMS, MAX_ENDPOINTS, Trial, key_of
from stream.sketch.histogram import HistogramSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
OF_A_TRIAL = ARMS * MAX_ENDPOINTS


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A row for each endpoint of each metric of each trial: endpoints of one metric side by side, metrics of
    one trial side by side."""

    trials: Sequence[Trial]
    metrics: Ints
    """[trials] how many each has here."""
    endpoints: Ints
    """[trials]"""

    @classmethod
    def of_rates(cls, trials: Sequence[Trial]) -> Rows:
        return cls._of(trials, [len(t.measures.rates) for t in trials])

    @classmethod
    def of_latencies(cls, trials: Sequence[Trial]) -> Rows:
        return cls._of(trials, [len(t.measures.latencies) for t in trials])

    @classmethod
    def _of(cls, trials: Sequence[Trial], metrics: list[int]) -> Rows:
        endpoints = [len(t.endpoints) for t in trials]
        return cls(trials, np.array(metrics, np.int64), np.array(endpoints, np.int64))

    @property
    def ends(self) -> Ints:
        """[trials] where each trial's rows end."""
        return np.cumsum(self.metrics * self.endpoints)

    @property
    def groups(self) -> Ints:
        """Where the rows of each metric of each trial begin."""
        sizes = np.repeat(self.endpoints, self.metrics)
        return np.cumsum(sizes) - sizes

    @property
    def places(self) -> Ints:
        """[rows] of each row's endpoint, among the endpoints of all trials one after the other."""
        begins = (np.cumsum(self.endpoints) - self.endpoints).tolist()
        sizes = zip(begins, self.endpoints.tolist(), self.metrics.tolist(), strict=True)
        return np.concatenate([np.tile(np.arange(begin, begin + e), m) for begin, e, m in sizes])

    def joined(self, of: Callable[[Trial], NDArray[Any]]) -> NDArray[Any]:
        """[…, rows] of the trials' [… , metrics, endpoints]."""
        parts = [of(trial) for trial in self.trials]
        return np.concatenate([p.reshape(*p.shape[:-2], -1) for p in parts], axis=-1)

    def of_metric(self, of: Callable[[Trial], Sequence[float]]) -> Floats:
        """[rows] of numbers that each trial has for each metric."""
        numbers = np.array([x for trial in self.trials for x in of(trial)], np.float64)
        return np.repeat(numbers, np.repeat(self.endpoints, self.metrics))

    def of_endpoint(self, of: Callable[[Trial], NDArray[Any]]) -> NDArray[Any]:
        """[…, rows] of what each trial has for each endpoint, […, endpoints]; for each of its metrics."""
        parts = [of(t) for t in self.trials]
        return np.concatenate(
            [np.tile(p, m) for p, m in zip(parts, self.metrics.tolist(), strict=True)], axis=-1
        )

    def split(self, rows: NDArray[Any]) -> Iterator[tuple[Trial, NDArray[Any]]]:
        """(trial, its […, metrics, endpoints]) of […, rows]."""
        start = 0
        for trial, end, m, e in zip(
            self.trials, self.ends.tolist(), self.metrics.tolist(), self.endpoints.tolist(), strict=True
        ):
            yield trial, rows[..., start:end].reshape(*rows.shape[:-1], m, e)
            start = end


def side_by_side(trials: Sequence[Trial], sets: Sequence[HistogramSet], arm: int) -> HistogramSet:
    """Of each trial's histograms those of an arm, one for each endpoint, trial after trial."""
    keys = np.concatenate([one.keys + i * OF_A_TRIAL for i, one in enumerate(sets)])
    starts = np.cumsum([0, *(len(one.buckets) for one in sets)]).tolist()
    offsets = [one.offsets[1:] + start for one, start in zip(sets, starts, strict=False)]
    whole = HistogramSet(
        keys,
        np.concatenate([one.count for one in sets]),
        np.concatenate([one.squares for one in sets]),
        np.concatenate([[0], *offsets]),
        np.concatenate([one.buckets for one in sets]),
        np.concatenate([one.weights for one in sets]),
    )
    endpoints = np.array([len(trial.endpoints) for trial in trials])
    trial = np.repeat(np.arange(len(trials)), endpoints)
    endpoint = np.arange(len(trial)) - np.repeat(np.cumsum(endpoints) - endpoints, endpoints)
    return whole.aligned(trial * OF_A_TRIAL + key_of(arm, endpoint)).numbered()
