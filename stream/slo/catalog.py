"""Which objectives look at which series, and how far back any of them looks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property

from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.names import encoded, plainly_joined
from stream.model.objective import Calendar, Objective, Period, Slices
from stream.slo.sli import column_name
from stream.window.panes import DAY_S, grid_s
from stream.wire.frame import SeriesKey

NOMINAL_PERIOD_S = {
    Period.DAY: DAY_S,
    Period.WEEK: 7 * DAY_S,
    Period.MONTH: 31 * DAY_S,
    Period.QUARTER: 92 * DAY_S,
    Period.YEAR: 366 * DAY_S,
}
"""The longest that each calendar window can be (contract, section 4, forgetting)."""


def window_length_s(objective: Objective) -> int:
    """Length of the SLO's time window; a calendar window's longest."""
    window = objective.window
    return NOMINAL_PERIOD_S[window.period] if isinstance(window, Calendar) else window.length_s


def glob_pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """``*`` is any run, ``?`` is one character, everything else is itself; full match.

    Each run takes the first place where what follows fits and never looks back (an atomic group), so that
    no endpoint, however long, makes the match slow.
    """

    def literal(part: str) -> str:
        return "".join("." if char == "?" else re.escape(char) for char in part)

    def one(glob: str) -> str:
        first, *rest = glob.split("*")
        if not rest:
            return literal(first)
        middle = "".join(f"(?>.*?{literal(part)})" for part in rest[:-1] if part)
        return f"{literal(first)}{middle}.*{literal(rest[-1])}"

    return re.compile("|".join(f"(?:{one(glob)})" for glob in globs), re.DOTALL)


def partition_of(namespace: str, service: str, partitions: int) -> int:
    """The service's partition: CRC-32 of its names, the same on every worker and in every run."""
    return zlib.crc32(plainly_joined(namespace, service).encode()) % partitions


class Catalog:
    """The objectives, found by series. Rows are the objectives' places in file order."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        longest_window_s: int = 0,
        analyses: Sequence[Analysis] = (),
        comparisons: Sequence[Comparison] = (),
    ) -> None:
        """``longest_window_s``: the longest window that there is elsewhere."""
        self.objectives = tuple(objectives)
        self.analyses = tuple(analyses)
        self.comparisons = tuple(comparisons)
        self.compared: tuple[Analysis | Comparison, ...] = (*analyses, *comparisons)
        """Whose cohorts stage one counts."""
        self._analysed = {(one.namespace, one.service) for one in self.compared}
        self._rolled_back = {
            (o.namespace, o.service) for o in self.objectives if o.rollback_below_pct is not None
        }
        self._longest_elsewhere_s = longest_window_s
        self.columns = {column_name(o.sli): o.sli for o in self.objectives}
        self._of_service: dict[tuple[str, str], list[int]] = {}
        for row, objective in enumerate(self.objectives):
            self._of_service.setdefault((objective.namespace, objective.service), []).append(row)
        self._names = [column_name(o.sli) for o in self.objectives]
        self._globs: dict[int, re.Pattern[str]] = {}
        """By row; those that name their endpoints plainly have none."""
        self._named: dict[tuple[str, str, str], list[int]] = {}
        """(namespace, service, endpoint) → rows that name it: a service may have hundreds of them."""
        self._general: dict[tuple[str, str], list[int]] = {}
        """(namespace, service) → rows for every endpoint, or for those that a glob matches."""
        for row, objective in enumerate(self.objectives):
            self._sort_in(row, objective)
        self._choosy = {(o.namespace, o.service) for o in self.objectives if o.endpoints}

    def _sort_in(self, row: int, objective: Objective) -> None:
        service = objective.namespace, objective.service
        if objective.endpoints and not any("*" in glob or "?" in glob for glob in objective.endpoints):
            for endpoint in dict.fromkeys(objective.endpoints):
                self._named.setdefault((*service, endpoint), []).append(row)
            return
        if objective.endpoints:
            self._globs[row] = glob_pattern(objective.endpoints)
        self._general.setdefault(service, []).append(row)

    def of_partition(self, partition: int, partitions: int) -> Catalog:
        """The objectives of the services of one partition: each row costs memory and time at every tick. What
        is too late is still told by the longest window of all."""
        mine = [o for o in self.objectives if partition_of(o.namespace, o.service, partitions) == partition]

        def is_mine(one: Analysis | Comparison) -> bool:
            return partition_of(one.namespace, one.service, partitions) == partition

        analyses, comparisons = filter(is_mine, self.analyses), filter(is_mine, self.comparisons)
        return Catalog(mine, self.longest_window_s, tuple(analyses), tuple(comparisons))

    def has_service(self, namespace: str, service: str) -> bool:
        return (namespace, service) in self._of_service

    def is_known(self, namespace: str, service: str) -> bool:
        """Whether it has an SLO, or is analysed or compared."""
        return self.has_service(namespace, service) or self.is_analysed(namespace, service)

    def is_analysed(self, namespace: str, service: str) -> bool:
        return (namespace, service) in self._analysed

    def heeds_deploys(self, namespace: str, service: str) -> bool:
        """Whether deploy events of the service say something to its owner."""
        return self.is_analysed(namespace, service) or (namespace, service) in self._rolled_back

    def is_choosy(self, namespace: str, service: str) -> bool:
        """Whether some objective looks at some endpoints of the service only."""
        return (namespace, service) in self._choosy

    def rows_of(self, series: SeriesKey) -> list[int]:
        """Rows of the objectives that look at a series."""
        namespace, service, endpoint, _, _, track = series
        matching = [
            row
            for row in self._general.get((namespace, service), ())
            if (glob := self._globs.get(row)) is None or glob.fullmatch(endpoint)
        ]
        found = sorted(matching + self._named.get((namespace, service, endpoint), []))
        return [row for row in found if not (tracks := self.objectives[row].tracks) or track in tracks]

    def columns_of(self, series: SeriesKey) -> list[str]:
        """Names of the distinct SLI columns that the series feeds, in file order."""
        return list(dict.fromkeys(self._names[row] for row in self.rows_of(series)))

    def rows_of_column(self, series: SeriesKey, column: str) -> list[int]:
        return [row for row in self.rows_of(series) if self._names[row] == column]

    @cached_property
    def services(self) -> dict[tuple[str, str], list[int]]:
        """(namespace, service) → rows, in file order."""
        return self._of_service

    @cached_property
    def unmeasured(self) -> frozenset[tuple[str, str]]:
        """Services that are analysed, and have no SLO."""
        return frozenset((one.namespace, one.service) for one in self.analyses) - self._of_service.keys()

    @cached_property
    def released(self) -> frozenset[tuple[str, str]]:
        """Services whose versions a rollback may name."""
        return self.unmeasured | self._of_service.keys()

    @cached_property
    def longest_window_s(self) -> int:
        """The longest window of any SLO (time windows, alerting windows, slices), or of any analysis."""
        of_slos = max(map(longest_window_s, self.objectives), default=0)
        of_analyses = max((one.longest_s for one in self.compared), default=0)
        return max(self._longest_elsewhere_s, of_slos, of_analyses)

    @cached_property
    def longest_alerting_s(self) -> int:
        return max((rule.window_s for o in self.objectives for rule in o.rules), default=0)

    def too_late_before_s(self, watermark_ms: int) -> int:
        """A pane that ends at or before this is dropped (contract, section 3)."""
        grid = grid_s(self.longest_window_s)
        return (watermark_ms - self.longest_window_s * 1000) // (grid * 1000) * grid


def longest_window_s(objective: Objective) -> int:
    """The longest window that this SLO looks at."""
    slices = objective.slices.length_s if objective.slices else 0
    return max(window_length_s(objective), slices, *(rule.window_s for rule in objective.rules), 0)


def counting_key(objective: Objective) -> str:
    """What an SLO's counts mean; where it stays the same, a change of the file keeps them."""
    whose = f"{encoded(objective.namespace)}/{encoded(objective.name)}"
    return f"{whose}|{encoded(objective.service)}|{_what_counts(objective)}"


def counting_key_of_format_3(objective: Objective) -> str:
    """As state of that format has it."""
    whose = plainly_joined(objective.namespace, objective.name)
    return f"{whose}|{objective.service}|{_what_counts(objective)}"


def _what_counts(objective: Objective) -> str:
    scope = repr((objective.endpoints, objective.tracks, _slices_key(objective.slices)))
    return f"{column_name(objective.sli)}|{scope}"


def _slices_key(slices: Slices | None) -> tuple[int, str] | None:
    return (slices.length_s, str(slices.allowed_bad_pct)) if slices else None
