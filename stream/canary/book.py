"""Canary analyses of one shard: partials in, decisions at ticks, records out. No clock, no I/O.

Implements what ``slo/extension.py`` asks for. The state as of a tick T holds every event before T that had
arrived; what comes later for a pane is counted with the next tick's, so that every request counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from stream.canary import records
from stream.canary.absorb import absorb, effective, efficiency
from stream.canary.case import Case
from stream.canary.cohorts import Cohort, CohortBook, Service
from stream.canary.counts import CELL_BAD, CELL_EVENTS, PANE_BITS, Counts
from stream.canary.decided import Decided
from stream.canary.detail import measure
from stream.canary.look import Stands, look, settle, share_of
from stream.canary.methods import judge
from stream.canary.past import Past
from stream.canary.points import end_minute
from stream.canary.rollout import Rollout
from stream.canary.rollout_state import Phase
from stream.canary.sequential import Measured, Progress
from stream.canary.shadow import Shadow
from stream.canary.sightings import SILENT_S
from stream.canary.snapshot import StoredBook
from stream.canary.trial import BASELINE, CANARY, Measures, Pane, ServiceSlo, Trial
from stream.canary.verdict import Judgement, Recommendation, Verdict
from stream.model.analysis import ERROR_COLUMN, Analysis, Baseline, Method
from stream.model.comparison import Comparison
from stream.model.deploy import DeployEvent
from stream.model.objective import PANE_S
from stream.wire.cohorts import Cohorts
from stream.wire.signal import Signal

HOUR_S, MINUTE_S = 3600, 60
IsCondemned = Callable[[Service, str], bool]
"""Whether a version of a service was taken back (contract, section 4)."""


class CanaryBook:
    """All analyses of a shard."""

    def __init__(
        self,
        analyses: Sequence[Analysis],
        slos: Mapping[Service, Sequence[ServiceSlo]],
        comparisons: Sequence[Comparison] = (),
    ) -> None:
        """``slos``: of the analysed and compared services."""
        columns = dict.fromkeys([ERROR_COLUMN, *(slo.column for of in slos.values() for slo in of)])
        self.cohorts = CohortBook(list(columns))
        column_of = {name: i for i, name in enumerate(columns)}
        self.cases: dict[Service, Case] = {}
        for one in sorted(analyses, key=lambda a: a.service_key):
            service = one.namespace, one.service
            measures = Measures.of(one, slos.get(service, ()), column_of)
            self.cases[service] = Case(one, measures, Rollout(one))
        self.shadows: dict[Service, Shadow] = {}
        self._mismatch: dict[Service, int] = {}
        """The column that tells a mismatch."""
        for compared in sorted(comparisons, key=lambda c: c.service_key):
            service = compared.namespace, compared.service
            self.shadows[service] = Shadow(compared)
            of_slo = {slo.name: slo.column for slo in slos.get(service, ())}
            self._mismatch[service] = column_of[of_slo[compared.slo] if compared.slo else ERROR_COLUMN]
        self.past = Past()
        self.pending: dict[tuple[int, int], list[Counts]] = {}
        """By the pane with which it is decided and its own, which is an earlier one if it came late."""
        self.open: dict[int, Counts] = {}
        """By source: what its open chunk amounts to so far; all of it is counted."""
        self._numbers_of: dict[int, dict[bytes, int]] = {}
        """By source: which numbers the series of its open chunk have, for as long as it grows."""
        self._stored = StoredBook()
        self._keeps_past = {
            service for service, case in self.cases.items() if Baseline.BEFORE in case.analysis.baselines
        }

    # counting

    def observe(
        self,
        source: int,
        cohorts: Cohorts | None,
        grown: bool,
        final: bool,
        kept: range,
        decided_s: int | None,
    ) -> None:
        old = self.open.pop(source, None) if grown else None
        numbers = self._numbers_of.pop(source, {}) if grown else {}
        new = self._read(cohorts, numbers)
        if not final:
            self.open[source], self._numbers_of[source] = new, numbers
        else:
            self.open.pop(source, None)
            self._numbers_of.pop(source, None)
        more = new if old is None else new.minus(old)
        next_pane = 0 if decided_s is None else decided_s // PANE_S
        for pane, counts in more.within(kept).by_pane():
            self.pending.setdefault((max(pane, next_pane), pane), []).append(counts)

    def reopen(self, source: int, cohorts: Cohorts | None) -> None:
        numbers: dict[bytes, int] = {}
        self.open[source], self._numbers_of[source] = self._read(cohorts, numbers), numbers

    def _read(self, cohorts: Cohorts | None, numbers: dict[bytes, int]) -> Counts:
        return Counts.empty() if cohorts is None else self.cohorts.read(cohorts, numbers)

    def announce(self, event: DeployEvent) -> bool:
        """A deploy event; False: a repeat, or of a service that is not analysed."""
        case = self.cases.get((event.namespace, event.service))
        return case is not None and case.rollout.announce(event)

    def version_of(self, service: Service, deployment: str) -> str | None:
        case = self.cases.get(service)
        return case.rollout.version if case is not None and case.rollout.deployment == deployment else None

    # state

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """State records that differ from those stored; None: to be deleted."""
        return self._stored.changes(self)

    def restore(self, stored: Mapping[bytes, bytes], decided_s: int | None) -> None:
        """Raises ValueError on what cannot be read."""
        self._stored.restore(self, stored, decided_s)

    # deciding

    @property
    def is_busy(self) -> bool:
        return bool(self.cases or self.shadows)

    def at(self, tick_s: int, frozen: Collection[Service], is_condemned: IsCondemned) -> Iterator[Signal]:
        pane = tick_s // PANE_S - 1
        due = sorted(places for places in self.pending if places[0] <= pane)
        parts = [(places[1], one) for places in due for one in self.pending.pop(places)]
        decided = Decided(parts, self.cohorts.names)
        counts, of_service = decided.counts, decided.of_service
        self.cohorts.heard(counts.keys.tolist(), pane)
        lately = decided.since(tick_s - SILENT_S).of_service
        for service, case in self.cases.items():
            for _, cohort in lately.get(service, ()):
                case.rollout.sight(cohort.track, cohort.version)
            case.rollout.advance(tick_s)
            self._follow(case)
        self._absorb(decided, pane)
        self._count_shadows(counts, of_service)
        yield from self._decide(tick_s, frozen, is_condemned)
        for service, shadow in self.shadows.items():
            yield from shadow.at(tick_s, service in frozen)
        self._remember(counts, pane)
        if tick_s % HOUR_S == 0:
            held = {key for one in self.open.values() for key in (one.keys >> PANE_BITS).tolist()}
            held |= {key for several in self.pending.values() for one in several for key in one.keys.tolist()}
            self.cohorts.forget(tick_s, held | self.past.cohorts())

    def _count_shadows(self, counts: Counts, of_service: Mapping[Service, list[tuple[int, Cohort]]]) -> None:
        """Requests of the track ``shadow``: how many, and how many of them differ."""
        for service, shadow in self.shadows.items():
            for place, cohort in of_service.get(service, ()):
                if cohort.track != "shadow":
                    continue
                cells = counts.cells_of(place, self._mismatch[service])
                n, bad = effective(cells, efficiency(counts.sums[place]))
                if cells[CELL_EVENTS]:
                    requests, mismatches = int(cells[CELL_EVENTS]), int(cells[CELL_BAD])
                    shadow.count(cohort.version, requests, mismatches, float(n), float(bad))

    def _follow(self, case: Case) -> None:
        """Have a trial for the stage under way, and none otherwise."""
        stage = case.rollout.running
        if stage is None:
            case.trial = None
        elif case.trial is None or case.trial.serial != stage.serial:
            case.trial = Trial(case.analysis, case.measures, serial=stage.serial)
            case.said = None
        if stage is not None and case.trial is not None:
            case.trial.stage, case.trial.percent = stage.place, stage.percent
            case.trial.alpha_share = stage.alpha_share

    def _absorb(self, decided: Decided, pane: int) -> None:
        trials: list[Trial] = []
        panes: list[Pane] = []
        for service, case in self.cases.items():
            stage, trial = case.rollout.running, case.trial
            if stage is None or trial is None or pane * PANE_S < stage.since_s:
                continue
            counts_from_s = stage.counts_from_s(case.analysis.warmup_s)
            warms_up = counts_from_s is None or pane * PANE_S < counts_from_s
            # What is older came late, and is no part of what is judged.
            part = decided.since(stage.since_s if counts_from_s is None or warms_up else counts_from_s)
            counts, present = part.counts, part.of_service.get(service, [])
            self._note_baselines(case, present)
            if warms_up:
                self._leave_out(case, counts, present)
                continue
            if trial.baseline is None and not self._choose(case, pane):
                self._leave_out(case, counts, present)
                continue
            arms = self._arms(case, present)
            mine = np.array([place for place, *_ in arms], np.int64)
            trials.append(trial)
            panes.append(
                trial.pane(counts.take(mine), [arm for _, arm, _ in arms], [where for *_, where in arms])
            )
        absorb(trials, panes)

    def _arms(self, case: Case, present: Sequence[tuple[int, Cohort]]) -> list[tuple[int, int, str]]:
        """(place, arm, endpoint) of the cohorts that are in an arm."""
        stage, trial, found = case.rollout.running, case.trial, []
        assert stage is not None
        assert trial is not None
        for place, cohort in present:
            if stage.is_canary(cohort):
                found.append((place, CANARY, cohort.endpoint))
            elif trial.baseline not in (None, Baseline.BEFORE) and stage.is_baseline(cohort, trial.baseline):
                found.append((place, BASELINE, cohort.endpoint))
        return found

    def _note_baselines(self, case: Case, present: Sequence[tuple[int, Cohort]]) -> None:
        stage, trial = case.rollout.running, case.trial
        assert stage is not None
        assert trial is not None
        for kind in (Baseline(name) for name in stage.baselines):
            if kind is not Baseline.BEFORE and any(stage.is_baseline(c, kind) for _, c in present):
                trial.seen.add(kind)

    def _leave_out(self, case: Case, counts: Counts, present: Sequence[tuple[int, Cohort]]) -> None:
        """Warm-up, or nothing to compare with yet."""
        stage, trial = case.rollout.running, case.trial
        assert stage is not None
        assert trial is not None
        for place, cohort in present:
            events = int(counts.sums[place, 0])
            if stage.is_canary(cohort):
                trial.warmup[CANARY] += events
            elif any(stage.is_baseline(cohort, kind) for kind in trial.seen):
                trial.warmup[BASELINE] += events

    def _choose(self, case: Case, pane: int) -> bool:
        """The first baseline that there is; False: none yet."""
        stage, trial = case.rollout.running, case.trial
        assert stage is not None
        assert trial is not None
        for kind in (Baseline(name) for name in stage.baselines):
            if kind in trial.seen:
                trial.baseline = kind
                return True
            if kind is Baseline.BEFORE and self._take_past(case, trial):
                return True
        return False

    def _take_past(self, case: Case, trial: Trial) -> bool:
        """Compare with the service's own time before the stage, if there was any."""
        stage = case.rollout.running
        assert stage is not None
        before = self.past.before(stage.since_s // PANE_S)
        service = case.analysis.namespace, case.analysis.service
        names = [self.cohorts.names.get(number) for number in before.keys.tolist()]
        mine = [
            (place, cohort.endpoint)
            for place, cohort in enumerate(names)
            if cohort is not None and cohort.of == service and stage.is_baseline(cohort, Baseline.BEFORE)
        ]
        if not mine:
            return False
        trial.baseline = Baseline.BEFORE
        part = before.take(np.array([place for place, _ in mine], np.int64))
        absorb([trial], [trial.pane(part, [BASELINE] * len(mine), [endpoint for _, endpoint in mine])])
        trial.panes = 0
        trial.set_mark(())
        return True

    def _remember(self, counts: Counts, pane: int) -> None:
        """What later releases may be compared with: requests of the track ``stable``."""
        names = self.cohorts.names
        mine = [
            names[number].track == "stable" and names[number].of in self._keeps_past
            for number in counts.keys.tolist()
        ]
        self.past.add(pane, counts.select(np.array(mine, np.bool_)) if mine else counts)

    def _decide(
        self, tick_s: int, frozen: Collection[Service], is_condemned: IsCondemned
    ) -> Iterator[Signal]:
        cases = [case for case in self.cases.values() if case.trial is not None]
        for case in cases:
            assert case.trial is not None
            settle(case.trial)
            if tick_s % MINUTE_S == 0 and case.trial.panes:
                end_minute(case.trial)
        looked = [c.trial for c in cases if c.trial is not None and _is_tested(c.trial)]
        stands = dict(zip(map(id, looked), look(looked), strict=True)) if looked else {}
        for trial in looked:
            trial.looks += 1
        due = [c for c in cases if c.trial is not None and _is_due(c, stands.get(id(c.trial)), tick_s)]
        asked = [c.trial for c in due if c.trial is not None and id(c.trial) in stands]
        measured = dict(zip(map(id, asked), measure(asked), strict=True))
        is_due = {id(case) for case in due}
        for service, case in self.cases.items():
            if id(case) in is_due:
                found = measured.get(id(case.trial), ())
                yield from self._judge(case, found, tick_s, service in frozen, is_condemned)
            yield from self._tell(case, tick_s, service in frozen)

    def _judge(
        self,
        case: Case,
        measured: Sequence[Measured],
        tick_s: int,
        frozen: bool,
        is_condemned: IsCondemned,
    ) -> Iterator[Signal]:
        trial = case.trial
        assert trial is not None
        said = _heeding(judge(trial, _progress(case, tick_s), measured), frozen)
        case.said = said
        yield records.verdict(case.rollout, trial, said, tick_s)
        if said.final:
            case.rollout.conclude(said.verdict, tick_s)
            case.trial = None
            if said.verdict is Verdict.FAIL and case.analysis.rolls_back:
                yield records.rollback(case.rollout, said, _goes_back_to(case, is_condemned), tick_s)

    def _tell(self, case: Case, tick_s: int, frozen: bool) -> Iterator[Signal]:
        """The status, when something in it changed, and once a minute while a stage is judged."""
        rollout = case.rollout
        if rollout.phase is Phase.WAITING and not rollout.faults:
            return
        advice = None if case.said is None else _heeding(case.said, frozen).recommendation
        if not rollout.is_open:
            advice = None
        about = (rollout.phase, rollout.deployment, rollout.stage, rollout.faults, advice)
        now = hashlib.blake2b(repr(about).encode(), digest_size=8).hexdigest()
        each_minute = rollout.running is not None and tick_s % MINUTE_S == 0
        if now != case.told or each_minute:
            case.told = now
            yield records.status(rollout, case.said, advice, tick_s)


def _is_due(case: Case, stands: Stands | None, tick_s: int) -> bool:
    """Whether a trial is to be judged in detail: once a minute, and when it may be the last look."""
    progress = _progress(case, tick_s)
    may_end = (
        stands is not None
        and progress.enough
        and (stands.worse or (stands.within and progress.elapsed_s >= progress.shortest_s))
    )
    over = progress.elapsed_s >= progress.longest_s
    return over or may_end or (tick_s % MINUTE_S == 0 and progress.elapsed_s >= 0)


def _is_tested(trial: Trial) -> bool:
    """Whether the sequential tests have something to look at."""
    return (
        trial.analysis.method is Method.SEQUENTIAL and len(trial.weights.keys) > 0 and min(trial.requests) > 0
    ) and (bool(trial.measures.rates or trial.measures.latencies) or share_of(trial) is not None)


def _progress(case: Case, tick_s: int) -> Progress:
    stage, trial, analysis = case.rollout.stage, case.trial, case.analysis
    assert stage is not None
    assert trial is not None
    counts_from_s = stage.counts_from_s(analysis.warmup_s)
    return Progress(
        tick_s - (stage.since_s + analysis.warmup_s if counts_from_s is None else counts_from_s),
        analysis.shortest_s,
        analysis.longest_s,
        analysis.least_events,
        *trial.requests,
    )


def _goes_back_to(case: Case, is_condemned: IsCondemned) -> str | None:
    """What a failed canary makes way for: not what was taken back itself, unless somebody named it."""
    release, previous = case.rollout.release, case.rollout.previous_version
    if release is None or previous is None or release.previous_told:
        return previous
    service = case.analysis.namespace, case.analysis.service
    return None if is_condemned(service, previous) else previous


def _heeding(said: Judgement, frozen: bool) -> Judgement:
    """Nothing is promoted while the service's deployments are frozen."""
    if not frozen or said.recommendation is not Recommendation.PROMOTE:
        return said
    reason = f"{said.reason}; the service's deployments are frozen"
    return replace(said, recommendation=Recommendation.PAUSE, reason=reason)
