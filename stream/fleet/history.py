"""What became of changes: alerts that began soon after them on services that they touch.

An **incident** of a change is every alert together that began within :data:`INCIDENT_WINDOW_S` after it on an
affected service. That one thing follows another does not prove a cause: of two changes in one half hour both
get the incident. **Similar** changes are the earlier ones of the same kind in the namespace; one counts once
its window is over, for until then nobody knows.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from statistics import median
from typing import Any

from stream.model.deploy import ChangeEvent
from stream.wire.rfc3339 import parse_ms

INCIDENT_WINDOW_S = 30 * 60
KEPT_S = 90 * 86_400
MAX_CHANGES = 1_000
"""Of a namespace. The oldest go, as of alerts, as soon as there are a tenth more."""
MAX_ALERTS = 10_000
PRIOR_CHANGES, PRIOR_INCIDENTS = 5, 0.5
"""What is assumed beside what is known: five changes, a tenth of which were incidents. Ours, not measured."""
PRIOR_BURN_PCT = 20.0
"""And one incident that spent a fifth of a budget."""
FEW = 20
"""Fewer similar changes than this say little."""
_Z = 1.959963984540054
"""Of 95 %, two-sided."""

AffectedBy = Callable[[str | None, str | None], Container[str]]
"""The services that a change to a service, or a resource, touches."""


Identity = tuple[str, str | None, str | None, str]
"""Of a change: ``ChangeEvent.identity``."""


@dataclass(slots=True)
class Alert:
    service: str
    slo: str
    starts_ms: int
    left_at_start_pct: float | None
    left_pct: float | None
    """Budget left when it was last heard of; None: there was no number."""
    ends_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it was when it was judged."""

    event: ChangeEvent
    left_pct: Mapping[str, float]
    """Budget left then, by SLO."""


@dataclass(frozen=True, slots=True)
class Incident:
    detect_s: float
    resolve_s: float | None
    """None while one of its alerts fires."""
    burn_pct: float
    """The most that an SLO's budget lost, from the change to the end of its last alert."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of similar changes."""

    changes: int = 0
    since_ms: int | None = None
    """When the first of them was."""
    incidents: tuple[Incident, ...] = ()

    @property
    def rate(self) -> float | None:
        return len(self.incidents) / self.changes if self.changes else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(len(self.incidents), self.changes) if self.changes else None

    @property
    def expected_rate(self) -> float:
        """The rate, drawn towards what is assumed: without history it is that."""
        return (len(self.incidents) + PRIOR_INCIDENTS) / (self.changes + PRIOR_CHANGES)

    @property
    def burn_pct(self) -> float:
        """Median of the incidents' burns and the assumed one."""
        return median([PRIOR_BURN_PCT, *(incident.burn_pct for incident in self.incidents)])

    @property
    def detect_s(self) -> float | None:
        return median(incident.detect_s for incident in self.incidents) if self.incidents else None

    @property
    def resolve_s(self) -> float | None:
        """Of those that are over."""
        times = [incident.resolve_s for incident in self.incidents if incident.resolve_s is not None]
        return median(times) if times else None

    @property
    def unresolved(self) -> int:
        return sum(incident.resolve_s is None for incident in self.incidents)


@dataclass(slots=True)
class History:
    """Changes and alerts of one namespace, whatever order they are read in."""

    changes: dict[Identity, Change] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    """By id."""
    _by_start: list[tuple[int, str]] | None = None
    """Starts of alerts, ascending, with ids; None when it has to be made anew."""

    def holds(self, event: ChangeEvent) -> bool:
        known = self.changes.get(event.identity)
        return known is not None and known.event == event

    def remember(self, event: ChangeEvent, left_pct: Mapping[str, float]) -> None:
        """A second event of one change replaces the first; a repeat changes nothing."""
        if self.holds(event):
            return
        self.changes[event.identity] = Change(event, left_pct)
        if len(self.changes) > 1.1 * MAX_CHANGES:
            newest = heapq.nlargest(MAX_CHANGES, self.changes.items(), key=lambda one: one[1].event.at_ms)
            self.changes = dict(newest)

    def observe(self, alert: Mapping[str, Any]) -> None:
        """A record of ``slo-alerts``."""
        named, ends_at, left_pct = alert["id"], alert["ends_at"], alert["budget_remaining_pct"]
        known = self.alerts.get(named)
        if known is None:
            starts_ms = parse_ms(alert["starts_at"])
            known = Alert(alert["service"], alert["slo"], starts_ms, left_pct, left_pct)
            self.alerts[named] = known
            self._by_start = None
        if ends_at is not None:
            known.ends_ms, known.left_pct = parse_ms(ends_at), left_pct
        elif known.ends_ms is not None:  # its end was read before its beginning
            known.left_at_start_pct = left_pct
        if len(self.alerts) > 1.1 * MAX_ALERTS:
            newest = heapq.nlargest(MAX_ALERTS, self.alerts.items(), key=lambda one: one[1].starts_ms)
            self.alerts, self._by_start = dict(newest), None

    def forget(self, now_ms: int) -> None:
        """Drop what is older than :data:`KEPT_S`."""
        oldest_ms = now_ms - KEPT_S * 1000
        for change in [named for named, one in self.changes.items() if one.event.at_ms < oldest_ms]:
            del self.changes[change]
        gone = [named for named, alert in self.alerts.items() if alert.starts_ms < oldest_ms]
        for named in gone:
            del self.alerts[named]
        if gone:
            self._by_start = None

    def similar(self, event: ChangeEvent, affected_by: AffectedBy, now_ms: int) -> Record:
        """What became of earlier changes of the event's kind, as of now."""
        settled_ms = min(now_ms - INCIDENT_WINDOW_S * 1000, event.at_ms - 1)
        found = [
            change
            for change in self.changes.values()
            if change.event.kind == event.kind
            and change.event.identity != event.identity
            and change.event.at_ms <= settled_ms
        ]
        if not found:
            return Record()
        found.sort(key=lambda change: (change.event.at_ms, *(part or "" for part in change.event.identity)))
        incidents = (self._incident(change, affected_by) for change in found)
        return Record(len(found), found[0].event.at_ms, tuple(incident for incident in incidents if incident))

    def _incident(self, change: Change, affected_by: AffectedBy) -> Incident | None:
        event = change.event
        began = self._began_after(event.at_ms)
        affected = affected_by(event.service, event.resource) if began else ()
        alerts = [alert for alert in began if alert.service in affected]
        if not alerts:
            return None
        first_ms = min(alert.starts_ms for alert in alerts)
        ends_ms = [alert.ends_ms for alert in alerts if alert.ends_ms is not None]
        return Incident(
            detect_s=(first_ms - event.at_ms) / 1000,
            resolve_s=(max(ends_ms) - first_ms) / 1000 if len(ends_ms) == len(alerts) else None,
            burn_pct=max(_burn_pct(change, alert) for alert in alerts),
        )

    def _began_after(self, at_ms: int) -> list[Alert]:
        """Alerts that began within the window after a time; one that began right then has other causes."""
        if self._by_start is None:
            self._by_start = sorted((alert.starts_ms, named) for named, alert in self.alerts.items())
        first = bisect_right(self._by_start, at_ms, key=itemgetter(0))
        last = bisect_right(self._by_start, at_ms + INCIDENT_WINDOW_S * 1000, key=itemgetter(0))
        return [self.alerts[named] for _, named in self._by_start[first:last]]


def _burn_pct(change: Change, alert: Alert) -> float:
    """What the budget lost since the change; since the alert began, if the budget was not known at the
    change. Nothing that is known, if there is no number at either end."""
    before_pct = change.left_pct.get(alert.slo, alert.left_at_start_pct)
    if before_pct is None or alert.left_pct is None:
        return 0.0
    return max(0.0, before_pct - alert.left_pct)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The score interval of a share, at 95 %: honest at few trials and at 0 %.

    >>> [round(end, 3) for end in wilson(0, 10)]
    [0.0, 0.278]
    """
    share, z2 = successes / trials, _Z * _Z
    centre = share + z2 / (2 * trials)
    spread = _Z * math.sqrt((share * (1 - share) + z2 / (4 * trials)) / trials)
    scale = 1 + z2 / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return low, high
