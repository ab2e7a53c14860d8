"""A numbering of series with what the rules make of each: stage one's memory, bounded."""

from __future__ import annotations

from stream.slo.analysed import Analysed
from stream.slo.catalog import Catalog
from stream.slo.judge import Judge
from stream.slo.registry import fold
from stream.wire.frame import Interner, SeriesKey

MAX_SERIES = 250_000
"""Series that one numbering may hold before a new one is begun."""
MAX_FOLDS = 10_000_000
"""Events of series beyond ``max_series`` that one numbering folds: then new ones have a chance."""


class Lexicon:
    """An interner and the judge of its series.

    With ``max_series`` of them, further ones of a service are folded here already, where it makes no
    difference to any objective: stage two could not tell them apart either, and a new series costs ten times
    what an event of a known one does.
    """

    def __init__(self, catalog: Catalog, partitions: int = 1, max_series: int = MAX_SERIES) -> None:
        self.catalog = catalog
        self.partitions = partitions
        self.max_series = max_series
        self.interner = Interner(max_series, self._fold)
        self._others: set[SeriesKey] = set()
        """What series were folded to, at most ``max_series`` with their versions."""
        self.judge = Judge(catalog, self.interner, partitions)
        self.cohort_judge = self._cohort_judge()
        """None where nothing is analysed."""

    def _cohort_judge(self) -> Judge | None:
        if not self.catalog.compared:
            return None
        analysed = Analysed(self.catalog.compared, self.catalog.objectives)
        return Judge(analysed, self.interner, self.partitions)

    @property
    def full(self) -> bool:
        return len(self.interner) > MAX_SERIES or self.interner.fold_count > MAX_FOLDS

    def renewed(self) -> Lexicon:
        """This one while there is room in it, else a new one."""
        return Lexicon(self.catalog, self.partitions, self.max_series) if self.full else self

    def _fold(self, series: SeriesKey) -> SeriesKey | None:
        """The version is kept while there are not too many: a rollback names it."""
        namespace, service, _, _, version, track = series
        if self.catalog.is_choosy(namespace, service):
            return None
        other = (*fold(series)[:4], version, track)
        if other not in self._others and len(self._others) >= self.max_series:
            return fold(series)
        self._others.add(other)
        return other
