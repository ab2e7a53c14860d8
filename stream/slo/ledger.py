"""The counts of one shard: what was observed, held back until its tick comes, then summed over windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S
from stream.slo.catalog import Catalog
from stream.slo.contribution import NOTHING, Contribution, Counts, VersionInPane
from stream.slo.registry import Registry
from stream.slo.rolled_back import RolledBack
from stream.slo.slices import Counted, SliceBook
from stream.slo.versions import Versions
from stream.slo.windows import Windows
from stream.window.history import Cells, History
from stream.window.limbs import EVENTS, Sums, limbs

NEVER = -1
"""No pane: nothing was counted."""


@dataclass(slots=True)
class Late:
    """Events that came after their pane was decided, and those dropped as too late or too far ahead."""

    late: int = 0
    too_late: int = 0


class Ledger:
    """Panes that still wait for their tick, windows behind them, and what is known of each row.

    ``decided_s`` is the last tick; the state as of it holds every event before it that had arrived.
    """

    def __init__(self, catalog: Catalog, max_series: int) -> None:
        objectives = catalog.objectives
        self.catalog = catalog
        self.registry = Registry(catalog, max_series)
        self.windows = Windows(objectives)
        self.slices = SliceBook(objectives)
        self.history = History(catalog.longest_alerting_s)
        self.decided_s: int | None = None
        self.first = np.full(len(objectives), NEVER, np.int64)
        """Pane of the first counted event, by row; NEVER after it was forgotten."""
        self.newest = np.full(len(objectives), NEVER, np.int64)
        self.versions = Versions(catalog.released)
        self.rolled_back = RolledBack(catalog.released)
        self.has_counted = np.zeros(len(objectives), bool)
        """Whether an event was counted, by row, since this was made: forgetting does not change that."""
        self.complete_s = np.zeros(len(objectives), np.int64)
        """By row: from when on its counts are complete, where a window reaches further back than those that
        counted before the SLO files changed."""
        self.pending: dict[int, list[tuple[NDArray[np.int64], Sums]]] = {}
        self.pending_versions: dict[int, dict[tuple[str, str], dict[str, int]]] = {}
        """By pane, service and version: events."""
        self.dirty_panes: set[int] = set()
        self.late = Late()
        self._is_slices = np.array([o.slices is not None for o in objectives], bool)
        self._alerts = bool(catalog.longest_alerting_s)

    def observe(self, new: Contribution, old: Contribution | None, kept: range) -> None:
        """Count what ``new`` has beyond ``old``, an earlier sending of the same chunk; drop what is not in
        the panes ``kept``. What was dropped of ``old`` stays dropped: both are as they were sent."""
        rows = new.rows.minus(old.rows if old else NOTHING).between(kept.start, kept.stop)
        pairs = new.pairs.minus(old.pairs if old else NOTHING).between(kept.start, kept.stop)
        self._count_late(new, old, kept)
        self._slice(rows)
        for pane, ids, counts in rows.by_pane():
            self._put(pane, ids, limbs(counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3]))
        if self._alerts:
            for pane, ids, counts in pairs.by_pane():
                self.history.add(pane, Cells(ids, counts[:, 1], counts[:, 3]))
        before = old.versions if old else {}
        for seen, events in new.versions.items():
            if events > (known := before.get(seen, 0)) and seen[-1] in kept:
                self.put_version(seen, events - known)

    def _count_late(self, new: Contribution, old: Contribution | None, kept: range) -> None:
        before = dict(old.events) if old else {}
        decided = NEVER if self.decided_s is None else self.decided_s // PANE_S
        for pane, events in new.events:
            if pane not in kept:
                self.late.too_late += events - before.get(pane, 0)
            elif pane < decided:
                self.late.late += events - before.get(pane, 0)

    def _slice(self, rows: Counts) -> None:
        for i in np.flatnonzero(self._is_slices[rows.id]) if self._is_slices.any() else ():
            weight, bad_weight = int(rows.counts[i, 1]), int(rows.counts[i, 3])
            for counted in self.slices.observe(
                int(rows.id[i]), int(rows.pane[i]), weight, bad_weight, self.decided_s
            ):
                self._count_slice(counted)

    def _count_slice(self, counted: Counted) -> None:
        self.windows.add(counted.pane, np.array([counted.row]), counted.counts[None, :])
        self.dirty_panes.add(counted.pane)

    def _put(self, pane: int, rows: NDArray[np.int64], counts: Sums) -> None:
        if self.decided_s is not None and pane < self.decided_s // PANE_S:
            self._settle(pane, rows, counts)
        else:
            self.pending.setdefault(pane, []).append((rows, counts))

    def put_version(self, seen: VersionInPane, events: int) -> None:
        """What comes after its pane was decided tells of no version (contract, section 4)."""
        namespace, service, version, pane = seen
        is_known = (namespace, service) in self.versions.seen
        if is_known and (self.decided_s is None or pane >= self.decided_s // PANE_S):
            counts = self.pending_versions.setdefault(pane, {}).setdefault((namespace, service), {})
            counts[version] = counts.get(version, 0) + events

    def _settle(self, pane: int, rows: NDArray[np.int64], counts: Sums) -> None:
        """Counts of distinct rows whose pane's time has come."""
        held = rows[counts[:, EVENTS] > 0]
        forgotten = self.first[held] == NEVER
        self.first[held] = np.where(forgotten, pane, np.minimum(self.first[held], pane))
        self.newest[held] = np.maximum(self.newest[held], pane)
        self.has_counted[held] = True
        by_request = ~self._is_slices[rows]
        if not by_request.all():
            rows, counts = rows[by_request], counts[by_request]
        self.windows.add(pane, rows, counts)
        self.dirty_panes.add(pane)

    def is_empty_at(self, tick_s: int) -> bool:
        """Whether nothing is held of the time before the last tick: all else comes with a pane that waits."""
        return not (
            self.windows.sums.any()
            or self.slices.holds_before(tick_s)
            or any(start_s < tick_s for _, start_s in self.history.places())
        )

    def skip_to(self, tick_s: int) -> None:
        """Let time pass where nothing is due; what comes late after this still finds its place."""
        self.windows.move_to(tick_s)
        self.decided_s = tick_s
        if self._alerts:
            self.history.move_to(tick_s)

    def move_to(self, tick_s: int) -> None:
        """Move every window to the tick; the pane that ends there joins them."""
        self.skip_to(tick_s)
        pane = tick_s // PANE_S - 1
        parts = self.pending.pop(pane, [])
        if parts:
            rows, place = np.unique(np.concatenate([rows for rows, _ in parts]), return_inverse=True)
            counts = np.zeros((len(rows), parts[0][1].shape[1]), np.int64)
            np.add.at(counts, place, np.concatenate([counts for _, counts in parts]))
            self._settle(pane, rows, counts)
        self.versions.move_to(tick_s, self.pending_versions.pop(pane, {}))
        for counted in self.slices.finish(tick_s):
            self._count_slice(counted)
