"""Error budget policies: who may not deploy, and what is to be rolled back (contract, section 4).

Both states of an SLO have memory: they begin below a threshold and end at a higher one, so that a budget
which hovers there does not flap; and they stay where nothing is counted, so that silence ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stream.model.names import service_key
from stream.slo import records
from stream.slo.exact import Gate
from stream.slo.ledger import NEVER, Ledger
from stream.slo.reading import Plan, Reader
from stream.window.limbs import BAD_MICRO, BAD_WHOLE, EVENTS, MICRO, MILLION, WHOLE, Sums
from stream.wire.signal import Signal

CLOSE = 1e-9
"""Floats settle what differs by more than this; the rest is decided on integers."""

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]
Service = tuple[str, str]


class Side:
    """One of the two thresholds of all SLOs, as columns, and the rows that are past theirs."""

    def __init__(self, plans: Sequence[Plan], gates: Sequence[Gate | None]) -> None:
        self._gates = gates
        self.past = np.zeros(len(plans), bool)
        """By row: it went below its threshold and has not recovered since."""
        self.has = np.array([gate is not None for gate in gates], bool)
        self.enter = _spent_shares(plans, gates, lambda gate: gate.below)
        self.leave = _spent_shares(plans, gates, lambda gate: gate.until)

    def threshold_pct(self, row: int, was_past: bool) -> Fraction:
        gate = self._gates[row]
        assert gate is not None
        return gate.until if was_past else gate.below


def _spent_shares(
    plans: Sequence[Plan], gates: Sequence[Gate | None], bound: Callable[[Gate], Fraction]
) -> Floats:
    """The error ratios of the whole budget's window above which less is left than the bound."""
    shares = [
        2.0 if gate is None else float((100 - bound(gate)) * plan.share.over / plan.share.under / 10_000)
        for plan, gate in zip(plans, gates, strict=True)
    ]
    return np.array(shares, np.float64)


class Policies:
    """Freezes and rollbacks of a ledger's SLOs."""

    def __init__(self, ledger: Ledger, reader: Reader) -> None:
        objectives = ledger.catalog.objectives
        self._ledger, self._reader, self._plans = ledger, reader, reader.plans
        self.freeze = Side(reader.plans, [plan.freeze for plan in reader.plans])
        self.rollback = Side(reader.plans, [plan.rollback for plan in reader.plans])
        self.frozen: set[Service] = set()
        self.edited = np.zeros(len(objectives), bool)
        """By row: whether the SLO files say something else than what its states were decided by."""
        self.gone: dict[Service, set[str]] = {}
        """SLOs that were under their freeze threshold when the files, or their counts, lost them."""
        self.decided_by = [""] * len(objectives)
        """By row: what its states were last decided by; empty if they never were."""
        self.rules = [plan.decided_by for plan in reader.plans]
        self._services = [(o.namespace, o.service) for o in objectives]
        slot = ledger.windows.slot
        self._slot = np.array([slot[row, o.window] for row, o in enumerate(objectives)], np.intp)
        self._least = np.minimum(self.freeze.enter, self.rollback.enter)

    @property
    def is_edited(self) -> bool:
        """Whether the next tick has something to tell because the SLO files changed."""
        return bool(self.gone) or bool(self.edited.any())

    def at(self, tick_s: int) -> Iterator[Signal]:
        """What changes at the tick: freezes, then rollbacks."""
        sums = self._ledger.windows.sums[self._slot]
        rows = self._may_be_past(sums)
        was_under, was_below = self.freeze.past.copy(), self.rollback.past.copy()
        for side in (self.freeze, self.rollback):
            side.past[rows] = self._past(side, rows, sums[rows], tick_s)
        yield from self._freezes(was_under, tick_s)
        yield from self._rollbacks(was_below, tick_s)
        self.edited[:] = False
        self.gone.clear()
        self.decided_by = self.rules

    def _may_be_past(self, sums: Sums) -> Rows:
        """The rows that have to be looked at: nearly all are far from their thresholds, and were before.

        remaining_pct < x is 100·B > (100 − x)·allowed, and allowed is at least (1 − target/100)·N.
        """
        bad, total = _weights(sums)
        is_near = (bad > 0) & (bad >= self._least * total * (1 - CLOSE))
        return np.flatnonzero(is_near | self.freeze.past | self.rollback.past | self.edited)

    def _past(self, side: Side, rows: Rows, sums: Sums, tick_s: int) -> NDArray[np.bool_]:
        """Whether rows with these counts are past a threshold at the tick."""
        was = side.past[rows]
        remembers = was & ~self.edited[rows]
        bad, total = _weights(sums)
        over_s, of_s = self._reader.projection(rows, tick_s)
        spent = bad * of_s
        most = np.where(remembers, side.leave[rows], side.enter[rows]) * total * over_s
        is_past: NDArray[np.bool_] = spent > most
        for i in np.flatnonzero((np.abs(spent - most) <= CLOSE * most) & side.has[rows]).tolist():
            row = int(rows[i])
            threshold_pct = side.threshold_pct(row, bool(remembers[i]))
            is_past[i] = self._reader.one(row, tick_s).budget.below(threshold_pct)
        is_known = self._ledger.newest[rows] != NEVER
        return side.has[rows] & np.where(sums[:, EVENTS] > 0, is_past, was & is_known)

    def _freezes(self, was_under: NDArray[np.bool_], tick_s: int) -> Iterator[Signal]:
        under: dict[Service, list[int]] = {}
        for row in np.flatnonzero(self.freeze.past).tolist():
            under.setdefault(self._services[row], []).append(row)
        moved = np.flatnonzero(self.edited & (was_under ^ self.freeze.past)).tolist()
        by_rules = {self._services[row] for row in moved} | self.gone.keys()
        for service in sorted(self.frozen ^ under.keys(), key=lambda s: service_key(*s)):
            rows = under.get(service, [])
            readings = self._reader.read(rows, tick_s)
            yield records.freeze(service, readings, bool(rows), tick_s, rules_changed=service in by_rules)
        self.frozen = set(under)

    def _rollbacks(self, was_below: NDArray[np.bool_], tick_s: int) -> Iterator[Signal]:
        fallen = np.flatnonzero(self.rollback.past & ~was_below & ~self.edited).tolist()
        for row in sorted(fallen, key=lambda r: (self._plans[r].objective.service_key, r)):
            yield records.rollback(self._ledger, self._reader.one(row, tick_s), tick_s)

    # what a state is restored from

    def under(self) -> dict[Service, set[str]]:
        """Names of the SLOs, by service, that are under their freeze threshold as far as was decided."""
        found = {service: set(names) for service, names in self.gone.items()}
        for row in np.flatnonzero(self.freeze.past).tolist():
            found.setdefault(self._services[row], set()).add(self._plans[row].objective.name)
        return found


def _weights(sums: Sums) -> tuple[Floats, Floats]:
    """(B, N) as floats."""
    bad = sums[:, BAD_WHOLE] + sums[:, BAD_MICRO] / MILLION
    return bad, sums[:, WHOLE] + sums[:, MICRO] / MILLION
