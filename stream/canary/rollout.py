"""The life of one analysis: which release is under way, in which stage, and what was said of it.

It begins with a deploy event, or by itself: when requests of the track ``canary`` appear, or those of a
version that was not there before. What is told is applied at the first tick at or after its time; what is
told later than that, at the next. Nothing begins in the past: nobody has to go back for counts. No clock:
event time is an argument.

    waiting ── started / a canary or a version appears ──► running ──► passed │ failed │ paused
                                                              ▲               │
                                                              └──── stage ────┤
    promoted (compared with the past) ◄─────────── promoted ──────────────────┤
    rolled_back │ finished ◄── rolled_back, finished / an automatic one is silent ──┘
"""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from stream.canary.announcements import MAX_WAITING, Announcements
from stream.canary.course import CLOSED, Course
from stream.canary.rollout_state import Phase, Release, RolloutRecord
from stream.canary.sightings import SILENT_S, Sightings
from stream.canary.spending import share_of_stage
from stream.canary.stage import FULL
from stream.model.analysis import Analysis, Baseline
from stream.model.deploy import DeployEvent, DeployState
from stream.model.objective import PANE_S
from stream.wire.rfc3339 import format_ms

APART_MS = 60_000
"""By how much clocks of producers may differ before it is told."""


class Rollout(Course):
    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self._announcements = Announcements()
        self._sightings = Sightings(analysis)

    # what comes in

    def announce(self, event: DeployEvent) -> bool:
        """A deploy event of the service, in any order; False: a repeat."""
        return self._announcements.add(event)

    def sight(self, track: str, version: str) -> None:
        """Requests of a version (empty: they name none) on a track, in the pane that the next tick ends."""
        self._sightings.sight(track, version)

    def advance(self, tick_s: int) -> None:
        """Apply what is due, then what was sighted in the pane that ends here."""
        if self._announcements.overflowed:
            self._tell(f"more than {MAX_WAITING:,} deploy events wait for their time: the latest are dropped")
        for event in self._announcements.due(tick_s):
            self._apply(event, tick_s)
        self._begin_by_itself(tick_s)
        self._look(tick_s)
        self._sightings.settle(tick_s)
        self._note_silence(tick_s)

    # deploy events

    def _apply(self, event: DeployEvent, tick_s: int) -> None:
        self._sightings.know(event.version, tick_s)
        self._sightings.know(event.previous_version, tick_s)
        if event.deployment != self.deployment:
            self._of_another(event, tick_s)
            return
        assert self.release is not None
        if self.phase in CLOSED:
            if event.state in (DeployState.STARTED, DeployState.STAGE, DeployState.PROMOTED):
                self._tell(f"{_named(event)} comes after its end: ignored")
            return
        self._note_order(event)
        match event.state:
            case DeployState.STARTED:
                self._started_again(event)
            case DeployState.STAGE:
                self._next_stage(event, tick_s)
            case DeployState.PROMOTED:
                self._promote(event, tick_s)
            case DeployState.ROLLED_BACK:
                self._close(Phase.ROLLED_BACK, f"{event.deployment} was rolled back", tick_s)
            case DeployState.FINISHED:
                self._close(Phase.FINISHED, f"{event.deployment} is finished", tick_s)

    def _of_another(self, event: DeployEvent, tick_s: int) -> None:
        """Of a deployment that is not the one under way."""
        begins = event.state in (DeployState.STARTED, DeployState.STAGE)
        if self.release is not None and begins and event.at_ms < self._earliest_ms():
            self._tell(f"{_named(event)} is older than {self.deployment}: ignored")
        elif begins and event.deployment in self._ended:
            self._tell(f"{_named(event)} comes after its end: ignored")
        elif begins:
            if event.state is DeployState.STAGE:
                self._tell(f"{_named(event)}, whose start was not told")
            self._begin(event, tick_s)
        elif event.deployment not in self._ended:
            self._tell(f"{_named(event)}, which is not under way: ignored")

    def _earliest_ms(self) -> int:
        """What is older does not take the place of the release under way. An event may tell late of what
        began by itself."""
        assert self.release is not None
        late_ms = 0 if self.release.automatic is None else 1000 * self.analysis.longest_s
        return self.release.began_ms - late_ms

    def _note_order(self, event: DeployEvent) -> None:
        assert self.release is not None
        behind_ms = self.release.last_at_ms - event.at_ms
        if behind_ms > APART_MS:
            self._tell(
                f"{_named(event)} is dated {behind_ms / 1000:g} s before what came before it: "
                "are clocks apart?"
            )
        if event.version not in (None, self.release.version) and self.release.version is not None:
            self._tell(f"{_named(event)} names version {event.version}, not {self.release.version}: ignored")
        is_told = event.previous_version is not None and event.previous_version == self.previous_version
        self.release = replace(
            self.release,
            last_at_ms=max(self.release.last_at_ms, event.at_ms),
            previous_told=self.release.previous_told or is_told,
        )

    def _started_again(self, event: DeployEvent) -> None:
        """A second start; or the first, told after a stage."""
        assert self.release is not None
        if event.at_ms >= self.release.began_ms:
            self._tell(f"{_named(event)} for a second time: ignored")
            return
        version = self.release.version or event.version
        previous = event.previous_version or self.release.previous_version
        self.release = replace(
            self.release,
            began_ms=event.at_ms,
            version=version,
            previous_version=previous,
            previous_told=self.release.previous_told or event.previous_version is not None,
        )

    def _next_stage(self, event: DeployEvent, tick_s: int) -> None:
        assert event.stage_pct is not None, "the decoder refuses it"
        assert self.stage is not None
        assert self.release is not None
        percent, now = float(event.stage_pct), self.stage.percent
        if percent == now and self.running is not None:
            self._tell(f"{_named(event)} is at {percent:g} % already: ignored")
            return
        if now is not None and percent < now:
            self._tell(f"{_named(event)} goes back from {now:g} % to {percent:g} %: it is judged anew")
        self._begin_stage(percent, tick_s)
        self.release = replace(self.release, reason=f"{event.deployment} is at {percent:g} %")

    def _promote(self, event: DeployEvent, tick_s: int) -> None:
        """What a stage at 100 % has shown already is not asked again."""
        assert self.stage is not None
        assert self.release is not None
        self.release = replace(self.release, reason=f"{event.deployment} was promoted")
        if self.stage.full and self.phase is Phase.PASSED:
            self._close(Phase.FINISHED, self.release.reason, tick_s)
        elif self.stage.full and self.running is not None:
            self.phase = Phase.PROMOTED
        else:
            self._begin_stage(FULL, tick_s, Phase.PROMOTED)

    # beginnings and ends

    def _begin(self, event: DeployEvent, tick_s: int) -> None:
        told = None if event.stage_pct is None else float(event.stage_pct)
        if self._is_the_automatic(event) and told != FULL:
            self._adopt(event, told)
            return
        closed = f"; {self.deployment} is superseded" if self.is_open else ""
        self._leave_release(tick_s)
        previous = event.previous_version or self._sightings.newest_but(event.version)
        self.release = Release(
            *(event.deployment, None, event.at_ms, event.at_ms, event.version, previous),
            f"{event.deployment} was started{closed}",
            previous_told=event.previous_version is not None,
        )
        self._check_versions(tick_s)
        self._begin_stage(self._first_percent() if told is None else told, tick_s)

    def _is_the_automatic(self, event: DeployEvent) -> bool:
        """Whether the event tells of what began by itself a moment ago: its requests were quicker."""
        if self.automatic is None or self.running is None or self.release is None:
            return False
        is_near = event.at_ms >= self.release.began_ms - 1000 * SILENT_S
        return is_near and event.version in (None, self.version)

    def _adopt(self, event: DeployEvent, told: float | None) -> None:
        """What was counted so far is of the same stage."""
        assert self.release is not None
        assert self.stage is not None
        previous = event.previous_version or self.previous_version
        place, percent = 0, self._first_percent()
        if told is not None:
            place, percent = self._place(told), told
        share, places = share_of_stage([float(p) for p in self.analysis.stages_pct], 0.0, (), percent)
        self.stage = replace(self.stage, place=place, percent=percent, alpha_share=share)
        self.release = Release(
            *(event.deployment, None, event.at_ms, event.at_ms, self.version, previous),
            f"{event.deployment} was started; it had begun to be judged by itself",
            self.release.by_track,
            share,
            places,
            self.release.canary_s,
            self.release.baseline_s,
            event.previous_version is not None,
        )

    def _begin_by_itself(self, tick_s: int) -> None:
        sightings = self._sightings
        canaries = [version for version in sightings.on("canary") if version]
        new = [v for v in canaries if v != self.version and sightings.is_new(v, tick_s)]
        if self.is_open and self.automatic is None:
            unannounced = {*new, *(v for v in sightings.on("stable") if sightings.is_new(v, tick_s))}
            for version in sorted(unannounced - {self.version}):
                self._tell(f"version {version} appeared, which no deploy event told of")
            return
        is_free = not self.is_open or self.running is None
        if sightings.is_back(tick_s) and is_free:
            self._begin_automatic(canaries, "a canary track appeared", tick_s)
        elif new:
            self._begin_automatic(new, f"version {new[-1]} appeared on the track canary", tick_s)
        elif is_free or not sightings.on("canary"):
            new = [version for version in sightings.on("stable") if sightings.is_new(version, tick_s)]
            if new:
                self._begin_automatic(new, f"version {new[-1]} appeared", tick_s)

    def _begin_automatic(self, versions: list[str], why: str, tick_s: int) -> None:
        since_s = tick_s - PANE_S
        self._leave_release(tick_s)
        version = versions[-1] if versions else None
        text = f"{self.analysis.identity}\0{since_s}"
        self.release = Release(
            f"auto-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}",
            *(why, 1000 * since_s, 1000 * since_s, version, self._sightings.newest_but(version), why),
        )
        if len(versions) > 1:
            self._tell(f"versions {', '.join(versions)} appeared at once: they are judged together")
            self.release = replace(self.release, by_track=True)
        self._check_versions(tick_s)
        self._begin_stage(None, since_s)

    def _check_versions(self, tick_s: int) -> None:
        """A version that serves on ``stable`` already does not tell canary and baseline apart."""
        assert self.release is not None
        version = self.version
        if version is None:
            return
        if version == self.previous_version or self._sightings.serves(version, tick_s):
            self._tell(f"canary and baseline both have version {version}: they go by their tracks alone")
            self.release = replace(self.release, by_track=True)

    # what is sighted

    def _look(self, tick_s: int) -> None:
        """See whether the arms of the stage had requests in the pane that ends here."""
        stage, now = self.stage, self._sightings.now
        if stage is None or self.release is None or tick_s - PANE_S < stage.since_s:
            return
        if any(stage.takes(*which) for which in now):
            self.release = replace(self.release, canary_s=tick_s)
            if stage.first_s is None:
                self.stage = replace(stage, first_s=tick_s - PANE_S)
        else:
            self._doubt_version(tick_s)
        kinds = [Baseline(kind) for kind in stage.baselines if kind != Baseline.BEFORE]
        if any(stage.compares_with(*which, kind) for which in now for kind in kinds):
            self.release = replace(self.release, baseline_s=tick_s)

    def _doubt_version(self, tick_s: int) -> None:
        """A canary that has another version than was told, and after the warm-up still has: it is judged by
        its track. Nothing of it was counted before."""
        stage, others = self.running, self._sightings.on("canary")
        if stage is None or stage.version is None or stage.first_s is not None or not others:
            return
        if tick_s - stage.since_s < max(self.analysis.warmup_s, PANE_S):
            return
        assert self.release is not None
        self._tell(
            f"the track canary has version {', '.join(others)}, and not {stage.version} as was told: "
            "it is judged by its track"
        )
        self.release = replace(self.release, by_track=True, canary_s=tick_s)
        self._serial += 1
        self.stage = replace(stage, serial=self._serial, version=None, first_s=tick_s - PANE_S)

    def _note_silence(self, tick_s: int) -> None:
        """A release that nobody announced is over when its requests are; of another, it is told."""
        stage, release, silence_s = self.running, self.release, self._sightings.silence_s
        if release is None or self.stage is None or not self.is_open:
            return
        heard_s = max(release.canary_s or 0, self.stage.since_s)
        if release.automatic is not None:
            if tick_s - heard_s > silence_s:
                self._close(Phase.FINISHED, f"the canary was silent for {tick_s - heard_s} s", tick_s)
            return
        if stage is None:
            return
        if tick_s - heard_s > silence_s:
            self._tell(f"the canary has had no requests since {_at(heard_s)}")
        beside = [kind for kind in stage.baselines if kind != Baseline.BEFORE]
        served_s = max(release.baseline_s or 0, stage.since_s)
        if beside and tick_s - served_s > silence_s:
            self._tell(f"no baseline ({' or '.join(beside)}) has had requests since {_at(served_s)}")

    # state

    def record(self) -> RolloutRecord:
        waiting, applied, overflowed = self._announcements.packed()
        heard, sighted = self._sightings.packed()
        return RolloutRecord(
            phase=self.phase.value,
            release=self.release,
            stage=self.stage,
            is_judged=self._is_judged,
            serial=self._serial,
            history=list(self.history),
            faults=list(self.faults),
            ended=list(self._ended),
            waiting=waiting,
            applied=applied,
            overflowed=overflowed,
            heard=heard,
            sighted=sighted,
        )

    @classmethod
    def of(cls, analysis: Analysis, record: RolloutRecord) -> Rollout:
        """Raises ValueError on a state that rollouts have not."""
        found = cls(analysis)
        found.phase = Phase(record.phase)
        found.release, found.stage = record.release, record.stage
        found._is_judged, found._serial = record.is_judged, record.serial
        found.history, found.faults = list(record.history), list(record.faults)
        found._ended = list(record.ended)
        service = analysis.namespace, analysis.service
        waiting, applied = record.waiting, record.applied
        found._announcements = Announcements.of(service, waiting, applied, record.overflowed)
        found._sightings = Sightings.of(analysis, record.heard, record.sighted)
        return found


def _named(event: DeployEvent) -> str:
    return f"{event.state.value} of {event.deployment}"


def _at(time_s: int) -> str:
    return format_ms(1000 * time_s)
