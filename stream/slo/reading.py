"""What SLOs' windows say at a tick, exactly: the numbers that records and decisions are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import PANE_S, BurnRule, Calendar, Objective, Rolling
from stream.slo.exact import Budget, Share, burn_rate, burn_rates
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
    freeze_below: Fraction | None
    rollback_below: Fraction | None
    windows: tuple[str, ...]
    """The rules' long windows as written in the SLO file."""
    exhaustion_window: Window
    """The window whose burn rate tells when the budget will be gone."""

    @classmethod
    def of(cls, objective: Objective) -> Plan:
        return cls(
            objective,
            Share.of(objective.target_pct),
            _fraction(objective.freeze_below_pct),
            _fraction(objective.rollback_below_pct),
            tuple(rule.window for rule in objective.rules),
            exhaustion_window(objective),
        )


def _fraction(value: Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


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
        return None if left_ms is None else format_ms(tick_s * 1000 + left_ms)


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
        spans_s = np.array([self._span_s(window, tick_s) for window in self._windows], np.int64).reshape(
            -1, 2
        )
        start_s, length_s = spans_s[self._window_of_row[at]].T
        first = self._ledger.first[at]
        begun_s = np.where(first == NEVER, start_s, np.maximum(start_s, first * PANE_S))
        elapsed_s = np.minimum(tick_s - begun_s, length_s)
        elapsed_s[self._observed[at]] = 1
        projected_s = np.where(self._observed[at], 1, length_s)
        columns = (at, bad, total, length_s, projected_s, elapsed_s)
        for row, b, n, window_s, over_s, of_s in zip(*(column.tolist() for column in columns), strict=True):
            plan = self.plans[row]
            yield Reading(plan, Budget(b[0], n[0], plan.share, over_s, of_s), window_s, b, n)

    def one(self, row: int, tick_s: int) -> Reading:
        return next(self.read([row], tick_s))

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
