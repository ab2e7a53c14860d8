"""The SLO files as they are now, shared by a worker's agents; replaced as a whole when they change."""

from __future__ import annotations

from stream.model.ruleset import Ruleset
from stream.pipeline import catalog_of
from stream.slo.lexicon import MAX_SERIES, Lexicon


class Rules:
    """What the rules in force mean for stage one (``lexicon``) and stage two (``catalog``)."""

    def __init__(self, ruleset: Ruleset, partitions: int, max_series: int = MAX_SERIES) -> None:
        self.partitions = partitions
        self.max_series = max_series
        self.ruleset = ruleset
        self.catalog = catalog_of(ruleset)
        self._lexicon = Lexicon(self.catalog, partitions, max_series)

    def made_of(self, ruleset: Ruleset) -> Rules:
        """Others, to be taken into use by :meth:`take`. Of ten thousand SLOs it takes a while."""
        return Rules(ruleset, self.partitions, self.max_series)

    def take(self, others: Rules) -> None:
        self.ruleset, self.catalog, self._lexicon = others.ruleset, others.catalog, others._lexicon

    @property
    def lexicon(self) -> Lexicon:
        """For the next chunk; renewed when it is full."""
        self._lexicon = self._lexicon.renewed()
        return self._lexicon
