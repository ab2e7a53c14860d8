"""Records to a frame: a whole batch at once, a bad record refused without touching its neighbours.

Records are decoded one by one. Joined to one document and decoded by a single call they take more time, not
less (370 ns against 330 ns a record of 136 bytes), and where one record ends would be a matter of trust. What
the fields say is then read column by column; rarely used forms (times as strings, explicit nulls, sampling)
cost only the batches that hold one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.model.outcome import OUTCOMES, outcome_code
from stream.wire.event import ABSENT_TS, GRPC_NUMBERS, MAX_TS_MS, MILLION, Event, weight_millionths
from stream.wire.frame import Frame, Interner
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

MAX_AHEAD_MS = 60_000
"""How far ts may be ahead of its own record's timestamp."""

Ints = NDArray[np.int64]

_OUTCOME_BITS = OUTCOMES.bit_length()
_MOST_SAID = 500_000

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
    events, rejects = _read(values)
    row = np.delete(np.arange(len(values)), [reject.row for reject in rejects])
    ts_ms, faults = _times(events)
    stamps = None if record_timestamps_ms is None else np.asarray(record_timestamps_ms, np.int64)[row]
    _place(ts_ms, faults, stamps)
    if faults:
        rejects += [Reject(int(row[i]), fault.error, fault.detail) for i, fault in faults.items()]
        rejects.sort(key=lambda reject: reject.row)
        events = [event for i, event in enumerate(events) if i not in faults]
        row, ts_ms = np.delete(row, list(faults)), np.delete(ts_ms, list(faults))
    series, outcome = _what(events, interner)
    frame = Frame(
        ts_ms=ts_ms,
        series=series,
        outcome=outcome,
        latency_ms=_latencies_ms(events),
        weight=_weights(events),
        row=row,
        interner=interner,
    )
    return frame, rejects


_decode_event = msgspec.json.Decoder(Event).decode
_FAULTS = (msgspec.DecodeError, RecursionError)


def _read(values: Sequence[bytes | None]) -> tuple[list[Event], list[Reject]]:
    """Every record on its own. Short ASCII records need none of the checks that the decoder does not make."""
    try:
        if b"".join(values).isascii() and max(map(len, values)) <= SHORT_BYTES:  # type: ignore[arg-type]
            return list(map(_decode_event, values)), []  # type: ignore[arg-type]
    except (TypeError, ValueError, *_FAULTS):
        pass  # a record that has no value, or is none, is among them
    events: list[Event] = []
    rejects: list[Reject] = []
    for row, value in enumerate(values):
        if value and len(value) <= SHORT_BYTES and value.isascii():
            try:
                events.append(_decode_event(value))
                continue
            except _FAULTS:
                pass  # read again with care, to find out why
        try:
            events.append(read_event(value))
        except RecordError as fault:
            rejects.append(Reject(row, fault.error, fault.detail))
    return events, rejects


def _times(events: list[Event]) -> tuple[Ints, dict[int, RecordError]]:
    """Epoch ms as the events say, ABSENT_TS where they do not; and the faults by place."""
    try:
        return _int64([event.ts for event in events]), {}
    except TypeError:
        pass  # a string or a null is among them
    faults: dict[int, RecordError] = {}
    times: list[int] = []
    for i, event in enumerate(events):
        try:
            times.append(_time(event.ts))
        except RecordError as fault:
            faults[i] = fault
            times.append(0)
    return _int64(times), faults


def _time(ts: int | str | None) -> int:
    if isinstance(ts, str):
        try:
            ms = parse_ms(ts)
        except ValueError as fault:
            raise RecordError(BAD_TIME, f"ts: {fault}: {found(ts)}") from None
        if not 0 <= ms <= MAX_TS_MS:
            raise RecordError(OUT_OF_RANGE, f"ts: expected a time in 1970 to 9999 UTC, found {found(ts)}")
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


def _what(events: list[Event], interner: Interner) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(series, outcome) of each event, by one look-up for both."""
    said: Any = interner.said
    if said is None:
        said = interner.said = _Said(interner)
    both = _int64(
        [
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
    )
    return (both >> _OUTCOME_BITS).astype(np.int32), (both & ((1 << _OUTCOME_BITS) - 1)).astype(np.int32)


class _Said(dict[tuple[Any, ...], int]):
    """Series and outcome in one number, by what an event says of both."""

    def __init__(self, interner: Interner) -> None:
        super().__init__()
        self._ids: Any = interner.ids  # its look-up takes nulls, too

    def __missing__(self, said: tuple[Any, ...]) -> int:
        *series, status, grpc, ok = said
        code = outcome_code(status, GRPC_NUMBERS[grpc] if isinstance(grpc, str) else grpc, ok)
        if len(self) >= _MOST_SAID:
            self.clear()
        both = self[said] = int(self._ids[tuple(series)]) << _OUTCOME_BITS | code
        return both


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
    seconds = np.array(said_s, np.float64)
    rounded = np.where(
        seconds < _MAX_EXACT_S, np.rint(np.minimum(seconds, _MAX_EXACT_S) * 1e9) / 1e6, seconds * 1e3
    )
    return np.where(np.isnan(latency_ms), rounded, latency_ms)


def _weights(events: list[Event]) -> Ints:
    rates = [event.sample_rate for event in events]
    if rates.count(1.0) == len(rates):
        return np.full(len(rates), MILLION, np.int64)
    return _int64([weight_millionths(rate) for rate in rates])


def _int64(numbers: list[Any]) -> Ints:
    """TypeError unless all are integers: numpy itself would read the string "1" as 1."""
    return np.array(array("q", numbers), np.int64)
