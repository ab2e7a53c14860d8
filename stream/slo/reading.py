"""What one SLO's windows say at a tick, exactly: the numbers that records and decisions are made of."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from stream.model.objective import PANE_S, BurnRule, Calendar, Objective, Rolling
from stream.slo.exact import Budget, Share, burn_rate
from stream.slo.ledger import NEVER, Ledger
from stream.slo.windows import Window
from stream.window.panes import HOUR_S, window_start_s
from stream.window.sums import PeriodSums, total, total_bad
from stream.wire.rfc3339 import format_ms


@dataclass(frozen=True, slots=True)
class Plan:
    """An objective with what its readings need, worked out once."""

    objective: Objective
    share: Share
    freeze_below: Fraction | None
    rollback_below: Fraction | None
    exhaustion_window: Window
    """The window whose burn rate tells when the budget will be gone."""

    @classmethod
    def of(cls, objective: Objective) -> Plan:
        return cls(
            objective,
            Share.of(objective.target_pct),
            _fraction(objective.freeze_below_pct),
            _fraction(objective.rollback_below_pct),
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


def counts(ledger: Ledger, row: int, window: Window) -> tuple[int, int]:
    """(B, N) of a row over a window, weighted, in millionths."""
    sums = ledger.windows.sums[ledger.windows.slot[row, window]]
    return total_bad(sums), total(sums)


def window_span_s(ledger: Ledger, row: int, plan: Plan, tick_s: int) -> tuple[int, int]:
    """(start, length) of the SLO's time window at a tick; a calendar period's own length."""
    window = plan.objective.window
    if isinstance(window, Calendar):
        period = ledger.windows.moving[window]
        assert isinstance(period, PeriodSums)
        assert period.start_s is not None
        return period.start_s, period.end_s - period.start_s
    return window_start_s(tick_s, window.length_s), window.length_s


def budget(ledger: Ledger, row: int, plan: Plan, tick_s: int) -> Budget:
    """The SLO's error budget at a tick."""
    bad, count = counts(ledger, row, plan.objective.window)
    start_s, length_s = window_span_s(ledger, row, plan, tick_s)
    if plan.objective.budget_basis == "observed":
        return Budget(bad, count, plan.share, 1, 1)
    first = int(ledger.first[row])
    first_s = start_s if first == NEVER else max(start_s, first * PANE_S)
    return Budget(bad, count, plan.share, length_s, min(tick_s - first_s, length_s))


def burn(ledger: Ledger, row: int, plan: Plan, window: Window) -> float | None:
    bad, count = counts(ledger, row, window)
    return burn_rate(bad, count, plan.share)


def exhausts_at(ledger: Ledger, row: int, plan: Plan, tick_s: int) -> str | None:
    """When the budget will be gone; the tick itself when it is gone already (contract, section 5)."""
    _, length_s = window_span_s(ledger, row, plan, tick_s)
    left_ms = budget(ledger, row, plan, tick_s).exhausted_in_ms(
        *counts(ledger, row, plan.exhaustion_window), length_s
    )
    return None if left_ms is None else format_ms(tick_s * 1000 + left_ms)


def burn_by_window(ledger: Ledger, row: int, plan: Plan) -> dict[str, float | None]:
    """Burn rate by alerting window, named as written in the SLO file."""
    return {rule.window: burn(ledger, row, plan, Rolling(rule.window_s)) for rule in plan.objective.rules}


def short_window(rule: BurnRule) -> Rolling | None:
    return None if rule.short_window_s is None else Rolling(rule.short_window_s)
