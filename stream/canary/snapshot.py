"""Canary analyses as state records, and back (codecs: ``state.py``). Only what changed is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from stream.canary.case import Case
from stream.canary.cohorts import Cohort, CohortBook, Service
from stream.canary.counts import Counts
from stream.canary.past import Past
from stream.canary.rollout import Rollout
from stream.canary.rollout_state import RolloutRecord
from stream.canary.shadow import Shadow, ShadowRecord
from stream.canary.state import (
    CohortRecord,
    ColumnsRecord,
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
from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.names import plainly_joined
from stream.model.objective import PANE_S
from stream.wire.state import PLAIN_NAMES, decode, decode_shard, encode, key, parse_key
from stream.wire.stored import Stored


class Book(Protocol):
    """What of a :class:`~stream.canary.book.CanaryBook` is kept."""

    cohorts: CohortBook
    cases: dict[Service, Case]
    shadows: dict[Service, Shadow]
    past: Past
    pending: dict[tuple[int, int], list[Counts]]


class StoredBook:
    """Knows what is stored. One for each book."""

    def __init__(self) -> None:
        self._cohorts: Stored[Cohort] = Stored("cohort", _encode_cohort)
        self._columns: Stored[ColumnsRecord] = Stored("cohort-columns", encode)
        self._rollouts: Stored[RolloutRecord] = Stored("rollout", encode)
        self._trials: Stored[TrialRecord] = Stored("trial", encode)
        self._marks: Stored[tuple[int, Mark, list[str]]] = Stored("trial-mark", _encode_mark)
        self._said: Stored[SaidRecord] = Stored("canary-said", encode)
        self._shadows: Stored[ShadowRecord] = Stored("shadow", encode)
        self._pending: Stored[CountsRecord] = Stored("cohort-pane", encode)
        self._past: set[tuple[int, int]] = set()
        """Places of parts of the past that are stored."""

    def changes(self, book: Book) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write, None to delete; afterwards they count as stored."""
        yield from self._cohorts.all(((number,), cohort) for number, cohort in book.cohorts.names.items())
        cases = book.cases.values()
        trials = [(_named(c.analysis), c.trial) for c in cases if c.trial is not None]
        yield from self._columns.all([((), ColumnsRecord(book.cohorts.columns))])
        yield from self._rollouts.all((_named(c.analysis), c.rollout.record()) for c in cases)
        yield from self._trials.all((name, trial_record(trial)) for name, trial in trials)
        yield from self._marks.all(
            (name, (trial.serial, trial.mark, trial.metrics)) for name, trial in trials
        )
        yield from self._said.all((_named(c.analysis), said_record(c)) for c in cases if c.told)
        yield from self._shadows.all((_named(s.comparison), s.state) for s in book.shadows.values())
        merged = ((places, Counts.merge(several)) for places, several in book.pending.items())
        yield from self._pending.all((places, counts_record(counts)) for places, counts in merged)
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
        named = _named_plainly if _has_plain_names(stored) else _named
        case_of = {named(case.analysis): case for case in book.cases.values()}
        shadow_of = {named(shadow.comparison): shadow for shadow in book.shadows.values()}
        columns = stored.get(key("cohort-columns"))
        new = None if columns is None else _renumbered(decode(ColumnsRecord, columns).names, book)
        for name, value in sorted(stored.items()):
            kind, parts = parse_key(name)
            place = tuple(parts)
            match kind:
                case "cohort-columns":
                    self._columns.find(name, value)
                case "cohort":
                    self._cohorts.find(name, value)
                    cohort = decode(CohortRecord, value)
                    book.cohorts.restore(int(place[0]), Cohort(*astuple(cohort)))
                case "cohort-pane":
                    self._pending.find(name, value)
                    counts = counts_of(decode(CountsRecord, value))
                    book.pending[int(place[0]), int(place[1])] = [
                        counts if new is None else counts.recolumned(new)
                    ]
                case "cohort-past":
                    where = int(place[0]), int(place[1])
                    self._past.add(where)
                    counts = counts_of(decode(CountsRecord, value))
                    if new is not None:
                        counts = counts.recolumned(new)
                        book.past.changed.add(where)
                    book.past.parts[where] = counts
                case "rollout":
                    self._rollouts.find(name, value)
                    _restore_rollout(case_of.get(place), decode(RolloutRecord, value))
                case "shadow":
                    self._shadows.find(name, value)
                    if place in shadow_of:
                        shadow_of[place].state = decode(ShadowRecord, value)
                case "canary-said":
                    self._said.find(name, value)
                    if place in case_of:
                        restore_said(case_of[place], decode(SaidRecord, value))
                case "trial":
                    self._trials.find(name, value)
                    _restore_trial(case_of.get(place), decode(TrialRecord, value))
                case "trial-mark":
                    self._marks.find(name, value)
                    if place in case_of and (trial := case_of[place].trial) is not None:
                        restore_mark(trial, decode(MarkRecord, value))
        book.cohorts.settle()
        book.cohorts.heard(book.cohorts.names, 0 if decided_s is None else decided_s // PANE_S)


def _named(one: Analysis | Comparison) -> tuple[str, ...]:
    """A service's own: what an analysis of the same name has seen of another one says nothing of it."""
    return one.identity, one.service


def _named_plainly(one: Analysis | Comparison) -> tuple[str, ...]:
    return plainly_joined(one.namespace, one.name), one.service


def _has_plain_names(stored: Mapping[bytes, bytes]) -> bool:
    """Whether the state is of a format that joined names as they are."""
    shard = stored.get(key("shard"))
    return shard is not None and decode_shard(shard).version <= PLAIN_NAMES


def _renumbered(before: list[str], book: Book) -> NDArray[np.int64] | None:
    """By the number that a column had, the one that it has; −1: none. None if all are the same."""
    if before == book.cohorts.columns:
        return None
    now = {name: i for i, name in enumerate(book.cohorts.columns)}
    return np.array([now.get(name, -1) for name in before], np.int64)


def _restore_rollout(case: Case | None, record: RolloutRecord) -> None:
    if case is not None:
        case.rollout = Rollout.of(case.analysis, record)


def _restore_trial(case: Case | None, record: TrialRecord) -> None:
    """A stage whose analysis looks at other metrics by now is judged anew, from here on."""
    if case is not None:
        case.trial = trial_of(record, case.analysis, case.measures)


def _encode_mark(mark: tuple[int, Mark, list[str]]) -> bytes:
    return encode(mark_record(*mark))


def _encode_cohort(cohort: Cohort) -> bytes:
    parts = cohort.namespace, cohort.service, cohort.endpoint, cohort.version, cohort.track
    return encode(CohortRecord(*parts))
