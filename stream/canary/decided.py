"""What a tick decides: counts of its pane, and those that came late for an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from stream.canary.cohorts import Cohort, Service
from stream.canary.counts import Counts
from stream.model.objective import PANE_S


class Decided:
    def __init__(self, parts: Sequence[tuple[int, Counts]], names: Mapping[int, Cohort]) -> None:
        """``parts``: (pane, counts by cohort); ``names``: of the cohorts."""
        self._parts = parts
        self._names = names
        self._since: dict[int, Decided] = {}

    @cached_property
    def counts(self) -> Counts:
        return Counts.merge([counts for _, counts in self._parts])

    @cached_property
    def of_service(self) -> dict[Service, list[tuple[int, Cohort]]]:
        """Places of the counts' keys and their cohorts, by service."""
        found: dict[Service, list[tuple[int, Cohort]]] = {}
        for place, number in enumerate(self.counts.keys.tolist()):
            cohort = self._names[number]
            found.setdefault(cohort.of, []).append((place, cohort))
        return found

    def since(self, from_s: int) -> Decided:
        """The panes from this time on."""
        kept = [(pane, counts) for pane, counts in self._parts if pane * PANE_S >= from_s]
        if len(kept) == len(self._parts):
            return self
        return self._since.setdefault(from_s, Decided(kept, self._names))
