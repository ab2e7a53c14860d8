"""The life of one analysis: which release is under way, in which stage, and what was said of it.

It begins with a deploy event, or by itself: when requests of the track ``canary`` appear, or those of a
version that was not there before. What arrives is applied at the first tick at or after its time; what
arrives later than that, at the next. No clock: event time is an argument.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from stream.canary.stage import Stage
from stream.canary.verdict import Verdict
from stream.model.analysis import Analysis, Baseline
from stream.model.deploy import DeployEvent, DeployState
from stream.model.objective import PANE_S
from stream.wire.state import Record

MAX_WAITING = 64
MAX_REMEMBERED = 64
MAX_FAULTS = 16
MAX_HISTORY = 32
MAX_VERSIONS = 32
SILENT_S = 600
"""A canary that is not heard of for so long is gone, and one that comes back is another."""
FULL = 100.0


class Phase(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    """The stage is; the next one is waited for."""
    FAILED = "failed"
    PAUSED = "paused"
    """The stage is over, and nothing could be said for certain."""
    ROLLED_BACK = "rolled_back"
    FINISHED = "finished"


class StageDone(Record, frozen=True):
    percent: float | None
    started_s: int
    seconds: int
    verdict: str
    """``superseded``: another stage or release began before there was one."""


class Heard(Record, frozen=True):
    """When a version was heard of on the track ``stable``."""

    first_s: int
    last_s: int


class RolloutRecord(Record, frozen=True):
    """All that is kept between two owners of a partition."""

    phase: str
    deployment: str | None
    automatic: str | None
    version: str | None
    previous_version: str | None
    stage: Stage | None
    serial: int
    history: list[StageDone]
    faults: list[str]
    waiting: list[tuple[str, int, str, str | None, str | None, str | None]]
    remembered: list[tuple[str, str, str | None, int]]
    heard: dict[str, Heard]
    canary_s: int | None
    last_at_ms: int


@dataclass(slots=True)
class Rollout:
    analysis: Analysis
    phase: Phase = Phase.WAITING
    deployment: str | None = None
    automatic: str | None = None
    """Why it began without a deploy event; None: with one."""
    version: str | None = None
    previous_version: str | None = None
    stage: Stage | None = None
    """The newest; judged while the phase is ``RUNNING``."""
    history: list[StageDone] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What was wrong with what came in, in words; the newest last."""
    canary_s: int | None = None
    """The last tick at which the track ``canary`` had requests."""
    _serial: int = 0
    _waiting: list[DeployEvent] = field(default_factory=list)
    _remembered: dict[tuple[str, str, str | None, int], None] = field(default_factory=dict)
    _heard: dict[str, Heard] = field(default_factory=dict)
    _sighted: list[tuple[str, str]] = field(default_factory=list)
    _last_at_ms: int = 0

    @property
    def running(self) -> Stage | None:
        """What is to be judged now."""
        return self.stage if self.phase is Phase.RUNNING else None

    def announce(self, event: DeployEvent) -> bool:
        """A deploy event of the service; False: a repeat, or one too many."""
        name = (event.deployment, event.state.value, _text(event.stage_pct), event.at_ms)
        if name in self._remembered:
            return False
        if len(self._waiting) >= MAX_WAITING:
            self._fault(f"more than {MAX_WAITING} deploy events wait for their time: {event.deployment}")
            return False
        self._remembered[name] = None
        if len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._waiting.append(event)
        return True

    def sight(self, track: str, version: str) -> None:
        """Requests of a version on a track, in the pane that the next tick ends."""
        self._sighted.append((track, version))

    def advance(self, tick_s: int) -> None:
        """Apply what is due, then what was sighted in the pane that ends here."""
        due = [event for event in self._waiting if event.at_ms <= tick_s * 1000]
        self._waiting = [event for event in self._waiting if event.at_ms > tick_s * 1000]
        for event in sorted(due, key=_order):
            self._apply(event, tick_s)
        sighted, self._sighted = self._sighted, []
        self._begin_by_itself(sighted, tick_s)
        self._hear(sighted, tick_s)
        self._end_by_itself(tick_s)

    # deploy events

    def _apply(self, event: DeployEvent, tick_s: int) -> None:
        if event.at_ms < self._last_at_ms and event.deployment == self.deployment:
            behind_s = (self._last_at_ms - event.at_ms) / 1000
            self._fault(
                f"{event.state.value} of {event.deployment} is dated {behind_s:g} s before what came "
                "before it: are its producers' clocks apart?"
            )
        self._last_at_ms = event.at_ms
        match event.state:
            case DeployState.STARTED | DeployState.STAGE:
                self._deploy(event, tick_s)
            case _ if event.deployment != self.deployment:
                self._fault(f"{event.state.value} of {event.deployment}, which is not under way")
            case DeployState.PROMOTED:
                self._begin_stage(FULL, tick_s)
            case DeployState.ROLLED_BACK:
                self._end(Phase.ROLLED_BACK, tick_s)
            case DeployState.FINISHED:
                self._end(Phase.FINISHED, tick_s)

    def _deploy(self, event: DeployEvent, tick_s: int) -> None:
        percent = float(self.analysis.stages_pct[0] if event.stage_pct is None else event.stage_pct)
        is_ours = self.deployment == event.deployment and self.phase not in _OVER
        if is_ours and event.state is DeployState.STARTED:
            self._fault(f"{event.deployment} was started twice")
            return
        if is_ours and self.stage is not None:
            if self.stage.percent is not None and percent < self.stage.percent:
                self._fault(
                    f"the stage of {event.deployment} went back from {self.stage.percent:g} % "
                    f"to {percent:g} %: it is judged anew"
                )
            self._begin_stage(percent, tick_s)
            return
        adopted = self._is_the_automatic(event)
        self.deployment, self.automatic = event.deployment, None
        self.previous_version = event.previous_version or self.previous_version
        if adopted:
            assert self.stage is not None
            self.stage = Stage(
                self.stage.serial, self._place(percent), percent, self.stage.since_s, *self._arms(percent)
            )
            return
        self._supersede(tick_s)
        self.history, self.version = [], event.version
        self.previous_version = event.previous_version or self._newest_but(event.version)
        self._check_versions(tick_s)
        self._begin_stage(percent, tick_s)

    def _is_the_automatic(self, event: DeployEvent) -> bool:
        """Whether the event tells of what began by itself a moment ago: its requests were quicker."""
        if self.automatic is None or self.phase is not Phase.RUNNING or self.stage is None:
            return False
        is_new = not self.history and event.at_ms // 1000 >= self.stage.since_s - SILENT_S
        return is_new and event.version in (None, self.version)

    def _check_versions(self, tick_s: int) -> None:
        """A version that serves on ``stable`` already cannot tell canary and baseline apart."""
        heard = self._heard.get(self.version or "")
        served = heard is not None and heard.first_s + SILENT_S < tick_s and heard.last_s + SILENT_S > tick_s
        if self.version is not None and (self.version == self.previous_version or served):
            self._fault(
                f"canary and baseline both have version {self.version}: they go by their tracks alone"
            )
            self.version, self.previous_version = None, self.version

    # stages

    def _begin_stage(self, percent: float | None, since_s: int) -> None:
        self._supersede(since_s)
        self._serial += 1
        self.stage = Stage(self._serial, self._place(percent), percent, since_s, *self._arms(percent))
        self.phase = Phase.RUNNING

    def _place(self, percent: float | None) -> int:
        stages = [float(pct) for pct in self.analysis.stages_pct]
        reached = [i for i, pct in enumerate(stages) if percent is None or pct >= percent]
        return reached[0] if reached else len(stages) - 1

    def _arms(self, percent: float | None) -> tuple[str | None, tuple[str, ...]]:
        """At 100 % nothing serves beside the new version."""
        full = percent is not None and percent >= FULL and self.version is not None
        kinds = [b for b in self.analysis.baselines if not full or b is Baseline.BEFORE]
        return self.version, tuple(kind.value for kind in kinds)

    def conclude(self, verdict: Verdict, tick_s: int) -> None:
        """The judge's last word on the stage."""
        self._finish_stage(verdict.value, tick_s)
        self.phase = {Verdict.PASS: Phase.PASSED, Verdict.FAIL: Phase.FAILED}.get(verdict, Phase.PAUSED)
        if self.phase is Phase.PASSED and self.stage is not None and self.stage.percent == FULL:
            self.phase = Phase.FINISHED

    def _supersede(self, tick_s: int) -> None:
        if self.phase is Phase.RUNNING:
            self._finish_stage("superseded", tick_s)

    def _finish_stage(self, verdict: str, tick_s: int) -> None:
        assert self.stage is not None
        seconds = max(0, tick_s - self.stage.since_s)
        done = StageDone(self.stage.percent, self.stage.since_s, seconds, verdict)
        self.history = [*self.history, done][-MAX_HISTORY:]

    def _end(self, phase: Phase, tick_s: int) -> None:
        self._supersede(tick_s)
        self.phase = phase

    # without deploy events

    def _begin_by_itself(self, sighted: list[tuple[str, str]], tick_s: int) -> None:
        if self.phase is Phase.RUNNING or (self.deployment is not None and self.phase not in _OVER):
            return
        gone = self.canary_s is None or tick_s - self.canary_s > SILENT_S
        canaries = sorted(version for track, version in sighted if track == "canary")
        if canaries and gone:
            self._begin_automatic(canaries[-1] or None, "requests of the track canary appeared", tick_s)
            return
        served = [v for v, heard in self._heard.items() if tick_s - heard.last_s <= SILENT_S]
        for track, version in sorted(sighted):
            if track == "stable" and version and served and self._is_new(version, tick_s):
                self._begin_automatic(version, f"version {version} appeared", tick_s)
                return

    def _is_new(self, version: str, tick_s: int) -> bool:
        heard = self._heard.get(version)
        return heard is None or tick_s - heard.last_s > max(self.analysis.longest_s, SILENT_S)

    def _begin_automatic(self, version: str | None, why: str, tick_s: int) -> None:
        self.deployment, self.automatic, self.history = self._automatic_id(tick_s), why, []
        self.version, self.previous_version = version, self._newest_but(version)
        self._check_versions(tick_s)
        self._begin_stage(None, tick_s - PANE_S)

    def _automatic_id(self, tick_s: int) -> str:
        text = f"{self.analysis.identity}\0{tick_s}"
        return "auto-" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def _newest_but(self, version: str | None) -> str | None:
        """The version that was heard of last, and of those the one that came last."""
        others = [(h.last_s, h.first_s, v) for v, h in self._heard.items() if v and v != version]
        return max(others)[2] if others else None

    def _hear(self, sighted: list[tuple[str, str]], tick_s: int) -> None:
        for track, version in sighted:
            if track == "canary":
                self.canary_s = tick_s
            if track == "stable" and version:
                known = self._heard.get(version)
                self._heard[version] = Heard(tick_s if known is None else known.first_s, tick_s)
        while len(self._heard) > MAX_VERSIONS:
            del self._heard[min(self._heard, key=lambda v: (self._heard[v].last_s, v))]

    def _end_by_itself(self, tick_s: int) -> None:
        """A release that nobody announced is over when its requests are."""
        if self.automatic is None or self.phase in _OVER or self.phase is Phase.WAITING:
            return
        heard = [h.last_s for v, h in self._heard.items() if v == self.version]
        last_s = max([*heard, *([] if self.canary_s is None else [self.canary_s])], default=0)
        if tick_s - last_s > min(SILENT_S, max(self.analysis.longest_s, PANE_S)):
            self._end(Phase.FINISHED, tick_s)

    def _fault(self, text: str) -> None:
        self.faults = [*(fault for fault in self.faults if fault != text), text][-MAX_FAULTS:]

    # state

    def record(self) -> RolloutRecord:
        return RolloutRecord(
            self.phase.value,
            self.deployment,
            self.automatic,
            self.version,
            self.previous_version,
            self.stage,
            self._serial,
            list(self.history),
            list(self.faults),
            [_packed(event) for event in self._waiting],
            list(self._remembered),
            dict(self._heard),
            self.canary_s,
            self._last_at_ms,
        )

    @classmethod
    def of(cls, analysis: Analysis, record: RolloutRecord) -> Rollout:
        return cls(
            analysis,
            Phase(record.phase),
            record.deployment,
            record.automatic,
            record.version,
            record.previous_version,
            record.stage,
            list(record.history),
            list(record.faults),
            record.canary_s,
            record.serial,
            [_unpacked(analysis, *packed) for packed in record.waiting],
            dict.fromkeys(record.remembered),
            dict(record.heard),
            [],
            record.last_at_ms,
        )


_OVER = (Phase.ROLLED_BACK, Phase.FINISHED)
_RANK = {state: rank for rank, state in enumerate(DeployState)}


def _order(event: DeployEvent) -> tuple[int, int, float, str]:
    return event.at_ms, _RANK[event.state], float(event.stage_pct or 0), event.deployment


def _text(percent: Decimal | None) -> str | None:
    return None if percent is None else str(percent.normalize())


def _packed(event: DeployEvent) -> tuple[str, int, str, str | None, str | None, str | None]:
    """What of an event is needed when its time has come."""
    state, percent = event.state.value, _text(event.stage_pct)
    return event.deployment, event.at_ms, state, percent, event.version, event.previous_version


def _unpacked(
    analysis: Analysis,
    deployment: str,
    at_ms: int,
    state: str,
    percent: str | None,
    version: str | None,
    previous: str | None,
) -> DeployEvent:
    return DeployEvent(
        deployment,
        analysis.namespace,
        analysis.service,
        DeployState(state),
        at_ms,
        version,
        previous,
        None if percent is None else Decimal(percent),
    )
