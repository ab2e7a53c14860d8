"""Decisions at a tick: rules over all rows at once, exact where it is close, records for what changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stream.model.names import service_key
from stream.model.objective import PANE_S, BurnRule, Rolling
from stream.slo import records
from stream.slo.alerts import INACTIVE, Alert, Change, State, Verdict, step
from stream.slo.catalog import window_length_s
from stream.slo.exact import burns_faster
from stream.slo.ledger import NEVER, Ledger
from stream.slo.reading import Plan, Reader, short_window
from stream.window.limbs import (
    BAD,
    BAD_MICRO,
    BAD_WHOLE,
    EVENTS,
    MICRO,
    MILLION,
    WHOLE,
    Sums,
    total,
    total_bad,
)
from stream.window.panes import MINUTE_S
from stream.wire.signal import Signal

_CLOSE = 1e-9
"""Floats settle what differs by more than this; the rest is decided on integers."""

RuleKey = tuple[int, int | None, str]
"""(window_s, short_window_s, threshold): names a rule within its SLO."""


def rule_key(rule: BurnRule) -> RuleKey:
    return rule.window_s, rule.short_window_s, str(rule.threshold.normalize())


@dataclass(frozen=True, slots=True)
class _Rules:
    """All rules of all SLOs as columns."""

    row: NDArray[np.intp]
    long: NDArray[np.intp]
    """Slot of the long window, as ``short``."""
    short: NDArray[np.intp]
    """The long window's slot again when the short one is off."""
    factor: NDArray[np.float64]
    """threshold · (100 − target) / 100: the error ratio at which the rule becomes true."""
    min_bad: NDArray[np.int64]


class Evaluator:
    """Alert, freeze and rollback states of a ledger's SLOs."""

    def __init__(self, ledger: Ledger) -> None:
        objectives = ledger.catalog.objectives
        self.ledger = ledger
        self.reader = Reader(ledger)
        self.plans = self.reader.plans
        self.rules = [(row, rule) for row, o in enumerate(objectives) for rule in o.rules]
        self.rules_of_row: dict[int, list[int]] = {}
        for place, (row, _) in enumerate(self.rules):
            self.rules_of_row.setdefault(row, []).append(place)
        self.alerts: dict[int, Alert] = {}
        """By place in ``rules``; only those that fire."""
        self.announced: dict[int, dict[str, object]] = {}
        """By place in ``rules``: the record with which the alert that fires was announced."""
        self.frozen: set[tuple[str, str]] = set()
        self.below_rollback: set[int] = set()
        self.held_last_minute = np.zeros(len(objectives), bool)
        """By row: whether its time window held an event at the last whole minute."""
        self._by_identity = np.array(
            sorted(range(len(objectives)), key=lambda row: objectives[row].identity), np.intp
        )
        self._columns = self._rule_columns()
        self._spared = np.array([_spared(plan) for plan in self.plans], np.float64)
        self._span_s = np.array([window_length_s(o) for o in objectives], np.int64)
        self._budget_slot = np.array(
            [ledger.windows.slot[row, o.window] for row, o in enumerate(objectives)], np.intp
        )

    def _rule_columns(self) -> _Rules:
        slot = self.ledger.windows.slot
        long = [slot[row, Rolling(rule.window_s)] for row, rule in self.rules]
        short = [slot[row, short_window(rule) or Rolling(rule.window_s)] for row, rule in self.rules]
        factor = [
            float(rule.threshold) * self.plans[row].share.over / self.plans[row].share.under / 100
            for row, rule in self.rules
        ]
        return _Rules(
            np.array([row for row, _ in self.rules], np.intp),
            np.array(long, np.intp),
            np.array(short, np.intp),
            np.array(factor, np.float64),
            np.array([rule.min_bad_events for _, rule in self.rules], np.int64),
        )

    def evaluate(self, tick_s: int) -> Iterator[Signal]:
        """Everything that changes at the tick, in the contract's order within each topic."""
        forgotten = self._forgotten(tick_s)
        yield from self._alerts(tick_s, forgotten)
        self.ledger.first[list(forgotten)] = NEVER
        self.ledger.newest[list(forgotten)] = NEVER
        below_freeze, below_rollback = self._below(tick_s)
        yield from self._freezes(tick_s, below_freeze)
        yield from self._rollbacks(tick_s, below_rollback)
        if tick_s % MINUTE_S == 0:
            yield from self._budgets(tick_s)

    # alerts

    def _alerts(self, tick_s: int, forgotten: set[int]) -> Iterator[Signal]:
        if not self.rules:
            return
        verdicts = self._verdicts()
        changed: list[tuple[str, int, Change, Alert]] = []
        for place in sorted({*np.flatnonzero(verdicts == _TRUE).tolist(), *self.alerts}):
            row, rule = self.rules[place]
            alert = self.alerts.get(place, INACTIVE)
            if row in forgotten:
                after, change = INACTIVE, Change.RESOLVED if alert.state is not State.INACTIVE else None
            else:
                after, change = step(alert, _VERDICTS[verdicts[place]], tick_s, rule.keep_firing_for_ms)
            if change is not None:
                named = alert if change is Change.RESOLVED else after
                changed.append((self.plans[row].objective.service_key, place, change, named))
            self.alerts[place] = after
            if after.state is State.INACTIVE:
                del self.alerts[place]
        for _, place, change, alert in sorted(changed, key=lambda c: c[:2]):
            row, rule = self.rules[place]
            now = self.reader.one(row, tick_s)
            signal = records.alert(self.ledger, row, now, rule, change, alert.starts_at_s, tick_s)
            if change is Change.FIRED:
                self.announced[place] = signal.value
            elif (announced := self.announced.pop(place, None)) is not None:
                signal.value["id"] = announced["id"]  # a former version may have made it of another identity
            yield signal

    def _verdicts(self) -> NDArray[np.int8]:
        """_TRUE, _FALSE or _FROZEN for every rule (contract, section 4)."""
        c, sums = self._columns, self.ledger.windows.sums
        long, short = sums[c.long], sums[c.short]
        frozen = (long[:, EVENTS] == 0) | (short[:, EVENTS] == 0)
        may = ~frozen & (long[:, BAD] >= c.min_bad) & (long[:, BAD] > 0)
        verdict = np.where(frozen, _FROZEN, _FALSE).astype(np.int8)
        chosen = np.flatnonzero(may)
        true = self._burning(long[chosen], chosen) & self._burning(short[chosen], chosen)
        verdict[chosen[true]] = _TRUE
        return verdict

    def _burning(self, sums: Sums, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether burn > threshold, for these rules on these rows of sums, shape [n, 6]."""
        bad = sums[:, BAD_WHOLE] + sums[:, BAD_MICRO] / MILLION
        limit = self._columns.factor[places] * (sums[:, WHOLE] + sums[:, MICRO] / MILLION)
        burning: NDArray[np.bool_] = bad > limit
        for i in np.flatnonzero(np.abs(bad - limit) <= _CLOSE * limit):
            row, rule = self.rules[places[i]]
            burning[i] = burns_faster(
                total_bad(sums[i]), total(sums[i]), self.plans[row].share, Fraction(rule.threshold)
            )
        return burning

    def _forgotten(self, tick_s: int) -> set[int]:
        """Rows whose newest counted event lies two windows back (contract, section 4, forgetting)."""
        newest = self.ledger.newest
        gone = (newest != NEVER) & ((newest + 1) * PANE_S + 2 * self._span_s <= tick_s)
        return set(np.flatnonzero(gone).tolist())

    def next_forgetting_s(self) -> int | None:
        """The tick at which the next row will be forgotten if nothing comes."""
        held = self.ledger.newest != NEVER
        if not held.any():
            return None
        return int(((self.ledger.newest[held] + 1) * PANE_S + 2 * self._span_s[held]).min())

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing changes and nothing is told at further ticks, if all windows were empty at the last
        one and stay so."""
        return not (self.alerts or self.held_last_minute.any())

    # budgets and what follows from them

    def _below(self, tick_s: int) -> tuple[set[int], set[int]]:
        """Rows whose budget is below their freeze and their rollback threshold."""
        freeze, rollback = set(), set()
        rows = self._may_be_below()
        for row, now in zip(rows.tolist(), self.reader.read(rows, tick_s), strict=True):
            if now.plan.freeze_below is not None and now.budget.below(now.plan.freeze_below):
                freeze.add(row)
            if now.plan.rollback_below is not None and now.budget.below(now.plan.rollback_below):
                rollback.add(row)
        return freeze, rollback

    def _may_be_below(self) -> NDArray[np.intp]:
        """The rows that have to be looked at exactly: nearly all of them are far from their thresholds.

        remaining_pct < x is 100·B > (100 − x)·allowed, and allowed is at least (1 − target/100)·N.
        """
        sums = self.ledger.windows.sums[self._budget_slot]
        bad = sums[:, BAD_WHOLE] + sums[:, BAD_MICRO] / MILLION
        least = self._spared * (sums[:, WHOLE] + sums[:, MICRO] / MILLION)
        return np.flatnonzero((bad > 0) & (bad >= least * (1 - _CLOSE)))

    def _freezes(self, tick_s: int, below: set[int]) -> Iterator[Signal]:
        services: dict[tuple[str, str], list[int]] = {}
        for row in sorted(below):
            objective = self.plans[row].objective
            services.setdefault((objective.namespace, objective.service), []).append(row)
        for service in sorted(self.frozen ^ services.keys(), key=lambda s: service_key(*s)):
            rows = services.get(service, [])
            yield records.freeze(service, self.reader.read(rows, tick_s), bool(rows), tick_s)
        self.frozen = set(services)

    def _rollbacks(self, tick_s: int, below: set[int]) -> Iterator[Signal]:
        fallen = below - self.below_rollback
        for row in sorted(fallen, key=lambda r: (self.plans[r].objective.service_key, r)):
            yield records.rollback(self.ledger, self.reader.one(row, tick_s), tick_s)
        self.below_rollback = below

    def _budgets(self, tick_s: int) -> Iterator[Signal]:
        held = self.ledger.windows.sums[self._budget_slot, EVENTS] > 0
        due = held | self.held_last_minute
        for now in self.reader.read(self._by_identity[due[self._by_identity]], tick_s):
            yield records.slo_budget(now, tick_s)
        self.held_last_minute = held


_FALSE, _TRUE, _FROZEN = 0, 1, 2
_VERDICTS = (Verdict.FALSE, Verdict.TRUE, Verdict.FROZEN)


def _spared(plan: Plan) -> float:
    """The error ratio below which a budget cannot be below either threshold; more than there can be without
    thresholds."""
    thresholds = [x for x in (plan.freeze_below, plan.rollback_below) if x is not None]
    if not thresholds:
        return 2.0
    return float((100 - max(thresholds)) * plan.share.over / plan.share.under / 10_000)
