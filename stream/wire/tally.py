"""A tally: what a set of events amounts to, as columns. It is all that stage two ever learns of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch import DigestSet

MINUTE_BITS = 33
"""Digest keys are ``endpoint << MINUTE_BITS | minute``: the last minute of the year 9999 fits in 32 bits."""

NUMBERS = (
    "entry_series",
    "entry_pane",
    "entry_events",
    "entry_first_ms",
    "cell_entry",
    "cell_column",
    "cell_events",
    "cell_weight",
    "cell_bad",
    "cell_bad_weight",
)
"""The columns of a tally, in the order in which they are packed."""

EndpointKey = tuple[str, str, str]
"""(namespace, service, endpoint)."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Targets:
    """Target partitions of a tally's series, and of its endpoints."""

    of_series: NDArray[np.intp]
    of_endpoint: NDArray[np.intp]


@dataclass(slots=True)
class Tally:
    """Counts per series and pane, split by SLI column, and one latency digest per endpoint and minute.

    Dictionaries are local to the tally. An *entry* is a (series, pane) that holds an event; a *cell* is an
    entry seen through one SLI column, present when an event of the entry counts for it.
    """

    series: list[bytes]
    """Packed keys (``Interner.packed``)."""
    columns: list[str]
    endpoints: list[EndpointKey]
    entry_series: Ints
    entry_pane: Ints
    entry_events: Ints
    entry_first_ms: Ints
    cell_entry: Ints
    cell_column: Ints
    cell_events: Ints
    cell_weight: Ints
    """In millionths, as the bad weight."""
    cell_bad: Ints
    cell_bad_weight: Ints
    digests: DigestSet
    """In ms; weights in requests."""

    def __len__(self) -> int:
        return len(self.entry_series)

    @classmethod
    def of(
        cls,
        series: list[bytes],
        columns: list[str],
        numbers: Mapping[str, Ints],
        endpoints: Sequence[EndpointKey] = (),
        digests: DigestSet | None = None,
    ) -> Tally:
        """``numbers``: the columns of entries and cells, by name."""
        return cls(
            series=series,
            columns=columns,
            endpoints=list(endpoints),
            digests=DigestSet.empty() if digests is None else digests,
            **numbers,
        )

    @classmethod
    def empty(cls) -> Tally:
        return cls.of([], [], dict.fromkeys(NUMBERS, np.empty(0, np.int64)))

    def split(self, targets: Targets, partitions: int) -> list[Tally | None]:
        """One tally per target partition; None where nothing goes. Targets follow services."""
        target = targets.of_series[self.entry_series]
        if partitions == 1 or (len(target) and (target == target[0]).all()):
            whole: list[Tally | None] = [None] * partitions
            if len(target):
                whole[int(target[0])] = self
            return whole
        return [self._only(t, target, targets.of_endpoint) for t in range(partitions)]

    def _only(self, t: int, target: NDArray[np.intp], endpoint_target: NDArray[np.intp]) -> Tally | None:
        entries = np.flatnonzero(target == t)
        if not len(entries):
            return None
        cells = np.flatnonzero(target[self.cell_entry] == t)
        used, series = np.unique(self.entry_series[entries], return_inverse=True)
        place = np.full(len(target), -1, np.int64)
        place[entries] = np.arange(len(entries))
        mine = np.flatnonzero(endpoint_target == t)
        keys = self.digests.keys
        digests = self.digests.select(endpoint_target[keys >> MINUTE_BITS] == t)
        renumber = np.zeros(len(self.endpoints), np.int64)
        renumber[mine] = np.arange(len(mine))
        minute = digests.keys & ((1 << MINUTE_BITS) - 1)
        digests = digests.remap(renumber[digests.keys >> MINUTE_BITS] << MINUTE_BITS | minute)
        return Tally(
            series=[self.series[i] for i in used.tolist()],
            columns=self.columns,
            endpoints=[self.endpoints[i] for i in mine],
            entry_series=series.astype(np.int64),
            entry_pane=self.entry_pane[entries],
            entry_events=self.entry_events[entries],
            entry_first_ms=self.entry_first_ms[entries],
            cell_entry=place[self.cell_entry[cells]],
            cell_column=self.cell_column[cells],
            cell_events=self.cell_events[cells],
            cell_weight=self.cell_weight[cells],
            cell_bad=self.cell_bad[cells],
            cell_bad_weight=self.cell_bad_weight[cells],
            digests=digests,
        )
