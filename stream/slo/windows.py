"""All windows of all objectives, as one flat array of sums that a tick moves and the evaluators read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import Calendar, Objective, Rolling
from stream.slo.calendar import period_bounds
from stream.window.sums import WIDTH, PeriodSums, RollingSums, Sums

Window = Rolling | Calendar


def windows_of(objective: Objective) -> list[Window]:
    """Every window that the objective looks at, its time window first."""
    found: list[Window] = [objective.window]
    for rule in objective.rules:
        found.append(Rolling(rule.window_s))
        if rule.short_window_s is not None:
            found.append(Rolling(rule.short_window_s))
    return list(dict.fromkeys(found))


class Windows:
    """Sums by (row, window). A *slot* is the place of one row's window in ``sums``, shape [slots, 6]."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        members: dict[Window, list[int]] = {}
        for row, objective in enumerate(objectives):
            for window in windows_of(objective):
                members.setdefault(window, []).append(row)
        self.sums: Sums = np.zeros((sum(map(len, members.values())), WIDTH), np.int64)
        self.slot: dict[tuple[int, Window], int] = {}
        self.moving: dict[Window, RollingSums | PeriodSums] = {}
        self._place: dict[Window, NDArray[np.intp]] = {}
        first = 0
        for window, rows in members.items():
            self.slot.update({(row, window): first + i for i, row in enumerate(rows)})
            self._place[window] = np.full(len(objectives), -1, np.intp)
            self._place[window][rows] = np.arange(len(rows))
            view = self.sums[first : first + len(rows)]
            self.moving[window] = (
                RollingSums(window.length_s, view)
                if isinstance(window, Rolling)
                else PeriodSums(period_bounds(window), view)
            )
            first += len(rows)

    def move_to(self, tick_s: int) -> None:
        for moving in self.moving.values():
            moving.move_to(tick_s)

    def add(self, pane: int, rows: NDArray[np.intp], counts: Sums) -> None:
        """Add counts of distinct rows to a pane, in every window that covers it."""
        for window, moving in self.moving.items():
            place = self._place[window][rows]
            if place.min(initial=0) < 0:
                mine = place >= 0
                moving.add(pane, place[mine], counts[mine])
            else:
                moving.add(pane, place, counts)
