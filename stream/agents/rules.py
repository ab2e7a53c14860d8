"""The SLO files as they are now, shared by a worker's agents; replaced as a whole when they change."""

from __future__ import annotations

from collections.abc import Sequence

from stream.model.objective import Objective
from stream.slo.catalog import Catalog
from stream.slo.lexicon import Lexicon


class Rules:
    """What the objectives in force mean for stage one (``lexicon``) and stage two (``catalog``)."""

    def __init__(self, objectives: Sequence[Objective], partitions: int) -> None:
        self.partitions = partitions
        self.replace(objectives)

    def replace(self, objectives: Sequence[Objective]) -> None:
        self.catalog = Catalog(objectives)
        self._lexicon = Lexicon(self.catalog, self.partitions)

    @property
    def lexicon(self) -> Lexicon:
        """For the next chunk; renewed when it is full."""
        self._lexicon = self._lexicon.renewed()
        return self._lexicon
