"""What the signals say, kept up to date: the model behind both views.

A board knows output records (contract, section 5) and nothing else; records may be applied in any order
across topics, in the order of ``evaluated_at`` within one key.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stream.console import canaries, text
from stream.model.names import identity, service_key
from stream.model.objective import PANE_S
from stream.words import printable

HISTORY = 60
"""Burn rates kept for a sparkline, one a minute of event time."""

_SHOWN_WINDOW_S = 60
_CONTRIBUTORS = 2
Record = Mapping[str, Any]


class Kind(StrEnum):
    """What can happen."""

    FIRING = "firing"
    RESOLVED = "resolved"
    FROZEN = "frozen"
    OPEN = "open"
    ROLLBACK = "rollback"
    TRIAL = "trial"
    FAILED = "failed"
    PASSED = "passed"
    PAUSED = "paused"
    NOTE = "note"
    """Told by the shop, not by a signal."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story, and what explains it."""

    at_ms: int
    kind: Kind
    text: str
    details: tuple[str, ...] = ()


@dataclass(slots=True)
class Objective:
    """One SLO as of its newest budget record."""

    namespace: str
    name: str
    service: str
    target_pct: float = 0.0
    evaluated_ms: int = 0
    total: int | float = 0
    bad: int | float = 0
    remaining_pct: float | None = None
    """None while nothing is counted."""
    burn: dict[str, float | None] = field(default_factory=dict)
    """By window as written in the SLO file."""
    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """Burn over the shortest alerting window, oldest first."""
    firing: dict[str, Record] = field(default_factory=dict)
    """Alert id → its record."""

    @property
    def least_left(self) -> float:
        """To sort by: what has no number comes last."""
        return math.inf if self.remaining_pct is None else self.remaining_pct

    def is_firing(self, window: str) -> bool:
        """Whether a rule over this window, as written in the SLO file, is firing."""
        whole_s = -(-_length_s(window) // PANE_S) * PANE_S
        return any(record["rule"]["window_s"] == whole_s for record in self.firing.values())

    @property
    def severity(self) -> str | None:
        """The severity to show: that of the firing alert with the shortest window."""
        alerts = sorted(self.firing.values(), key=lambda record: float(record["rule"]["window_s"]))
        return str(alerts[0]["severity"]) if alerts else None


@dataclass(slots=True)
class Service:
    """A service as a whole: its latency over the last minute, and whether it may be deployed."""

    name: str
    requests_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    frozen_since_ms: int | None = None
    rollback: Record | None = None
    rollout: Record | None = None
    """Newest status of its rollout."""

    @property
    def on_trial(self) -> str | None:
        """The version that a canary analysis judges now; empty if it has none."""
        is_judged = self.rollout is not None and self.rollout["state"] == "running"
        return (self.rollout["version"] or "") if self.rollout is not None and is_judged else None


class Board:
    """Everything that there is to show. ``apply`` takes in one record."""

    def __init__(self, objectives: int = 0) -> None:
        """``objectives``: so many are expected."""
        self._expected = objectives
        self.event_ms: int | None = None
        """As of when the signals speak."""
        self.objectives: dict[str, Objective] = {}
        self.services: dict[str, Service] = {}
        self.happenings: list[Happening] = []
        self.alerts: list[Record] = []
        """Every alert record, firing and resolved."""
        self.freezes: list[Record] = []
        self.rollbacks: list[Record] = []
        self.verdicts: list[Record] = []
        """The last words on canaries."""
        self.dead_letters: Counter[str] = Counter()
        self._appliers = {
            "slo-budgets": self._budget,
            "slo-alerts": self._alert,
            "deploy-freezes": self._freeze,
            "canary-verdicts": self._verdict,
            "rollout-status": self._rollout,
            "deploy-rollbacks": self._rollback,
            "latency-percentiles": self._percentiles,
            "dead-letters": self._dead_letter,
        }

    @property
    def decided_ms(self) -> int | None:
        """Up to when all objectives are decided; None before the first budget of each."""
        if len(self.objectives) < max(1, self._expected):
            return None
        return min(row.evaluated_ms for row in self.objectives.values())

    @property
    def on_trial(self) -> list[str]:
        """``search 3.2.0`` of each canary that is judged now."""
        rows = [(row.name, row.on_trial) for row in self.services.values()]
        return [f"{name} {version}".rstrip() for name, version in rows if version is not None]

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that a board takes records of."""
        return tuple(self._appliers)

    def apply(self, topic: str, record: Record) -> None:
        """Take in one record of ``topic``, named as in the contract."""
        record = _printable(record)
        self._appliers[topic](record)
        if topic != "dead-letters":
            evaluated_ms = text.epoch_ms(record["evaluated_at"])
            self.event_ms = max(evaluated_ms, self.event_ms or evaluated_ms)

    def note(self, at_ms: int, line: str) -> None:
        """Add a line that no signal told."""
        self._happen(Happening(at_ms, Kind.NOTE, line))

    def windows(self) -> list[str]:
        """The alerting windows of all objectives, shortest first."""
        found = {window: None for row in self.objectives.values() for window in row.burn}
        return sorted(found, key=_length_s)

    def _happen(self, happening: Happening) -> None:
        self.happenings.append(happening)

    def _objective(self, record: Record) -> Objective:
        namespace, name, service = record["namespace"], record["slo"], record["service"]
        key = identity(namespace, name)
        if key not in self.objectives:
            self.objectives[key] = Objective(namespace, name, service)
            self.objectives = dict(sorted(self.objectives.items()))
        self._service(record)
        return self.objectives[key]

    def _service(self, record: Record) -> Service:
        key = service_key(record["namespace"], record["service"])
        if key not in self.services:
            self.services[key] = Service(record["service"])
            self.services = dict(sorted(self.services.items()))
        return self.services[key]

    def _budget(self, record: Record) -> None:
        row = self._objective(record)
        row.target_pct = record["target_pct"]
        row.evaluated_ms = text.epoch_ms(record["evaluated_at"])
        row.total, row.bad = record["total"], record["bad"]
        row.remaining_pct = record["remaining_pct"]
        row.burn = dict(record["burn_rate"])
        if row.burn:
            row.history.append(row.burn[min(row.burn, key=_length_s)])

    def _alert(self, record: Record) -> None:
        row = self._objective(record)
        self.alerts.append(record)
        rule, rates = record["rule"], record["burn_rate"]
        at_ms = text.epoch_ms(record["evaluated_at"])
        long = text.window(rule["window_s"])
        threshold = f"{long} > {rule['burn_rate_threshold']:g}×"
        if record["state"] == "resolved":
            row.firing.pop(record["id"], None)
            lasted_s = (text.epoch_ms(record["ends_at"]) - text.epoch_ms(record["starts_at"])) / 1000
            line = f"{row.name} {threshold} after {text.duration(lasted_s)}"
            self._happen(Happening(at_ms, Kind.RESOLVED, line))
            return
        row.firing[record["id"]] = record
        burns = f"burning {text.burn(rates['long'])} over {long}"
        if rates["short"] is not None:
            burns += f" and {text.burn(rates['short'])} over {text.window(rule['short_window_s'])}"
        line = f"{row.name} {threshold} ({record['severity']}): {burns}"
        details = [
            _contributor(one) for one in record["contributors"][:_CONTRIBUTORS] if one["share"] >= 0.05
        ]
        if record["exhausts_at"] is not None:
            details.append(
                f"at this pace the budget is gone at {text.clock(text.epoch_ms(record['exhausts_at']))}"
            )
        self._happen(Happening(at_ms, Kind.FIRING, line, tuple(details)))

    def _freeze(self, record: Record) -> None:
        row = self._service(record)
        self.freezes.append(record)
        since_ms = text.epoch_ms(record["since"])
        if record["state"] == "open":
            row.frozen_since_ms = None
            self._happen(Happening(since_ms, Kind.OPEN, f"{row.name} may be deployed again"))
            return
        row.frozen_since_ms = since_ms
        details = tuple(
            f"{reason['slo']} has {text.percent(reason['budget_remaining_pct'])} of its budget left, "
            f"below {reason['threshold_pct']:g} %"
            for reason in record["reasons"]
        )
        self._happen(Happening(since_ms, Kind.FROZEN, f"{row.name} may not be deployed", details))

    def _rollback(self, record: Record) -> None:
        row = self._service(record)
        self.rollbacks.append(record)
        row.rollback = record
        version, previous = record["version"], record["previous_version"]
        what = "the latest release" if version is None else version
        line = f"{row.name}: take {what} back" + (f", to {previous}" if previous is not None else "")
        if record.get("cause") == "canary":
            detail = "its canary failed"
        else:
            detail = (
                f"{record['slo']} has {text.percent(record['budget_remaining_pct'])} of its budget left, "
                f"below {record['threshold_pct']:g} %"
            )
        self._happen(Happening(text.epoch_ms(record["evaluated_at"]), Kind.ROLLBACK, line, (detail,)))

    def _rollout(self, record: Record) -> None:
        row = self._service(record)
        before, row.rollout = row.rollout, record
        if record["state"] != "running" or (before is not None and _trial(before) == _trial(record)):
            return
        began_ms = text.epoch_ms(record["stage"]["started_at"])
        self._happen(Happening(began_ms, Kind.TRIAL, canaries.trial_line(record)))

    def _verdict(self, record: Record) -> None:
        self._service(record)
        if not record["final"]:
            return
        self.verdicts.append(record)
        kind = {"fail": Kind.FAILED, "pass": Kind.PASSED}.get(record["verdict"], Kind.PAUSED)
        at_ms, line = text.epoch_ms(record["evaluated_at"]), canaries.verdict_line(record)
        self._happen(Happening(at_ms, kind, line, tuple(canaries.verdict_details(record))))

    def _percentiles(self, record: Record) -> None:
        row = self._service(record)
        if record["endpoint"] is None and record["window_s"] == _SHOWN_WINDOW_S:
            row.requests_per_s = record["count"] / _SHOWN_WINDOW_S
            row.p50_ms, row.p95_ms, row.p99_ms = record["p50"], record["p95"], record["p99"]

    def _dead_letter(self, record: Record) -> None:
        self.dead_letters[record["error"]] += 1


def _printable(value: Any) -> Any:
    """A record whose names and texts may be shown as they are."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list) else value


def _trial(status: Record) -> tuple[object, ...]:
    """What tells one trial from another."""
    stage = status["stage"]
    return status["deployment"], status["state"], None if stage is None else stage["started_at"]


def _contributor(record: Record) -> str:
    request = " ".join(part for part in (record["method"], record["endpoint"]) if part) or "no endpoint"
    version = f", version {record['version']}" if record["version"] is not None else ""
    return f"{record['share'] * 100:.0f} % of the bad requests: {request}{version}, {record['track']}"


def _length_s(window: str) -> float:
    """Of a duration as written in an SLO file."""
    number = window.rstrip("mshdw")
    unit = window[len(number) :]
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[unit]
