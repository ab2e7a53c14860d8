"""A numbering of series with what the rules make of each: stage one's memory, bounded."""

from __future__ import annotations

from stream.slo.catalog import Catalog
from stream.slo.judge import Judge
from stream.wire.frame import Interner

MAX_SERIES = 250_000
"""Series that one numbering may hold before a new one is begun."""


class Lexicon:
    """An interner and the judge of its series."""

    def __init__(self, catalog: Catalog, partitions: int = 1) -> None:
        self.catalog = catalog
        self.partitions = partitions
        self.interner = Interner()
        self.judge = Judge(catalog, self.interner, partitions)

    @property
    def full(self) -> bool:
        return len(self.interner) > MAX_SERIES

    def renewed(self) -> Lexicon:
        """This one while there is room in it, else a new one."""
        return Lexicon(self.catalog, self.partitions) if self.full else self
