"""All windows of all objectives, as one flat array of sums that a tick moves and the evaluators read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S, Calendar, Objective, Rolling
from stream.slo.calendar import period_bounds
from stream.window.limbs import WIDTH, Sums
from stream.window.panes import grid_s
from stream.window.sums import PeriodSums, RollingSums

Window = Rolling | Calendar


def windows_of(objective: Objective) -> list[Window]:
    """Every window that the objective looks at, its time window first."""
    found: list[Window] = [objective.window]
    for rule in objective.rules:
        found.append(Rolling(rule.window_s))
        if rule.short_window_s is not None:
            found.append(Rolling(rule.short_window_s))
    return list(dict.fromkeys(found))


def longest_by_grid(objective: Objective) -> list[int]:
    """Lengths of the objective's longest rolling window on each grid, ascending: what it holds panes by."""
    found: dict[int, int] = {}
    for window in windows_of(objective):
        if isinstance(window, Rolling):
            grid = grid_s(window.length_s)
            found[grid] = max(window.length_s, found.get(grid, 0))
    return sorted(found.values())


class Windows:
    """Sums by (row, window). A *slot* is the place of one row's window in ``sums``, shape [slots, 6]."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        members: dict[Window, list[int]] = {}
        for row, objective in enumerate(objectives):
            for window in windows_of(objective):
                members.setdefault(window, []).append(row)
        self.sums: Sums = np.zeros((sum(map(len, members.values())), WIDTH), np.int64)
        self._rows = len(objectives)
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

    def grids(self) -> list[int]:
        """The grids that rolling windows lie on, in seconds."""
        return sorted({moving.grid_s for moving in self.moving.values() if isinstance(moving, RollingSums)})

    def get_pane(self, grid_s: int, start_s: int) -> tuple[NDArray[np.intp], Sums]:
        """(rows, sums) of what a pane holds: of each row, as its longest window on the grid has it."""
        rows: list[NDArray[np.intp]] = []
        sums: list[Sums] = []
        for window, mine in self._longest(grid_s):
            ring = self.moving[window]
            assert isinstance(ring, RollingSums)
            pane = ring.get(start_s)
            if pane is not None:
                held = mine[pane[self._place[window][mine]].any(axis=1)]
                rows.append(held)
                sums.append(pane[self._place[window][held]])
        if not rows:
            return np.empty(0, np.intp), np.empty((0, WIDTH), np.int64)
        return np.concatenate(rows), np.concatenate(sums)

    def put_pane(self, grid_s: int, start_s: int, rows: NDArray[np.intp], sums: Sums) -> None:
        """Put counts of distinct rows into every window on the grid that covers the moment."""
        for window, moving in self.moving.items():
            if isinstance(moving, RollingSums) and moving.grid_s == grid_s:
                self._put(window, start_s, rows, sums)

    def put_in_periods(self, start_s: int, rows: NDArray[np.intp], sums: Sums) -> None:
        """The same for calendar windows."""
        for window, moving in self.moving.items():
            if isinstance(moving, PeriodSums):
                self._put(window, start_s, rows, sums)

    def _put(self, window: Window, start_s: int, rows: NDArray[np.intp], sums: Sums) -> None:
        place = self._place[window][rows]
        mine = place >= 0
        self.moving[window].add(start_s // PANE_S, place[mine], sums[mine])

    def oldest_s(self, grid_s: int) -> int:
        """Start of the oldest pane of the grid that any window still covers."""
        starts = [
            moving.start_s
            for moving in self.moving.values()
            if isinstance(moving, RollingSums) and moving.grid_s == grid_s
        ]
        return min(starts)

    def _longest(self, grid_s: int) -> list[tuple[Window, NDArray[np.intp]]]:
        """Each row's longest window on the grid, as (window, rows)."""
        on_grid = [
            (w, m) for w, m in self.moving.items() if isinstance(m, RollingSums) and m.grid_s == grid_s
        ]
        on_grid.sort(key=lambda found: found[1].window_s, reverse=True)
        taken = np.zeros(self._rows, np.bool_)
        found: list[tuple[Window, NDArray[np.intp]]] = []
        for window, _ in on_grid:
            mine = np.flatnonzero((self._place[window] >= 0) & ~taken)
            taken[mine] = True
            if len(mine):
                found.append((window, mine))
        return found
