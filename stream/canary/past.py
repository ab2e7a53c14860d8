"""What services did lately, to compare a release with the time before it where nothing else serves beside it.

Panes are kept one by one until ten minutes are over, then as one block: a record is written once, and a block
once more, however long it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from stream.canary.counts import Counts
from stream.model.objective import PANE_S

BLOCK_S = 600
KEPT_S = 3600
_BLOCK = BLOCK_S // PANE_S


class Past:
    """Counts by cohort. Places are (first pane, panes)."""

    def __init__(self) -> None:
        self.parts: dict[tuple[int, int], Counts] = {}
        self.changed: set[tuple[int, int]] = set()
        """Places whose part came or went since it was last asked for."""

    def add(self, pane: int, counts: Counts) -> None:
        """What was decided with this pane; each is added once, in order."""
        if len(counts):
            self._put((pane, 1), counts)
        begins = pane // _BLOCK * _BLOCK
        older = sorted(place for place in self.parts if place[1] == 1 and place[0] < begins)
        for begin in dict.fromkeys(first // _BLOCK * _BLOCK for first, _ in older):
            mine = [place for place in older if place[0] // _BLOCK * _BLOCK == begin]
            self._put((begin, _BLOCK), Counts.merge([self._pop(place) for place in mine]))
        oldest = pane + 1 - KEPT_S // PANE_S
        for place in [p for p in self.parts if p[0] + p[1] <= oldest]:
            self._pop(place)

    def _put(self, place: tuple[int, int], counts: Counts) -> None:
        self.parts[place] = counts
        self.changed.add(place)

    def _pop(self, place: tuple[int, int]) -> Counts:
        self.changed.add(place)
        return self.parts.pop(place)

    def before(self, pane: int) -> Counts:
        """Everything kept of panes before this one; a block that reaches beyond it is left out."""
        return Counts.merge([counts for (first, n), counts in self.parts.items() if first + n <= pane])

    def cohorts(self) -> set[int]:
        return {cohort for counts in self.parts.values() for cohort in counts.keys.tolist()}

    def changes(self) -> Iterator[tuple[tuple[int, int], Counts | None]]:
        """Parts to store, None to delete; afterwards they count as stored."""
        for place in sorted(self.changed):
            yield place, self.parts.get(place)
        self.changed.clear()
