"""What SLOs' windows say at a tick, exactly: the numbers that records and decisions are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S, BurnRule, Calendar, Objective, Rolling
from stream.slo.exact import Budget, Gate, Share, burn_rate, burn_rates
from stream.slo.ledger import NEVER, Ledger
from stream.slo.windows import Window
from stream.window.limbs import total, total_bad, totals
from stream.window.panes import HOUR_S, window_start_s
from stream.window.sums import PeriodSums
from stream.wire.rfc3339 import format_ms


@dataclass(frozen=True, slots=True)
class Plan:
    """An objective with what its readings need, worked out once."""

    objective: Objective
    share: Share
    freeze: Gate | None
    rollback: Gate | None
    windows: tuple[str, ...]
    """The rules' long windows as written in the SLO file."""
    exhaustion_window: Window
    """The window whose burn rate tells when the budget will be gone."""
    decided_by: str
    """What freezes and rollbacks are decided by."""

    @classmethod
    def of(cls, objective: Objective) -> Plan:
        return cls(
            objective,
            Share.of(objective.target_pct),
            Gate.of(objective.freeze_below_pct, objective.hysteresis),
            Gate.of(objective.rollback_below_pct, objective.hysteresis),
            tuple(rule.window for rule in objective.rules),
            exhaustion_window(objective),
            decided_by(objective),
        )


def decided_by(objective: Objective) -> str:
    """What an SLO's freezes and rollbacks are decided by, beside its counts: as a text."""
    window = objective.window
    length = f"{window.period} {window.zone}" if isinstance(window, Calendar) else f"{window.length_s}s"
    policy = (objective.freeze_below_pct, objective.rollback_below_pct, objective.hysteresis)
    numbers = [None if number is None else Fraction(number) for number in (objective.target_pct, *policy)]
    return "|".join((length, objective.budget_basis, *map(str, numbers)))


def exhaustion_window(objective: Objective) -> Window:
    """The alerting window of one hour, else the longest below it, else the longest of all.

    An SLO without alerting is read over its own time window.
    """
    lengths = [rule.window_s for rule in objective.rules]
    if not lengths:
        return objective.window
    return Rolling(max((s for s in lengths if s <= HOUR_S), default=max(lengths)))


class Reading(NamedTuple):
    """One SLO at a tick. Counts are weighted, in millionths."""

    plan: Plan
    budget: Budget
    start_s: int
    """Of its time window."""
    window_s: int
    """Length of its time window; a calendar period's own."""
    bad: list[int]
    """B over the time window, the exhaustion window, then each rule's long window; more may follow."""
    total: list[int]
    """N, likewise."""

    def burn_by_window(self) -> dict[str, float | None]:
        """Burn rate by alerting window, named as written in the SLO file."""
        rates = burn_rates(self.bad[_RULES:], self.total[_RULES:], self.plan.share)
        return dict(zip(self.plan.windows, rates, strict=False))

    def exhausts_at(self, tick_s: int) -> str | None:
        """When the budget will be gone; the tick itself when it is gone already (contract, section 5)."""
        left_ms = self.budget.exhausted_in_ms(self.bad[_EXHAUSTION], self.total[_EXHAUSTION], self.window_s)
        if left_ms is None:
            return None
        at_ms = tick_s * 1000 + left_ms
        if isinstance(self.plan.objective.window, Calendar) and at_ms > (self.start_s + self.window_s) * 1000:
            return None  # renewed before
        return format_ms(at_ms)


_TIME_WINDOW, _EXHAUSTION, _RULES = range(3)
"""Places in a reading's counts; those of the rules begin at the last."""


class Reader:
    """Reads many SLOs of a ledger at once: their counts leave the arrays as columns."""

    def __init__(self, ledger: Ledger) -> None:
        objectives = ledger.catalog.objectives
        self._ledger = ledger
        self.plans = [Plan.of(o) for o in objectives]
        self._slots = self._slots_of_rows()
        self._windows = list(dict.fromkeys(o.window for o in objectives))
        place = {window: number for number, window in enumerate(self._windows)}
        self._window_of_row = np.array([place[o.window] for o in objectives], np.intp)
        self._observed = np.array([o.budget_basis == "observed" for o in objectives], bool)

    def _slots_of_rows(self) -> NDArray[np.intp]:
        """By row: the slots of the windows of its :class:`Reading`; the time window's where there are no
        more."""
        slot = self._ledger.windows.slot
        found = [
            [slot[row, plan.objective.window], slot[row, plan.exhaustion_window]]
            + [slot[row, Rolling(rule.window_s)] for rule in plan.objective.rules]
            for row, plan in enumerate(self.plans)
        ]
        width = max(map(len, found), default=_RULES)
        padded = [slots + slots[:1] * (width - len(slots)) for slots in found]
        return np.array(padded, np.intp).reshape(-1, width)

    def read(self, rows: Sequence[int] | NDArray[np.intp], tick_s: int) -> Iterator[Reading]:
        """In the order of the rows."""
        at = np.asarray(rows, np.intp)
        bad, total = totals(self._ledger.windows.sums[self._slots[at]])
        start_s, length_s = self._spans(at, tick_s)
        over_s, of_s = self._projection(at, start_s, length_s, tick_s)
        columns = (at, bad, total, start_s, length_s, over_s, of_s)
        for row, b, n, begin_s, window_s, over, of in zip(*(c.tolist() for c in columns), strict=True):
            plan = self.plans[row]
            yield Reading(plan, Budget(b[0], n[0], plan.share, over, of), begin_s, window_s, b, n)

    def one(self, row: int, tick_s: int) -> Reading:
        return next(self.read([row], tick_s))

    def projection(self, at: NDArray[np.intp], tick_s: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(W, elapsed) of many rows' budgets; equal where nothing is projected."""
        return self._projection(at, *self._spans(at, tick_s), tick_s)

    def _projection(
        self, at: NDArray[np.intp], start_s: NDArray[np.int64], length_s: NDArray[np.int64], tick_s: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first, complete_s = self._ledger.first[at], self._ledger.complete_s[at]
        begun_s = np.maximum(start_s, np.maximum(complete_s, np.where(first == NEVER, 0, first * PANE_S)))
        elapsed_s = np.minimum(tick_s - begun_s, length_s)
        observed = self._observed[at]
        return np.where(observed, 1, length_s), np.where(observed, 1, elapsed_s)

    def _spans(self, at: NDArray[np.intp], tick_s: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(start, length) of many rows' time windows."""
        spans_s = [self._span_s(window, tick_s) for window in self._windows]
        start_s, length_s = np.array(spans_s, np.int64).reshape(-1, 2)[self._window_of_row[at]].T
        return start_s, length_s

    def _span_s(self, window: Window, tick_s: int) -> tuple[int, int]:
        """(start, length) of a time window at a tick; a calendar period's own length."""
        if isinstance(window, Calendar):
            period = self._ledger.windows.moving[window]
            assert isinstance(period, PeriodSums)
            assert period.start_s is not None
            return period.start_s, period.end_s - period.start_s
        return window_start_s(tick_s, window.length_s), window.length_s


def burn(ledger: Ledger, row: int, plan: Plan, window: Window) -> float | None:
    sums = ledger.windows.sums[ledger.windows.slot[row, window]]
    return burn_rate(total_bad(sums), total(sums), plan.share)


def short_window(rule: BurnRule) -> Rolling | None:
    return None if rule.short_window_s is None else Rolling(rule.short_window_s)
