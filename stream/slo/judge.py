"""What each series feeds, as arrays indexed by series: the cost per event does not grow with the SLOs."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import Sli
from stream.model.outcome import OUTCOMES
from stream.slo.catalog import partition_of
from stream.slo.sli import threshold_ms, verdicts
from stream.wire.frame import Frame, Interner, SeriesKey

T = TypeVar("T", bound=np.generic)


MAX_STRANGERS = 5


class Columns(Protocol):
    """Rules, as stage one sees them: which columns each series feeds."""

    @property
    def columns(self) -> Mapping[str, Sli]: ...

    def has_service(self, namespace: str, service: str) -> bool: ...

    def is_known(self, namespace: str, service: str) -> bool:
        """Whether there is any rule for the service, be it none of these."""
        ...

    def is_choosy(self, namespace: str, service: str) -> bool: ...

    def columns_of(self, series: SeriesKey) -> list[str]: ...


@dataclass(slots=True)
class Feeds:
    """Per series: the columns it feeds, by rank. Shapes [series, ranks]; −1 and NaN mean none."""

    endpoint: NDArray[np.int64]
    """[series] place of the series' endpoint in ``Judge.endpoints``; −1: no SLO looks at the service."""
    target: NDArray[np.intp]
    """[series] partition of the service."""
    is_stranger: NDArray[np.bool_]
    """[series] whether there is no rule at all for the service."""
    availability: NDArray[np.int64]
    """Column id, an index into ``Judge.names``."""
    latency: NDArray[np.int64]
    threshold_ms: NDArray[np.float64]

    @classmethod
    def none(cls) -> Feeds:
        return cls(
            endpoint=np.empty(0, np.int64),
            target=np.empty(0, np.intp),
            is_stranger=np.empty(0, np.bool_),
            availability=np.empty((0, 1), np.int64),
            latency=np.empty((0, 1), np.int64),
            threshold_ms=np.empty((0, 1), np.float64),
        )

    def grow(self, rows: int, availabilities: int, latencies: int) -> None:
        """Room for so many rows and ranks, and for some rows more."""
        held = len(self.endpoint)
        rows = max(rows, 2 * held) if rows > held else held
        self.endpoint = _grown(self.endpoint, (rows,), -1)
        self.target = _grown(self.target, (rows,), 0)
        self.is_stranger = _grown(self.is_stranger, (rows,), False)
        self.availability = _grown(self.availability, (rows, availabilities), -1)
        self.latency = _grown(self.latency, (rows, latencies), -1)
        self.threshold_ms = _grown(self.threshold_ms, self.latency.shape, np.nan)


class Judge:
    """Knows for every series of one interner which columns it feeds; learns new series as they come."""

    def __init__(self, catalog: Columns, interner: Interner, partitions: int = 1) -> None:
        self.catalog = catalog
        self.interner = interner
        self.partitions = partitions
        self.names = list(catalog.columns)
        self._id = {name: i for i, name in enumerate(self.names)}
        self.tables = np.zeros((max(1, len(self.names)), OUTCOMES), np.int8)
        for name, sli in catalog.columns.items():
            self.tables[self._id[name]] = verdicts(sli)
        self._threshold_ms = {name: threshold_ms(sli) for name, sli in catalog.columns.items()}
        self.endpoints: list[tuple[str, str, str]] = []
        self._endpoint_ids: dict[tuple[str, str, str], int] = {}
        self._endpoint_targets = array("q")
        self.strangers: list[tuple[str, str]] = []
        """(namespace, service) of the first services seen without any rule, at most ``MAX_STRANGERS``."""
        self._known = 0
        self._feeds = Feeds.none()
        self._forms = Feeds.none()
        """Per distinct set of columns, in place of series; without endpoints and targets."""
        self._form_ids: dict[tuple[str, ...], int] = {}
        self._scopes: dict[tuple[str, str, str], int] = {}
        """(namespace, service, track) → form, of services whose endpoints all feed the same."""

    def feeds(self) -> Feeds:
        """The arrays, grown to hold every series of the interner. Views: read, then let go."""
        if self._known < len(self.interner):
            self._learn(self.interner.keys[self._known :])
        return self._feeds

    def _learn(self, keys: list[SeriesKey]) -> None:
        first, count = self._known, self._known + len(keys)
        forms = np.array([self._form(key) for key in keys], np.int64)
        f, of_form = self._feeds, self._forms
        f.grow(count, of_form.availability.shape[1], of_form.latency.shape[1])
        f.availability[first:count] = of_form.availability[forms]
        f.latency[first:count] = of_form.latency[forms]
        f.threshold_ms[first:count] = of_form.threshold_ms[forms]
        for row, key in zip(range(first, count), keys, strict=True):
            if self.catalog.has_service(key[0], key[1]):
                f.endpoint[row] = place = self._endpoint_id((key[0], key[1], key[2]))
                f.target[row] = self._endpoint_targets[place]
            elif not self.catalog.is_known(key[0], key[1]):
                f.is_stranger[row] = True
                if len(self.strangers) < MAX_STRANGERS and (key[0], key[1]) not in self.strangers:
                    self.strangers.append((key[0], key[1]))
        self._known = count

    def _form(self, key: SeriesKey) -> int:
        """Number of what the series feeds, which the other endpoints of its service mostly do too."""
        namespace, service, _, _, _, track = key
        if self.catalog.is_choosy(namespace, service):
            return self._form_of(tuple(self.catalog.columns_of(key)))
        scope = namespace, service, track
        known = self._scopes.get(scope)
        if known is None:
            known = self._scopes[scope] = self._form_of(tuple(self.catalog.columns_of(key)))
        return known

    def _form_of(self, columns: tuple[str, ...]) -> int:
        form = self._form_ids.get(columns)
        if form is None:
            form = self._form_ids[columns] = len(self._form_ids)
            self._add_form(form, columns)
        return form

    def _add_form(self, form: int, columns: Sequence[str]) -> None:
        availabilities = [c for c in columns if self._threshold_ms[c] is None]
        latencies = [c for c in columns if self._threshold_ms[c] is not None]
        f = self._forms
        f.grow(form + 1, len(availabilities), len(latencies))
        f.availability[form, : len(availabilities)] = [self._id[c] for c in availabilities]
        f.latency[form, : len(latencies)] = [self._id[c] for c in latencies]
        f.threshold_ms[form, : len(latencies)] = [self._threshold_ms[c] for c in latencies]

    def _endpoint_id(self, key: tuple[str, str, str]) -> int:
        known = self._endpoint_ids.get(key)
        if known is None:
            known = self._endpoint_ids[key] = len(self.endpoints)
            self.endpoints.append(key)
            self._endpoint_targets.append(partition_of(key[0], key[1], self.partitions))
        return known

    def strange(self, frame: Frame) -> Counter[tuple[str, str]]:
        """How many of the events are of services for which there is no rule, by (namespace, service)."""
        found: Counter[tuple[str, str]] = Counter()
        is_stranger = self.feeds().is_stranger[frame.series]
        if is_stranger.any():
            series, counts = np.unique(frame.series[is_stranger], return_counts=True)
            for one, count in zip(series.tolist(), counts.tolist(), strict=True):
                namespace, service, *_ = self.interner.keys[one]
                found[namespace, service] += count
        return found

    def target_of_endpoint(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Partitions of endpoints, places in ``endpoints``."""
        return np.frombuffer(self._endpoint_targets, np.int64)[ids].astype(np.intp)


def _grown(array: NDArray[T], shape: tuple[int, ...], fill: float) -> NDArray[T]:
    """A copy of at least this shape, the new places filled; the array itself if it is large enough."""
    shape = tuple(max(a, b) for a, b in zip(array.shape, shape, strict=True))
    if shape == array.shape:
        return array
    grown = np.full(shape, fill, array.dtype)
    grown[tuple(slice(0, n) for n in array.shape)] = array
    return grown
