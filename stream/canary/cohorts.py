"""Cohorts of a shard by number: one version on one track at one endpoint of a service.

Bounded: a service has at most ``MAX_COHORTS``; endpoints beyond that are counted as ``__other__``, and if
there are too many of those as well, so are versions. What was not heard of for ``FORGOTTEN_S`` gives its
number back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stream.canary.counts import PANE_BITS, Counts
from stream.model.objective import PANE_S
from stream.wire.cohorts import Cohorts
from stream.wire.frame import unpack_series

OTHER = "__other__"
MAX_COHORTS = 1_000
MAX_OF_ALL = 100_000
"""Of all services of a shard together, before the same is done."""
FORGOTTEN_S = 4 * 3600

Service = tuple[str, str]
_MOST = 1 << (52 - PANE_BITS)


@dataclass(frozen=True, slots=True)
class Cohort:
    namespace: str
    service: str
    endpoint: str
    version: str
    """Empty: the events name none."""
    track: str

    @property
    def of(self) -> Service:
        return self.namespace, self.service


class CohortBook:
    """Numbers cohorts, and reads what stage one counted in these numbers."""

    def __init__(self, columns: Sequence[str]) -> None:
        """``columns``: names of the SLI columns that analyses look at; others are left out."""
        self.columns = list(columns)
        self.names: dict[int, Cohort] = {}
        self.newest_pane: dict[int, int] = {}
        """By number: the newest pane with an event of it."""
        self._numbers: dict[Cohort, int] = {}
        self._series: dict[bytes, int] = {}
        self._of_service: Counter[Service] = Counter()
        self._free: list[int] = []

    def number(self, cohort: Cohort) -> int:
        known = self._numbers.get(cohort)
        crowded = len(self.names) >= MAX_OF_ALL
        if known is None and (crowded or self._of_service[cohort.of] >= MAX_COHORTS):
            cohort = Cohort(*cohort.of, OTHER, cohort.version, cohort.track)
            known = self._numbers.get(cohort)
            if known is None and (crowded or self._of_service[cohort.of] >= 2 * MAX_COHORTS):
                cohort = Cohort(*cohort.of, OTHER, OTHER, cohort.track)
                known = self._numbers.get(cohort)
        return self._add(cohort) if known is None else known

    def _add(self, cohort: Cohort) -> int:
        number = self._free.pop() if self._free else len(self.names)
        assert number < _MOST, "more cohorts than numbers"
        self.restore(number, cohort)
        return number

    def restore(self, number: int, cohort: Cohort) -> None:
        """Number a cohort as state records have it."""
        self.names[number] = cohort
        self._numbers[cohort] = number
        self._of_service[cohort.of] += 1

    def settle(self) -> None:
        """After all were restored: which numbers are free."""
        self._free = sorted(set(range(max(self.names, default=-1) + 1)) - self.names.keys(), reverse=True)

    def read(self, cohorts: Cohorts, numbers: dict[bytes, int]) -> Counts:
        """What stage one counted, keyed by cohort and pane. ``numbers``: those that series of its chunk have;
        new ones are added. So a chunk that grows is read as it was before: a series that found no room then
        may find some now."""
        tally = cohorts.tally
        if not len(tally):
            return Counts.empty()
        for packed in tally.series:
            if packed not in numbers:
                numbers[packed] = self._of_series(packed)
        number = np.array([numbers[packed] for packed in tally.series], np.int64)
        entry = number[tally.entry_series] << PANE_BITS | tally.entry_pane
        place = {name: i for i, name in enumerate(self.columns)}
        column = np.array([place.get(name, -1) for name in tally.columns], np.int64)[tally.cell_column]
        cells = np.column_stack([tally.cell_events, tally.cell_weight, tally.cell_bad, tally.cell_bad_weight])
        known = column >= 0
        histograms = cohorts.histograms
        return Counts.summed(
            entry,
            np.column_stack([tally.entry_events, cohorts.weight, cohorts.squares]),
            entry[tally.cell_entry][known],
            column[known],
            cells[known],
            histograms.remap(entry[histograms.keys]),
        )

    def _of_series(self, packed: bytes) -> int:
        known = self._series.get(packed)
        if known is None:
            namespace, service, endpoint, _, version, track = unpack_series(packed)
            if len(self._series) > 4 * MAX_COHORTS + 4 * len(self.names):
                self._series.clear()
            known = self._series[packed] = self.number(Cohort(namespace, service, endpoint, version, track))
        return known

    def heard(self, numbers: Iterable[int], pane: int) -> None:
        for number in numbers:
            self.newest_pane[number] = max(pane, self.newest_pane.get(number, pane))

    def forget(self, tick_s: int, held: set[int]) -> None:
        """Give numbers free that are not ``held`` and were not heard of for long."""
        oldest = (tick_s - FORGOTTEN_S) // PANE_S
        for number, cohort in list(self.names.items()):
            if number not in held and self.newest_pane.get(number, -1) < oldest:
                del self.names[number], self._numbers[cohort]
                self.newest_pane.pop(number, None)
                self._of_service[cohort.of] -= 1
                self._free.append(number)
        self._series.clear()

    def of_service(self, service: Service) -> Iterator[tuple[int, Cohort]]:
        return ((number, cohort) for number, cohort in self.names.items() if cohort.of == service)
