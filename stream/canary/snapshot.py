"""Canary analyses as state records, and back (codecs: ``state.py``). Only what changed is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec.structs import astuple

from stream.canary.case import Case
from stream.canary.cohorts import Cohort, CohortBook, Service
from stream.canary.counts import Counts
from stream.canary.past import Past
from stream.canary.rollout import Rollout
from stream.canary.rollout_state import RolloutRecord
from stream.canary.shadow import Shadow, ShadowRecord
from stream.canary.state import (
    CohortRecord,
    CountsRecord,
    MarkRecord,
    SaidRecord,
    TrialRecord,
    counts_of,
    counts_record,
    mark_record,
    restore_mark,
    restore_said,
    said_record,
    trial_of,
    trial_record,
)
from stream.canary.trial import Mark
from stream.model.objective import PANE_S
from stream.wire.state import decode, encode, key, parse_key
from stream.wire.stored import Stored


class Book(Protocol):
    """What of a :class:`~stream.canary.book.CanaryBook` is kept."""

    cohorts: CohortBook
    cases: dict[Service, Case]
    shadows: dict[Service, Shadow]
    past: Past
    pending: dict[int, list[Counts]]


class StoredBook:
    """Knows what is stored. One for each book."""

    def __init__(self) -> None:
        self._cohorts: Stored[Cohort] = Stored("cohort", _encode_cohort)
        self._rollouts: Stored[RolloutRecord] = Stored("rollout", encode)
        self._trials: Stored[TrialRecord] = Stored("trial", encode)
        self._marks: Stored[tuple[int, Mark]] = Stored("trial-mark", _encode_mark)
        self._said: Stored[SaidRecord] = Stored("canary-said", encode)
        self._shadows: Stored[ShadowRecord] = Stored("shadow", encode)
        self._pending: Stored[CountsRecord] = Stored("cohort-pane", encode)
        self._past: set[tuple[int, int]] = set()
        """Places of parts of the past that are stored."""

    def changes(self, book: Book) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write, None to delete; afterwards they count as stored."""
        yield from self._cohorts.all(((number,), cohort) for number, cohort in book.cohorts.names.items())
        cases = book.cases.values()
        trials = [(c.analysis.identity, c.trial) for c in cases if c.trial is not None]
        yield from self._rollouts.all(((c.analysis.identity,), c.rollout.record()) for c in cases)
        yield from self._trials.all(((name,), trial_record(trial)) for name, trial in trials)
        yield from self._marks.all(((name,), (trial.serial, trial.mark)) for name, trial in trials)
        yield from self._said.all(((c.analysis.identity,), said_record(c)) for c in cases if c.told)
        yield from self._shadows.all(((s.comparison.identity,), s.state) for s in book.shadows.values())
        merged = ((pane, Counts.merge(several)) for pane, several in book.pending.items())
        yield from self._pending.all(((pane,), counts_record(counts)) for pane, counts in merged)
        for place, counts in book.past.changes():
            if counts is not None:
                self._past.add(place)
            elif place in self._past:
                self._past.discard(place)
            else:
                continue
            yield key("cohort-past", *place), None if counts is None else encode(counts_record(counts))

    def restore(self, book: Book, stored: Mapping[bytes, bytes], decided_s: int | None) -> None:
        """Fill an empty book. Raises ValueError on what cannot be read."""
        case_of = {case.analysis.identity: case for case in book.cases.values()}
        shadow_of = {shadow.comparison.identity: shadow for shadow in book.shadows.values()}
        for name, value in sorted(stored.items()):
            kind, place = parse_key(name)
            match kind:
                case "cohort":
                    self._cohorts.find(name, value)
                    cohort = decode(CohortRecord, value)
                    book.cohorts.restore(int(place[0]), Cohort(*astuple(cohort)))
                case "cohort-pane":
                    self._pending.find(name, value)
                    book.pending[int(place[0])] = [counts_of(decode(CountsRecord, value))]
                case "cohort-past":
                    where = int(place[0]), int(place[1])
                    self._past.add(where)
                    book.past.parts[where] = counts_of(decode(CountsRecord, value))
                case "rollout":
                    self._rollouts.find(name, value)
                    _restore_rollout(case_of.get(place[0]), decode(RolloutRecord, value))
                case "shadow":
                    self._shadows.find(name, value)
                    if place[0] in shadow_of:
                        shadow_of[place[0]].state = decode(ShadowRecord, value)
                case "canary-said":
                    self._said.find(name, value)
                    if place[0] in case_of:
                        restore_said(case_of[place[0]], decode(SaidRecord, value))
                case "trial":
                    self._trials.find(name, value)
                    _restore_trial(case_of.get(place[0]), decode(TrialRecord, value))
                case "trial-mark":
                    self._marks.find(name, value)
                    if place[0] in case_of and (trial := case_of[place[0]].trial) is not None:
                        restore_mark(trial, decode(MarkRecord, value))
        book.cohorts.settle()
        book.cohorts.heard(book.cohorts.names, 0 if decided_s is None else decided_s // PANE_S)


def _restore_rollout(case: Case | None, record: RolloutRecord) -> None:
    if case is not None:
        case.rollout = Rollout.of(case.analysis, record)


def _restore_trial(case: Case | None, record: TrialRecord) -> None:
    """A stage whose analysis looks at other metrics by now is judged anew, from here on."""
    if case is not None:
        case.trial = trial_of(record, case.analysis, case.measures)


def _encode_mark(mark: tuple[int, Mark]) -> bytes:
    return encode(mark_record(*mark))


def _encode_cohort(cohort: Cohort) -> bytes:
    parts = cohort.namespace, cohort.service, cohort.endpoint, cohort.version, cohort.track
    return encode(CohortRecord(*parts))
