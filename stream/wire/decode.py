"""Records to a frame: a whole batch at once, a bad record refused without touching its neighbours.

Plain records are read by ``_scan.pyx`` where that could be compiled: a quarter of the time. All others, and
all of them without it, are decoded one by one. Joined to one document and decoded by a single call they take
more time, not less (370 ns against 330 ns a record of 136 bytes), and where one record ends would be a matter
of trust. What the fields say is then read column by column; rarely used forms (times as strings, explicit
nulls, sampling) cost only the batches that hold one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.wire.event import ABSENT_TS, MAX_TS_MS, MIN_TS_MS, Event
from stream.wire.frame import Frame, Interner
from stream.wire.guesses import quoted_time
from stream.wire.reject import (
    BAD_TIME,
    FUTURE_TIMESTAMP,
    MISSING_FIELD,
    OUT_OF_RANGE,
    SHORT_BYTES,
    RecordError,
    Reject,
    found,
    read_event,
)
from stream.wire.rfc3339 import parse_ms
from stream.wire.said import Said, marks_of

try:
    from stream.wire._scan import scan
except ImportError:  # there was no C compiler
    scan = None  # type: ignore[assignment]

is_compiled = scan is not None
"""Whether plain records are read by the compiled scanner."""

MAX_AHEAD_MS = 60_000
"""How far ts may be ahead of its own record's timestamp."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAX_EXACT_S = 1e6
"""Latencies below are rounded to nanoseconds, so that 1.001 s is 1001 ms; floats are exact to 2^53 ns."""


def decode(
    values: Sequence[bytes | None],
    interner: Interner,
    record_timestamps_ms: Sequence[int] | Ints | None = None,
) -> tuple[Frame, list[Reject]]:
    """Decode a batch. Returns the events in the order of their records, and the refused records in theirs.

    ``record_timestamps_ms``, one a record, are Kafka's: they stand in for an absent ts, and a ts too far
    ahead of its own is refused; a negative one (the record has none) does neither. Without them, as for a
    file, an absent ts is refused and nothing is compared.
    """
    said = Said.of(interner)
    columns, others = _scan(values if isinstance(values, list) else list(values), said)
    rows, events, faults = _read(values, others)
    if rows:
        columns.ts_ms[rows] = _times(rows, events, faults)
        columns.latency_ms[rows] = _latencies_ms(events)
    stamps = None if record_timestamps_ms is None else np.asarray(record_timestamps_ms, np.int64)
    _place(columns.ts_ms, faults, stamps)
    row = np.arange(len(values))
    if faults:
        row = np.delete(row, list(faults))
        columns = columns.only(row)
    if faults:
        good = [(i, event) for i, event in zip(rows, events, strict=True) if i not in faults]
        rows = np.searchsorted(row, [i for i, _ in good]).tolist()
        events = [event for _, event in good]
    series, outcome, weight = said.look_up(columns.said, rows, events)
    mark = None
    if interner.fold_count:
        mark = columns.mark
        mark[rows] = marks_of(events)
    frame = Frame(columns.ts_ms, series, outcome, columns.latency_ms, weight, row, interner, mark)
    return frame, [Reject(i, fault.error, fault.detail) for i, fault in sorted(faults.items())]


@dataclass(slots=True)
class _Columns:
    """An element for every record, whether it was read or not."""

    ts_ms: Ints
    """ABSENT_TS where a record does not say."""
    latency_ms: Floats
    """NaN where absent."""
    said: Ints
    """Numbers of the memory; 0 where the scanner could not read the record."""
    mark: Ints
    """Of the series that the scanner read."""

    def only(self, rows: Ints) -> _Columns:
        return _Columns(self.ts_ms[rows], self.latency_ms[rows], self.said[rows], self.mark[rows])


def _scan(values: list[bytes | None], said: Said) -> tuple[_Columns, list[int]]:
    """What the scanner can read, and the rows that it cannot."""
    n = len(values)
    ts_ms, number = np.zeros(n, np.int64), np.zeros(n, np.int64)
    latency_ms = np.full(n, np.nan)
    if scan is None:
        return _Columns(ts_ms, latency_ms, number, np.zeros(n, np.int64)), list(range(n))
    latency_s = np.full(n, np.nan)

    def learn(key: bytes, value: bytes) -> int:
        try:
            return said.learn(key, _decode_event(value))
        except _FAULTS:
            return -1

    others = scan(values, said.known, learn, number, ts_ms, latency_ms, latency_s)
    # The scanner takes any whole number for a time; what is none is told apart by the decoder.
    small = np.flatnonzero((ts_ms >= 0) & (ts_ms < MIN_TS_MS))
    if len(small):
        others = sorted({*others, *small.tolist()})
    if others:  # what was read of them before the scanner gave up is nothing
        number[others] = ts_ms[others] = 0
    return _Columns(ts_ms, _in_ms(latency_ms, latency_s), number, said.marks(number)), others


_decode_event = msgspec.json.Decoder(Event).decode
_FAULTS = (msgspec.DecodeError, RecursionError)


def _read(
    values: Sequence[bytes | None], rows: list[int]
) -> tuple[list[int], list[Event], dict[int, RecordError]]:
    """These records, every one on its own: rows and events of the good ones, faults of the others by row.

    Short ASCII records need none of the checks that the decoder does not make.
    """
    chosen = [values[row] for row in rows]
    try:
        if chosen and b"".join(chosen).isascii() and max(map(len, chosen)) <= SHORT_BYTES:  # type: ignore[arg-type]
            return rows, list(map(_decode_event, chosen)), {}  # type: ignore[arg-type]
    except (TypeError, ValueError, *_FAULTS):
        pass  # a record that has no value, or is none, is among them
    good: list[int] = []
    events: list[Event] = []
    faults: dict[int, RecordError] = {}
    for row, value in zip(rows, chosen, strict=True):
        try:
            events.append(_read_one(value))
            good.append(row)
        except RecordError as fault:
            faults[row] = fault
    return good, events, faults


def _read_one(value: bytes | None) -> Event:
    if value and len(value) <= SHORT_BYTES and value.isascii():
        try:
            return _decode_event(value)
        except _FAULTS:
            pass  # read again with care, to find out why
    return read_event(value)


def _times(rows: list[int], events: list[Event], faults: dict[int, RecordError]) -> Ints:
    """Epoch ms as the events say, ABSENT_TS where they do not; what is no time joins ``faults``, as 0."""
    try:
        return _int64([event.ts for event in events])
    except TypeError:
        pass  # a string or a null is among them
    times: list[int] = []
    for row, event in zip(rows, events, strict=True):
        try:
            times.append(time_ms(event.ts))
        except RecordError as fault:
            faults[row] = fault
            times.append(0)
    return _int64(times)


def time_ms(ts: int | str | None, name: str = "ts") -> int:
    """Epoch ms of a field; ABSENT_TS of none. Raises RecordError on what is no time."""
    if isinstance(ts, str):
        try:
            ms = parse_ms(ts)
        except ValueError as fault:
            hint = quoted_time(ts)
            detail = f"{name}: {fault}: {found(ts)}" + (f" ({hint})" if hint else "")
            raise RecordError(BAD_TIME, detail) from None
        if not 0 <= ms <= MAX_TS_MS:
            raise RecordError(OUT_OF_RANGE, f"{name}: expected a time in 1970 to 9999 UTC, found {found(ts)}")
        return ms
    return ABSENT_TS if ts is None else ts


def _place(ts_ms: Ints, faults: dict[int, RecordError], stamps: Ints | None) -> None:
    """Give events without ts their record's timestamp (in place), and find those that are out of place."""
    absent = np.flatnonzero(ts_ms == ABSENT_TS)
    if stamps is None:
        for i in absent.tolist():
            faults[i] = RecordError(MISSING_FIELD, "ts: required in a file, found none")
        return
    ahead = np.flatnonzero((stamps >= 0) & (ts_ms > stamps + MAX_AHEAD_MS))
    for i in ahead.tolist():
        by_ms = int(ts_ms[i] - stamps[i])
        faults[i] = RecordError(
            FUTURE_TIMESTAMP, f"ts: {ts_ms[i]} is {by_ms} ms ahead of the record's timestamp {stamps[i]}"
        )
    ts_ms[absent] = stamps[absent]
    for i in absent[(stamps[absent] < 0) | (stamps[absent] > MAX_TS_MS)].tolist():
        faults[i] = RecordError(MISSING_FIELD, f"ts: found none, and the record's timestamp is {stamps[i]}")


def _latencies_ms(events: list[Event]) -> NDArray[np.float64]:
    """latency_ms, else latency_s in ms, else NaN."""
    said_ms: list[Any] = [event.latency_ms for event in events]
    try:
        latency_ms = np.array(array("d", said_ms))
    except TypeError:
        latency_ms = np.array([math.nan if said is None else said for said in said_ms], np.float64)
    said_s = [event.latency_s for event in events]
    if said_s.count(None) == len(said_s):
        return latency_ms
    return _in_ms(latency_ms, np.array(said_s, np.float64))


def _in_ms(latency_ms: Floats, seconds: Floats) -> Floats:
    """Seconds where there are no milliseconds."""
    if np.isnan(seconds).all():
        return latency_ms
    rounded = np.where(
        seconds < _MAX_EXACT_S, np.rint(np.minimum(seconds, _MAX_EXACT_S) * 1e9) / 1e6, seconds * 1e3
    )
    return np.where(np.isnan(latency_ms), rounded, latency_ms)


def _int64(numbers: list[Any]) -> Ints:
    """TypeError unless all are integers: numpy itself would read the string "1" as 1."""
    return np.array(array("q", numbers), np.int64)
