"""What is known of a fleet, from our own output records; changes are judged by it.

Fed with the records of ``slo-budgets``, ``slo-alerts`` and ``change-impacts``, in any order between the
topics: of an SLO the newest budget counts, alerts and changes are known by their ids. So a worker that reads
them again after a restart knows what it knew before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Any

from stream.fleet.graph import Graph, merge
from stream.fleet.history import History
from stream.fleet.impact import Budget, Impact, slo_impacts, traffic_shares
from stream.fleet.judged import Judged
from stream.fleet.record import MAX_SLOS, change_of, impact_signal
from stream.model.deploy import ChangeEvent
from stream.model.objective import Objective
from stream.model.ruleset import Ruleset
from stream.wire.rfc3339 import parse_ms
from stream.wire.signal import TOPICS as SCHEMAS
from stream.wire.signal import Signal

TOPICS = ("slo-budgets", "slo-alerts", "change-impacts")
"""What a book reads."""
MAX_NAMESPACES = 1_000
"""Whose alerts and changes are remembered; what became of those of further ones is not known."""
_DAY_MS = 86_400_000
_TIME = "2026-11-23T05:00:10.000Z"


class Book:
    """The present budgets, and the history, of every namespace."""

    def __init__(self, rules: Ruleset) -> None:
        self.now_ms: int | None = None
        """``evaluated_at`` of the newest record: the book is as of then."""
        self._graphs: Mapping[str, Graph] = {}
        self._objectives: dict[tuple[str, str], Objective] = {}
        self._budgets: dict[str, dict[str, tuple[int, Budget]]] = {}
        """By namespace and SLO, with the time."""
        self._histories: dict[str, History] = {}
        self._judged = Judged()
        self._due: list[tuple[int, int, ChangeEvent]] = []
        """Heap of changes that wait for their time, in the order in which they were told."""
        self._told = 0
        self._forgot_ms = 0
        self.use(rules)

    def use(self, rules: Ruleset) -> None:
        """What the files say from now on."""
        self._graphs = merge(rules.graphs)
        self._objectives = {(o.namespace, o.name): o for o in rules.objectives}

    # records

    def read(self, signals: Iterable[Signal]) -> Iterator[Signal]:
        """Records as they are made, and the impacts of changes where their time is. None is looked at until a
        change was told."""
        for signal in signals:
            if self._told:
                yield from self.observe(signal.topic, signal.value)
            yield signal

    def observe(self, topic: str, record: Mapping[str, Any]) -> Iterator[Signal]:
        """Take a record in. Before one of a later tick, the changes that were due by then are judged."""
        if topic not in TOPICS or not _can_be_read(topic, record):
            return
        at_ms = parse_ms(record["evaluated_at"])
        if self.now_ms is not None and at_ms > self.now_ms:
            yield from self._judge_due(self.now_ms)
        self.now_ms = at_ms if self.now_ms is None else max(self.now_ms, at_ms)
        namespace = record["namespace"]
        if topic == "slo-budgets":
            self._take_budget(namespace, record, at_ms)
        elif topic == "slo-alerts":
            self._history(namespace).observe(record)
        else:
            event, left_pct = change_of(record)
            self._judged.add(event)
            self._history(namespace).remember(event, left_pct)
        self._forget()

    def _take_budget(self, namespace: str, record: Mapping[str, Any], at_ms: int) -> None:
        slo = record["slo"]
        objective = self._objectives.get((namespace, slo))
        known = self._budgets.get(namespace, {}).get(slo)
        if objective is None or (known is not None and known[0] > at_ms):
            return
        budget = Budget(
            slo,
            record["service"],
            record["remaining_pct"],
            record["total"],
            record["window_s"],
            objective.slices is not None,
            float(objective.freeze_below_pct or 0),
        )
        self._budgets.setdefault(namespace, {})[slo] = at_ms, budget

    def _history(self, namespace: str) -> History:
        if namespace not in self._histories and len(self._histories) >= MAX_NAMESPACES:
            return History()
        return self._histories.setdefault(namespace, History())

    def _forget(self) -> None:
        """Once a day."""
        assert self.now_ms is not None
        if self.now_ms - self._forgot_ms >= _DAY_MS:
            self._forgot_ms = self.now_ms
            for history in self._histories.values():
                history.forget(self.now_ms)

    # changes

    def expect(self, event: ChangeEvent) -> None:
        """Judge a change at the first tick at or after its time, with all that was decided up to then."""
        heappush(self._due, (event.at_ms, self._told, event))
        self._told += 1

    def finish(self) -> Iterator[Signal]:
        """After the last record: whatever still waits."""
        yield from self._judge_due(None)

    def _judge_due(self, until_ms: int | None) -> Iterator[Signal]:
        while self._due and (until_ms is None or self._due[0][0] <= until_ms):
            event = heappop(self._due)[2]
            if not self.holds(event):
                yield self.judge(event)

    def holds(self, event: ChangeEvent) -> bool:
        """Whether exactly this change was judged before."""
        return self._judged.holds(event)

    def judge(self, event: ChangeEvent) -> Signal:
        """The impact of a change as of now; it is part of the history from then on."""
        impact = self.impact(event)
        left_pct = {slo.slo: slo.remaining_pct for slo in impact.slos[:MAX_SLOS]}
        self._judged.add(event)
        self._history(event.namespace).remember(event, left_pct)
        return impact_signal(impact, event.at_ms if self.now_ms is None else self.now_ms)

    def impact(self, event: ChangeEvent) -> Impact:
        graph = self._graphs.get(event.namespace, Graph())
        budgets = [
            budget
            for slo, (_, budget) in self._budgets.get(event.namespace, {}).items()
            if (event.namespace, slo) in self._objectives
        ]
        affected = graph.affected(event.service, event.resource)
        names = {one.service for one in affected}
        history = self._history(event.namespace).similar(
            event,
            graph.reach,
            event.at_ms if self.now_ms is None else self.now_ms,
        )
        return Impact(
            event,
            affected,
            tuple(sorted(name for name in names if graph.is_critical(name))),
            len({*graph.services, *names, *(budget.service for budget in budgets)}),
            traffic_shares(budgets),
            graph.knows(event.service, event.resource),
            history,
            slo_impacts(affected, budgets, history),
        )


def _can_be_read(topic: str, record: Mapping[str, Any]) -> bool:
    """Whether it is a record of ours. Years past 9999, which bad clocks bring about, are written longer and
    cannot be read."""
    times = (record.get(name, _TIME) for name in ("evaluated_at", "at"))
    return record.get("schema") == SCHEMAS[topic].schema and all(len(time) == len(_TIME) for time in times)
