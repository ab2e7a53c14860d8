"""What happens in the shop: releases, what is wrong with them, how they end; and a hiccup not worth an alert.

- ``search`` has a canary whose tail is slow: a few of its requests take ten times as long. Its errors, its
  median and the service's SLOs stay well. The analysis says fail.
- ``payment`` rolls out step by step, without an analysis, and begins to fail: a case for alerts and budget.
- ``catalogue`` has a canary that is as good as the version before it. The analysis says pass.

Everything happens at a fixed time of the story except the ends of releases, which whoever listens to the
signals may bring forward (:meth:`Story.ended`). The story starts anew every :data:`PERIOD_S`, each time with
the next releases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stream.load.shop import CATALOGUE, NAMESPACE, PAYMENT, SEARCH, VERSIONS

LENGTH_S = 3600
"""What is worth watching."""
PERIOD_S = 6 * 3600
"""Until it happens again: by then the error budget of the last time has recovered."""

_HICCUP_S = (6 * 60, 7 * 60)
_AHEAD_MS = 30_000
"""A deploy tool tells of a start so long before the first request."""
_FINISHED_AFTER_MS = 120_000
"""From the promotion of a release to the end of its deployment."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of an endpoint's requests fails, and a part of them is slower."""

    service: str
    method: str
    route: str
    error_share: float
    slowdown: float
    slow_share: float = 1.0

    @property
    def endpoint(self) -> str:
        """``POST /v1/charges``."""
        return f"{self.method} {self.route}"

    def __str__(self) -> str:
        if self.error_share:
            return f"begins to fail on {self.endpoint}"
        return f"answers {self.slow_share * 100:g} % of {self.endpoint} {self.slowdown:g} times as slowly"


@dataclass(frozen=True, slots=True)
class Plan:
    """A release of one service, in seconds of the story; the fault holds for the new version only."""

    service: str
    stages: tuple[tuple[int, float], ...]
    """(from when on, share of the service's requests that the new version answers)."""
    by_hand_s: int
    """When somebody at last ends it, if no signal was listened to."""
    fault: Fault | None = None
    fault_s: int = 0
    route: str | None = None
    """The only one that the new version serves; None: it serves all."""
    verdict: str | None = None
    """What a canary analysis has to say of it; None: nobody analyses it."""

    @property
    def requests(self) -> str:
        """In words, those that the new version has a share of."""
        return "the requests" if self.route is None else f"the requests of {self.route}"

    @property
    def is_promoted(self) -> bool:
        """In the end; else it is taken back."""
        return self.fault is None


RELEASE_FAULT = Fault(PAYMENT, "POST", "/v1/charges", error_share=0.16, slowdown=8.0)
SLOW_TAIL = Fault(SEARCH, "GET", "/search", error_share=0.0, slowdown=10.0, slow_share=0.04)
HICCUP = Fault(CATALOGUE, "GET", "/products/{id}", error_share=0.03, slowdown=1.5)

_MIN = 60
PLANS = {
    plan.service: plan
    for plan in (
        Plan(
            SEARCH,
            stages=((1 * _MIN, 0.10),),
            by_hand_s=9 * _MIN + 30,
            fault=SLOW_TAIL,
            fault_s=1 * _MIN,
            route="/search",
            verdict="fail",
        ),
        Plan(
            PAYMENT,
            stages=((10 * _MIN, 0.05), (14 * _MIN, 0.25), (18 * _MIN, 0.50)),
            by_hand_s=36 * _MIN,
            fault=RELEASE_FAULT,
            fault_s=22 * _MIN,
        ),
        Plan(CATALOGUE, stages=((31 * _MIN, 0.50),), by_hand_s=58 * _MIN, verdict="pass"),
    )
}
"""By service, in the order of the story."""


@dataclass(frozen=True, slots=True)
class Release:
    """A service's release at one moment: ``version`` has ``share`` of the requests, ``serving`` the rest."""

    service: str
    route: str | None
    serving: str
    version: str
    share: float
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Scene:
    """What holds at one moment."""

    releases: tuple[Release, ...]
    has_hiccup: bool


@dataclass(frozen=True, slots=True)
class Story:
    """Times are epoch milliseconds; ``ends``: (service, turn, time) of signals that were listened to."""

    start_ms: int
    ends: tuple[tuple[str, int, int], ...] = ()

    def version(self, service: str, at_ms: int) -> str:
        """That is, was or will be rolled out in the turn of the story that holds at ``at_ms``."""
        return _bumped(service, self._turn(at_ms) + 1)

    def previous(self, service: str, at_ms: int) -> str:
        """What serves when that turn begins."""
        return _bumped(service, self._turn(at_ms) if PLANS[service].is_promoted else 0)

    def start_of(self, service: str, at_ms: int) -> int:
        """When the new version has its first requests, in the turn of ``at_ms``."""
        return self._turn_start_ms(at_ms) + PLANS[service].stages[0][0] * 1000

    def fault_ms(self, service: str, at_ms: int) -> int:
        """When the release starts to be faulty, in the turn of ``at_ms``."""
        return self._turn_start_ms(at_ms) + PLANS[service].fault_s * 1000

    def end_ms(self, service: str, at_ms: int) -> int:
        """From when on one version answers every request again, in the turn of ``at_ms``."""
        by_hand_ms = self._turn_start_ms(at_ms) + PLANS[service].by_hand_s * 1000
        mine = (service, self._turn(at_ms))
        return min([by_hand_ms, *(ms for name, turn, ms in self.ends if (name, turn) == mine)])

    def ended(self, service: str, at_ms: int) -> Story:
        """The same story, in which the service's release of that turn is ended at ``at_ms``, as planned."""
        return replace(self, ends=(*self.ends, (service, self._turn(at_ms), at_ms)))

    def chapters(self, from_ms: int, until_ms: int) -> list[tuple[int, str]]:
        """What the shop itself would tell of [from_ms, until_ms): (time, line), in order."""
        start_ms = self._turn_start_ms(until_ms)
        told = []
        for service, plan in PLANS.items():
            name = f"{service} {self.version(service, until_ms)}"
            told += [
                (start_ms + from_s * 1000, f"{name} now answers {share * 100:g} % of {plan.requests}")
                for from_s, share in plan.stages
            ]
            if plan.fault:
                told.append((self.fault_ms(service, until_ms), f"{name} {plan.fault}"))
            serves = self.previous(service, until_ms)
            ending = (
                "answers all requests"
                if plan.is_promoted
                else f"is taken back, {serves} answers all requests"
            )
            told.append((self.end_ms(service, until_ms), f"{name} {ending}"))
        found = [(ms, line) for ms, line in told if from_ms <= ms < until_ms]
        return sorted(found, key=lambda one: one[0])

    def deploys(self, from_ms: int, until_ms: int) -> list[dict[str, object]]:
        """Deploy events that the shop's deploy tool sends in [from_ms, until_ms), of analysed services."""
        told = []
        for service in (service for service, plan in PLANS.items() if plan.verdict):
            start_ms, end_ms = self.start_of(service, until_ms), self.end_ms(service, until_ms)
            percent = PLANS[service].stages[0][1] * 100
            told.append((start_ms - _AHEAD_MS, self._deploy(service, "started", start_ms, stage=percent)))
            if not PLANS[service].is_promoted:
                told.append((end_ms, self._deploy(service, "rolled_back", end_ms)))
                continue
            finished_ms = end_ms + _FINISHED_AFTER_MS
            told.append((end_ms, self._deploy(service, "promoted", end_ms)))
            told.append((finished_ms, self._deploy(service, "finished", finished_ms)))
        return [event for ms, event in sorted(told, key=lambda one: one[0]) if from_ms <= ms < until_ms]

    def _deploy(self, service: str, state: str, at_ms: int, **more: object) -> dict[str, object]:
        version = self.version(service, at_ms)
        return {
            "deployment": f"{service}-{version}-{self.start_of(service, at_ms) // 1000}",
            "namespace": NAMESPACE,
            "service": service,
            "state": state,
            **more,
            "version": version,
            "previous_version": self.previous(service, at_ms),
            "at": at_ms,
            "by": "shop-pipeline",
            "change_kind": "release",
        }

    def scene(self, at_ms: int) -> Scene:
        """What holds at ``at_ms``, which is not before the start."""
        assert at_ms >= self.start_ms, "the story has not begun"
        since_s = (at_ms - self._turn_start_ms(at_ms)) // 1000
        return Scene(
            releases=tuple(self._release(plan, since_s, at_ms) for plan in PLANS.values()),
            has_hiccup=_HICCUP_S[0] <= since_s < _HICCUP_S[1],
        )

    def _release(self, plan: Plan, since_s: int, at_ms: int) -> Release:
        serving, version = self.previous(plan.service, at_ms), self.version(plan.service, at_ms)
        share = max((share for from_s, share in plan.stages if since_s >= from_s), default=0.0)
        fault = plan.fault if since_s >= plan.fault_s else None
        if at_ms >= self.end_ms(plan.service, at_ms):
            serving, share, fault = version if plan.is_promoted else serving, 0.0, None
        return Release(plan.service, plan.route, serving, version, share, fault)

    def _turn(self, at_ms: int) -> int:
        return (at_ms - self.start_ms) // (PERIOD_S * 1000)

    def _turn_start_ms(self, at_ms: int) -> int:
        return self.start_ms + self._turn(at_ms) * PERIOD_S * 1000


def _bumped(service: str, by: int) -> str:
    """The version ``by`` minor releases after the one that the shop begins with."""
    major, minor, _ = VERSIONS[service].split(".")
    return f"{major}.{int(minor) + by}.0"
