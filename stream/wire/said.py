"""What events say of their series, outcome and weight, remembered: found once, looked up ever after."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.model.outcome import OUTCOMES, outcome_code
from stream.wire.event import GRPC_NUMBERS, MILLION, Event, weight_millionths
from stream.wire.frame import ABSENT, Interner, mark_of, pack_series

_OUTCOME_BITS = OUTCOMES.bit_length()
_MOST = 300_000
"""Ways of saying that are remembered at a time."""
_UNSEEN = -1
_SERIES = 6
"""So many of an event's fields make its series."""

Ints = NDArray[np.int64]
Ids = NDArray[np.int32]


class Said:
    """A memory for one numbering of series.

    What an event says is found by its fields or, with ``_scan.pyx``, by the bytes of its record. A series is
    numbered when the first event of it is counted: a record that is refused for its time leaves none behind.
    """

    def __init__(self, interner: Interner) -> None:
        self.known: dict[bytes, int] = {}
        """Bytes → number of what they say, from 1."""
        self._interner = interner
        self._both_by_fields = _ByFields(interner)
        self._folded: dict[tuple[Any, ...], int] = {}
        """Numbers of what events of folded series say, by fields and sampling rate."""
        self._fields: list[tuple[Any, ...]] = [()]
        self._both = array("q", [0])
        """Series and outcome in one; _UNSEEN before the first event."""
        self._weight = array("q", [MILLION])
        self._mark = array("q", [_UNSEEN])
        """Of the series as it is said; _UNSEEN of folded ones, which many say."""
        self._folded_marks = array("q")
        """Of those that were folded since :meth:`marks` was asked, in the order of their records."""

    @classmethod
    def of(cls, interner: Interner) -> Said:
        """The interner's own, made at the first call and bounded."""
        said = interner.said
        if not isinstance(said, cls) or len(said._both) > _MOST:
            said = interner.said = cls(interner)
        return said

    def learn(self, key: bytes, event: Event) -> int:
        """Number what the event says, to be found by ``key`` from now on; not if its series is folded, for
        then the next one will most likely have another key."""
        fields = _fields(event)
        series = fields[:_SERIES]
        folded = None if None in series else self._interner.folded(series)
        mark = _mark(series)
        if folded is None:
            number = self.known[key] = self._add(fields, event.sample_rate, mark)
            return number
        self._folded_marks.append(mark)
        said = (*folded, *fields[_SERIES:], event.sample_rate)
        known = self._folded.get(said)
        if known is None:
            known = self._folded[said] = self._add(said[:-1], event.sample_rate, _UNSEEN)
        return known

    def marks(self, numbers: Ints) -> Ints:
        """Of the series that each record names, by its number from ``learn``; to be asked once for each
        batch."""
        marks = np.frombuffer(self._mark, np.int64)[numbers]
        if self._folded_marks:
            marks[(marks == _UNSEEN) & (numbers > 0)] = self._folded_marks
            self._folded_marks = array("q")
        return marks

    def _add(self, fields: tuple[Any, ...], sample_rate: float | None, mark: int) -> int:
        self._fields.append(fields)
        self._mark.append(mark)
        self._both.append(_UNSEEN)
        self._weight.append(weight_millionths(sample_rate))
        return len(self._both) - 1

    def look_up(self, numbers: Ints, places: list[int], events: list[Event]) -> tuple[Ids, Ids, Ints]:
        """(series, outcome, weight) of each record: by its number from ``learn``, or, at ``places``, of these
        events. New series are numbered in the records' order, whichever way each was read."""
        both = np.frombuffer(self._both, np.int64)[numbers]
        unseen = np.flatnonzero(both == _UNSEEN)
        if len(unseen):
            self._see(numbers, unseen, places, events)
            both = np.frombuffer(self._both, np.int64)[numbers]
        weight = np.frombuffer(self._weight, np.int64)[numbers]
        if len(places) == len(numbers):
            both, weight = self._read(events), _weights(events)
        elif places:
            both[places], weight[places] = self._read(events), _weights(events)
        return *_apart(both), weight

    def _see(self, numbers: Ints, unseen: Ints, places: list[int], events: list[Event]) -> None:
        first: dict[int, int] = {}
        for place, number in zip(unseen.tolist(), numbers[unseen].tolist(), strict=True):
            first.setdefault(number, place)
        said = [(place, self._fields[number], number) for number, place in first.items()]
        said += [(place, _fields(event), 0) for place, event in zip(places, events, strict=True)]
        for _, fields, number in sorted(said, key=lambda one: one[0]):
            both = self._both_by_fields[fields]
            if number:
                self._both[number] = both

    def _read(self, events: list[Event]) -> Ints:
        said: Any = self._both_by_fields
        # Not through _fields: a call for each event would cost a tenth of all decoding.
        both = [
            said[
                e.namespace,
                e.service,
                e.endpoint,
                e.method,
                e.version,
                e.track,
                e.status,
                e.grpc_status,
                e.ok,
            ]
            for e in events
        ]
        return np.array(array("q", both), np.int64)


def marks_of(events: list[Event]) -> Ints:
    """Of the series that the events name."""
    return np.array([_mark(_fields(event)[:_SERIES]) for event in events], np.int64)


def _mark(series: tuple[Any, ...]) -> int:
    named = tuple(a if part is None else part for part, a in zip(series, ABSENT, strict=True))
    return mark_of(pack_series(named))  # type: ignore[arg-type]


def _apart(both: Ints) -> tuple[Ids, Ids]:
    return (both >> _OUTCOME_BITS).astype(np.int32), (both & ((1 << _OUTCOME_BITS) - 1)).astype(np.int32)


def _fields(e: Event) -> tuple[Any, ...]:
    return (
        *(e.namespace, e.service, e.endpoint, e.method, e.version, e.track),
        *(e.status, e.grpc_status, e.ok),
    )


def _weights(events: list[Event]) -> Ints:
    rates = [event.sample_rate for event in events]
    if rates.count(1.0) == len(rates):
        return np.full(len(rates), MILLION, np.int64)
    return np.array([weight_millionths(rate) for rate in rates], np.int64)


class _ByFields(dict[tuple[Any, ...], int]):
    def __init__(self, interner: Interner) -> None:
        super().__init__()
        self._interner = interner

    def __missing__(self, fields: tuple[Any, ...]) -> int:
        *series, status, grpc, ok = fields
        code = outcome_code(status, GRPC_NUMBERS[grpc] if isinstance(grpc, str) else grpc, ok)
        if len(self) >= _MOST:
            self.clear()
        folds = self._interner.fold_count
        both = int(self._interner.ids[tuple(series)]) << _OUTCOME_BITS | code  # it takes nulls, too
        if self._interner.fold_count == folds:
            self[fields] = both
        return both
