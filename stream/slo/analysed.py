"""What stage one counts for canary analyses and shadow comparisons: errors, and whatever SLIs they name, on
all tracks alike.

An objective may look at some tracks only; an analysis compares tracks, so that its columns know none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stream.model.analysis import ERROR_COLUMN, Analysis
from stream.model.comparison import Comparison
from stream.model.objective import Availability, Objective, Sli
from stream.slo.catalog import glob_pattern
from stream.slo.sli import column_name
from stream.wire.frame import SeriesKey

ERRORS = Availability()
"""Errors by the default rule: ``ok``, else status codes."""
assert column_name(ERRORS) == ERROR_COLUMN

Service = tuple[str, str]


class Analysed:
    """The services that are analysed, and the columns that their series feed."""

    def __init__(self, analyses: Sequence[Analysis | Comparison], objectives: Sequence[Objective]) -> None:
        self._services = {(a.namespace, a.service) for a in analyses}
        self.objectives: Mapping[Service, list[Objective]] = {service: [] for service in self._services}
        for objective in objectives:
            if (objective.namespace, objective.service) in self._services:
                self.objectives[objective.namespace, objective.service].append(objective)
        self.columns: dict[str, Sli] = {ERROR_COLUMN: ERRORS} if analyses else {}
        for objectives_of in self.objectives.values():
            self.columns.update((column_name(o.sli), o.sli) for o in objectives_of)
        self._globs: dict[tuple[str, ...], re.Pattern[str]] = {}

    def has_service(self, namespace: str, service: str) -> bool:
        return (namespace, service) in self._services

    def is_known(self, namespace: str, service: str) -> bool:
        return self.has_service(namespace, service)

    def is_choosy(self, namespace: str, service: str) -> bool:
        """Whether some column is fed by some endpoints of the service only."""
        return any(o.endpoints for o in self.objectives.get((namespace, service), ()))

    def columns_of(self, series: SeriesKey) -> list[str]:
        """Names of the columns that the series feeds."""
        namespace, service, endpoint, _, _, _ = series
        if not self.has_service(namespace, service):
            return []
        names = [column_name(o.sli) for o in self.objectives[namespace, service] if self._looks(o, endpoint)]
        return list(dict.fromkeys([ERROR_COLUMN, *names]))

    def _looks(self, objective: Objective, endpoint: str) -> bool:
        globs = objective.endpoints
        if not globs:
            return True
        if globs not in self._globs:
            self._globs[globs] = glob_pattern(globs)
        return self._globs[globs].fullmatch(endpoint) is not None
