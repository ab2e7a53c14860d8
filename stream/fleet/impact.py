"""The judgement of one change: who is touched, what that puts at risk, and what to do about it.

The risk score is the sum of four parts, rounded:

    blast radius   30 · max(share of services, share of traffic)
    critical       20 if a critical service is affected, else 0
    history        25 · min(1, expected rate of incidents / 50 %)
    budget         25 · min(1, burn of an incident / budget left), the worst of the affected SLOs

The expected rate and the burn of an incident are those of :mod:`stream.fleet.history`: what similar changes
brought, drawn towards a stated assumption while there are few. An SLO's budget is **at risk** when one
incident of the usual size would bring it below its freeze threshold (without one, below 0).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stream.fleet.graph import Affected
from stream.fleet.history import FEW, Record
from stream.model.deploy import ChangeEvent
from stream.words import counted

BLAST_POINTS, CRITICAL_POINTS, HISTORY_POINTS, BUDGET_POINTS = 30, 20, 25, 25
FULL_RATE = 0.5
"""The expected rate of incidents from which on history gets all of its points."""


class Action(StrEnum):
    """In order of priority."""

    BLUE_GREEN = "blue-green"
    OFF_PEAK = "off-peak"
    MORE_TESTS = "more-tests"
    POSTPONE = "postpone"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the newest record of ``slo-budgets`` says of an SLO, and what its file says of it."""

    slo: str
    service: str
    remaining_pct: float | None
    """None while nothing is counted."""
    total: float
    window_s: int
    slices: bool = False
    """Whether ``total`` counts slices, and not requests."""
    freeze_below_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class SloImpact:
    slo: str
    service: str
    remaining_pct: float
    expected_burn_pct: float
    """Rate of incidents × burn of one."""
    incident_burn_pct: float
    at_risk: bool


@dataclass(frozen=True, slots=True)
class Recommendation:
    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Impact:
    event: ChangeEvent
    affected: tuple[Affected, ...]
    critical: tuple[str, ...]
    """Critical services among the affected."""
    of_services: int
    """How many services of the namespace are known."""
    traffic: Mapping[str, float]
    """Share of the namespace's requests, by service; without those whose requests are not known."""
    has_graph: bool
    """Whether the changed service or resource is in a graph."""
    history: Record
    slos: tuple[SloImpact, ...]
    """The least budget after an incident first."""

    @property
    def services_share(self) -> float:
        return len(self.affected) / self.of_services if self.of_services else 0.0

    @property
    def traffic_share(self) -> float | None:
        """Of the affected services together; None when no traffic is known."""
        if not self.traffic:
            return None
        return min(1.0, sum(self.traffic.get(one.service, 0.0) for one in self.affected))

    @property
    def parts(self) -> dict[str, float]:
        """Points of the risk score."""
        burn = max((_burn_of_left(slo) for slo in self.slos), default=0.0)
        return {
            "blast_radius": BLAST_POINTS * max(self.services_share, self.traffic_share or 0.0),
            "critical": float(CRITICAL_POINTS if self.critical else 0),
            "history": HISTORY_POINTS * min(1.0, self.history.expected_rate / FULL_RATE),
            "budget": BUDGET_POINTS * burn,
        }

    @property
    def risk_score(self) -> int:
        return round(sum(self.parts.values()))

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """By priority; none if there is no cause for any."""
        found = []
        affected, history = len(self.affected), self.history
        if 2 * affected > self.of_services:
            of = f"{affected:,} of {counted(self.of_services, 'service')}"
            reason = f"{of} are affected: have a fast way back"
            found.append(Recommendation(Action.BLUE_GREEN, reason))
        if self.critical:
            reason = f"critical: {_some(self.critical)}"
            found.append(Recommendation(Action.OFF_PEAK, reason))
        if 10 * len(history.incidents) > history.changes:
            reason = f"{_incidents(history)}{_few(history)}"
            found.append(Recommendation(Action.MORE_TESTS, reason))
        at_risk = [slo for slo in self.slos if slo.at_risk]
        if at_risk:
            reason = (
                f"unless it is urgent: an incident may spend {history.burn_pct:.1f} %, which is too much for "
                f"{_some([_left(slo) for slo in at_risk])}"
            )
            found.append(Recommendation(Action.POSTPONE, reason))
        return tuple(found)

    @property
    def reasons(self) -> list[str]:
        """The judgement in words, its numbers in them."""
        return [self._blast_in_words(), self._history_in_words(), self._budgets_in_words()]

    def _blast_in_words(self) -> str:
        share = self.traffic_share
        traffic = (
            "their requests are not known"
            if share is None
            else f"{_percent(share)} of the requests that SLOs count"
        )
        text = (
            f"{len(self.affected):,} of {counted(self.of_services, 'service')} affected "
            f"({_percent(self.services_share)}), {traffic}"
        )
        return text if self.has_graph else f"{text}; in no service graph: who else is affected is not known"

    def _history_in_words(self) -> str:
        history, kind = self.history, self.event.kind
        if not history.changes:
            return (
                f"no similar change ({kind}) is known: {_percent(history.expected_rate)} are assumed to fail"
            )
        times = "" if history.detect_s is None else f", found after {_seconds(history.detect_s)}"
        times += "" if history.resolve_s is None else f", over {_seconds(history.resolve_s)} later (medians)"
        return f"{_incidents(history)}{times}{_few(history)}"

    def _budgets_in_words(self) -> str:
        if not self.slos:
            return "no budget of an affected service is known"
        worst = self.slos[0]
        return (
            f"an incident may spend {worst.incident_burn_pct:.1f} % of a budget, and "
            f"{worst.expected_burn_pct:.1f} % are to be expected; the least has {_left(worst)}"
        )


def slo_impacts(
    affected: Iterable[Affected], budgets: Iterable[Budget], history: Record
) -> tuple[SloImpact, ...]:
    """What the change may cost each SLO of an affected service."""
    services = {one.service for one in affected}
    burn_pct = history.burn_pct
    found = [
        SloImpact(
            budget.slo,
            budget.service,
            budget.remaining_pct,
            history.expected_rate * burn_pct,
            burn_pct,
            budget.remaining_pct - burn_pct < budget.freeze_below_pct,
        )
        for budget in budgets
        if budget.service in services and budget.remaining_pct is not None
    ]
    return tuple(sorted(found, key=lambda slo: (slo.remaining_pct, slo.slo)))


def traffic_shares(budgets: Sequence[Budget]) -> dict[str, float]:
    """Each service's share of the requests, from the totals of its budgets.

    Totals are compared over the window that most services have, as those of windows which are not full yet
    cannot be converted; a service without it counts at the pace of its own window. Of several SLOs of a
    service the one with the most requests counts: it leaves out the least.
    """
    counting = [budget for budget in budgets if not budget.slices]
    holders = Counter(window_s for _, window_s in {(budget.service, budget.window_s) for budget in counting})
    if not holders:
        return {}
    common_s = min(holders, key=lambda window_s: (-holders[window_s], window_s))
    requests: dict[str, tuple[bool, float]] = {}
    for budget in counting:
        is_common = budget.window_s == common_s
        found = is_common, budget.total * common_s / budget.window_s
        requests[budget.service] = max(found, requests.get(budget.service, found))
    whole = sum(count for _, count in requests.values())
    return {service: count / whole for service, (_, count) in requests.items()} if whole else {}


def _burn_of_left(slo: SloImpact) -> float:
    return min(1.0, slo.incident_burn_pct / slo.remaining_pct) if slo.remaining_pct > 0 else 1.0


def _left(slo: SloImpact) -> str:
    return f"{slo.slo} ({slo.remaining_pct:.1f} % left)"


def _incidents(history: Record) -> str:
    assert history.rate is not None, "there were changes"
    low, high = history.interval or (0.0, 1.0)
    return (
        f"{len(history.incidents):,} of {counted(history.changes, 'similar change')} had an incident "
        f"({_percent(history.rate)}, 95 % interval {_percent(low)} to {_percent(high)})"
    )


def _few(history: Record) -> str:
    return f"; fewer than {FEW} say little" if history.changes < FEW else ""


def _seconds(length_s: float) -> str:
    return f"{length_s:,.0f} s" if length_s < 600 else f"{length_s / 60:,.0f} min"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _some(names: Sequence[str], most: int = 5) -> str:
    further = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + further
