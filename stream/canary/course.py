"""Where a rollout is: its release, the stage of it, and what was said of the stages before.

What brings it there is told in ``rollout.py``.
"""

from __future__ import annotations

from msgspec.structs import replace

from stream.canary.rollout_state import SUPERSEDED, Phase, Release, StageDone
from stream.canary.spending import share_of_stage
from stream.canary.stage import FULL, Stage
from stream.canary.verdict import Verdict
from stream.model.analysis import Analysis, Baseline

MAX_FAULTS = 16
MAX_HISTORY = 32
MAX_ENDED = 64
CLOSED = (Phase.ROLLED_BACK, Phase.FINISHED)


class Course:
    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.phase = Phase.WAITING
        self.release: Release | None = None
        self.stage: Stage | None = None
        """The newest."""
        self.history: list[StageDone] = []
        self.faults: list[str] = []
        """What was wrong with what came in, in words; the newest last."""
        self._is_judged = False
        self._serial = 0
        self._ended: list[str] = []
        """Deployments that another one took the place of."""

    @property
    def running(self) -> Stage | None:
        """What is to be judged now."""
        return None if self._is_judged or self.phase not in (Phase.RUNNING, Phase.PROMOTED) else self.stage

    @property
    def deployment(self) -> str | None:
        return None if self.release is None else self.release.deployment

    @property
    def automatic(self) -> str | None:
        """Why it began without a deploy event; None: with one."""
        return None if self.release is None else self.release.automatic

    @property
    def version(self) -> str | None:
        return None if self.release is None else self.release.version

    @property
    def previous_version(self) -> str | None:
        return None if self.release is None else self.release.previous_version

    @property
    def is_open(self) -> bool:
        return self.release is not None and self.phase not in CLOSED

    def progress_pct(self, tick_s: int) -> float:
        """Of the whole rollout: stages behind it, and what of its longest time this one has had."""
        if self.stage is None or self.phase is Phase.ROLLED_BACK:
            return 0.0
        if self.phase is Phase.FINISHED:
            was_seen_off = self.automatic is None or (
                self.history and self.history[-1].verdict == Verdict.PASS
            )
            return 100.0 if was_seen_off else 0.0
        longest_s = self.analysis.warmup_s + self.analysis.longest_s
        part = min(1.0, (tick_s - self.stage.since_s) / longest_s) if self.running else 1.0
        stages = len(self.analysis.stages_pct)
        behind = min(self.stage.place, stages - 1) + (
            part if self.phase in (Phase.RUNNING, Phase.PROMOTED) else 0.0
        )
        behind += 1.0 if self.phase is Phase.PASSED else 0.0
        return 100 * behind / stages

    def conclude(self, verdict: Verdict, tick_s: int) -> None:
        """The judge's last word on the stage that is running."""
        assert self.running is not None, "nothing is judged"
        self._leave_stage(verdict.value, tick_s)
        self._is_judged = True
        promoted = self.phase is Phase.PROMOTED
        match verdict:
            case Verdict.FAIL:
                self.phase = Phase.FAILED
            case Verdict.PASS:
                self.phase = Phase.FINISHED if promoted else Phase.PASSED
            case _:
                self.phase = Phase.PROMOTED if promoted else Phase.PAUSED

    def _close(self, phase: Phase, reason: str, tick_s: int) -> None:
        assert self.release is not None
        self._supersede(tick_s)
        self.phase, self.release = phase, replace(self.release, reason=reason)

    def _leave_release(self, tick_s: int) -> None:
        self._supersede(tick_s)
        self.history = []
        if self.deployment is not None and self.automatic is None:
            self._ended = [*self._ended, self.deployment][-MAX_ENDED:]

    def _first_percent(self) -> float | None:
        """None: the analysis has no stages, so nobody says how much a canary gets."""
        stages = self.analysis.stages_pct
        return None if len(stages) == 1 and stages[0] == FULL else float(stages[0])

    def _begin_stage(self, percent: float | None, since_s: int, phase: Phase = Phase.RUNNING) -> None:
        self._supersede(since_s)
        assert self.release is not None
        full = percent is not None and percent >= FULL
        if self.automatic is None:
            planned = [float(pct) for pct in self.analysis.stages_pct]
            spent, places = self.release.alpha_spent, self.release.places
            share, places = share_of_stage(planned, spent, places, percent)
        else:
            share, places = 1.0, ()  # it has no further stage that could be known of
        self.release = replace(
            self.release, alpha_spent=self.release.alpha_spent + share, places=places, baseline_s=None
        )
        self._serial += 1
        self._is_judged = False
        kinds = (kind for kind in self.analysis.baselines if not full or kind is Baseline.BEFORE)
        version = None if self.release.by_track else self.version
        place, baselines = self._place(percent), tuple(kind.value for kind in kinds)
        self.stage = Stage(self._serial, place, percent, since_s, version, baselines, share, full)
        self.phase = phase

    def _place(self, percent: float | None) -> int:
        stages = self.analysis.stages_pct
        return next((i for i, pct in enumerate(stages) if percent is None or pct >= percent), len(stages) - 1)

    def _supersede(self, tick_s: int) -> None:
        if self.running is not None:
            self._leave_stage(SUPERSEDED, tick_s)
            self._is_judged = True

    def _leave_stage(self, verdict: str, tick_s: int) -> None:
        assert self.stage is not None
        seconds = max(0, tick_s - self.stage.since_s)
        done = StageDone(self.stage.percent, self.stage.since_s, seconds, verdict)
        self.history = [*self.history, done][-MAX_HISTORY:]

    def _tell(self, fault: str) -> None:
        self.faults = [*(known for known in self.faults if known != fault), fault][-MAX_FAULTS:]
