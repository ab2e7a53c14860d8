"""Time slices: objectives that count spans of time instead of requests (contract, section 2).

A slice is bad when more than its allowed share of the weighted requests in it are bad. It counts with weight
1 in the pane in which it ends, and may still change for an hour after its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from stream.model.objective import PANE_S, Objective
from stream.window.limbs import WIDTH, Sums
from stream.window.panes import HOUR_S

GOOD_SLICE: Sums = np.array([1, 0, 1, 0, 0, 0], np.int64)
BAD_SLICE: Sums = np.array([1, 1, 1, 0, 1, 0], np.int64)
NO_SLICE: Sums = np.zeros(WIDTH, np.int64)

FINAL_AFTER_S = HOUR_S


@dataclass(slots=True)
class Slice:
    """Weighted requests of one slice so far, in millionths."""

    weight: int = 0
    bad_weight: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A change to the counts of a row in the pane in which a slice ends."""

    row: int
    pane: int
    counts: Sums


class SliceBook:
    """The slices of all rows that count slices, unfinished and recent."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.length_s = {row: o.slices.length_s for row, o in enumerate(objectives) if o.slices}
        self._allowed = {
            row: Fraction(o.slices.allowed_bad_pct) for row, o in enumerate(objectives) if o.slices
        }
        self.slices: dict[int, dict[int, Slice]] = {}
        """End in epoch seconds → row → slice."""

    def observe(
        self, row: int, pane: int, weight: int, bad_weight: int, decided_s: int | None
    ) -> list[Counted]:
        """Add requests; returns what changes in a pane whose time has passed."""
        length_s = self.length_s[row]
        end_s = (pane * PANE_S // length_s + 1) * length_s
        if decided_s is not None and decided_s >= end_s + FINAL_AFTER_S:
            return []
        one = self.slices.setdefault(end_s, {}).setdefault(row, Slice())
        before = self._counts(row, one)
        one.weight += weight
        one.bad_weight += bad_weight
        if decided_s is None or end_s > decided_s:
            return []
        change = self._counts(row, one) - before
        return [Counted(row, end_s // PANE_S - 1, change)] if change.any() else []

    def holds_before(self, tick_s: int) -> bool:
        """Whether a slice began before the tick."""
        return any(end_s - self.length_s[row] < tick_s for end_s, rows in self.slices.items() for row in rows)

    def finish(self, tick_s: int) -> Iterator[Counted]:
        """The slices that end at this tick; those that became final are forgotten."""
        for row, one in self.slices.get(tick_s, {}).items():
            yield Counted(row, tick_s // PANE_S - 1, self._counts(row, one))
        for end_s in [end for end in self.slices if end + FINAL_AFTER_S <= tick_s]:
            del self.slices[end_s]

    def _counts(self, row: int, one: Slice) -> Sums:
        if not one.weight:
            return NO_SLICE
        return BAD_SLICE if 100 * one.bad_weight > self._allowed[row] * one.weight else GOOD_SLICE
