"""Batches: every record is judged alone, whatever stands beside it, and order is kept."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracle.events import Refused, parse_event

from stream.model.objective import GRPC_CODES
from stream.model.outcome import outcome_code
from stream.wire.decode import decode
from stream.wire.event import RULES
from stream.wire.frame import ABSENT, Frame, Interner
from stream.wire.reject import ERRORS

TS = 1795410010000

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.lists(st.integers(), max_size=2),
    st.dictionaries(TEXT, st.integers(), max_size=2),
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "ts": st.one_of(
        st.integers(0, 253402300799999),
        st.datetimes(min_value=datetime.fromisoformat("1970-01-01")).map(lambda t: f"{t.isoformat()}Z"),
        st.sampled_from(
            ["2026-11-23T05:00:10.12345+05:30", "2026-11-23t05:00:10z", "2026-11-23T05:00:10-00:00"]
        ),
    ),
    "service": st.one_of(st.sampled_from(["payment", "checkout"]), TEXT.filter(bool)),
    "namespace": st.sampled_from(["default", "shop", "é" * 200]),
    "endpoint": TEXT,
    "method": st.sampled_from(["", "GET", "POST"]),
    "status": st.integers(100, 599),
    "grpc_status": st.one_of(st.integers(0, 16), st.sampled_from(GRPC_CODES)),
    "ok": st.booleans(),
    "latency_ms": st.one_of(st.integers(0, 10**6), st.floats(0, 1e300)),
    "latency_s": st.one_of(st.integers(0, 100), st.integers(0, 10**9).map(lambda us: us / 10**6)),
    "version": st.sampled_from(["", "v1", "v2"]),
    "track": st.sampled_from(["stable", "canary", "baseline", "shadow"]),
    "sample_rate": st.one_of(st.just(1), st.integers(1, 10**6).map(lambda ppm: ppm / 10**6)),
    "tier": TEXT,
    "attributes": st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.booleans(), st.none()), max_size=3),
}
A, B = b'{"ts": 1790000000001, "service": "a"}', b'{"ts": 1790000000002, "service": "b"}'
TORN = st.sampled_from(
    [
        *[None, b"", b" ", b"\n", b"\r\n", b"{", b"}", b"{}", b"null", b"[]", b",", b"NaN", b"\xff"],
        *[
            b'{"ts": 1790000000001,',
            b'"service": "a"}',
            A[:-1],
            b"[" + A + b",",
            B + b"]",
            b"\xef\xbb\xbf" + A,
        ],
        *[A + b"\n", b"\n" + A.replace(b" ", b"\n"), A + B, A + b"\n" + B, A + b" " + B, A + b"," + B],
        *[A[:-1] + b', "latency_ms": NaN}', A[:-1] + b', "x": "' + b"y" * 2**20 + b'"}'],
        *[A[:-1] + b', "ts": 1790000000002}', A[:-1] + b', "status": 1, "status": 200}'],
    ]
)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A record of mostly good fields, in any order, some junk, some unknown."""
    fields: dict[str, Any] = {}
    for name, good in GOOD.items():
        if name in ("ts", "service") or draw(st.booleans()):
            fields[name] = draw(good)
    if draw(st.integers(0, 3)) == 0:
        fields[draw(st.sampled_from([*GOOD, "unknown"]))] = draw(JUNK)
    ordered = dict(draw(st.permutations(list(fields.items()))))
    return json.dumps(ordered, ensure_ascii=draw(st.booleans())).encode()


RECORDS = st.lists(st.one_of(written(), written(), TORN, st.binary(max_size=20)), max_size=12)


def described(frame: Frame, i: int) -> dict[str, Any]:
    """One event of a frame, free of the frame's numbering."""
    latency_ms = float(frame.latency_ms[i])
    return {
        "ts": int(frame.ts_ms[i]),
        "key": frame.interner.keys[int(frame.series[i])],
        "outcome": int(frame.outcome[i]),
        "latency_ms": None if math.isnan(latency_ms) else latency_ms,
        "weight": int(frame.weight[i]),
    }


@given(RECORDS)
def test_a_batch_gives_what_its_records_give_alone(values: list[bytes | None]) -> None:
    frame, rejects = decode(values, Interner())
    together: dict[int, Any] = {int(row): described(frame, i) for i, row in enumerate(frame.row)}
    together |= {reject.row: (reject.error, reject.detail) for reject in rejects}
    assert len(together) == len(frame) + len(rejects) == len(values)
    for row, value in enumerate(values):
        alone, refused = decode([value], Interner())
        assert together[row] == (described(alone, 0) if len(alone) else (refused[0].error, refused[0].detail))


@given(RECORDS)
def test_a_batch_agrees_with_the_plain_reading_of_the_contract(values: list[bytes | None]) -> None:
    frame, _ = decode(values, Interner())
    found = {int(row): described(frame, i) for i, row in enumerate(frame.row)}
    for row, value in enumerate(values):
        try:
            event = parse_event(value or b"")
        except Refused:
            assert row not in found
            continue
        read = found[row]
        assert read["ts"] == event.ts
        names = (
            event.namespace,
            event.service,
            event.endpoint,
            event.method,
            event.version or "",
            event.track,
        )
        assert read["key"] == names
        assert read["outcome"] == outcome_code(event.status, event.grpc, event.ok)
        assert read["weight"] == event.weight
        assert (read["latency_ms"] is None) == (event.latency_ms is None)
        if event.latency_ms is not None:
            assert abs(read["latency_ms"] - float(event.latency_ms)) <= 1e-6


@given(RECORDS, st.lists(st.integers(-1, 253402300799999), min_size=12, max_size=12))
def test_a_live_batch_gives_what_its_records_give_alone(
    values: list[bytes | None], stamps: list[int]
) -> None:
    stamps = stamps[: len(values)]
    frame, rejects = decode(values, Interner(), stamps)
    found: dict[int, Any] = {int(row): described(frame, i) for i, row in enumerate(frame.row)}
    found |= {reject.row: reject for reject in rejects}
    for row, value in enumerate(values):
        alone, refused = decode([value], Interner(), [stamps[row]])
        if len(alone):
            assert found[row] == described(alone, 0)
            assert stamps[row] < 0 or found[row]["ts"] <= stamps[row] + 60_000
        else:
            assert (found[row].error, found[row].detail) == (refused[0].error, refused[0].detail)


@given(RECORDS)
def test_order_is_kept_and_columns_are_typed(values: list[bytes | None]) -> None:
    frame, rejects = decode(values, Interner())
    rows = frame.row.tolist()
    assert rows == sorted(set(rows))
    assert [reject.row for reject in rejects] == sorted(set(range(len(values))) - set(rows))
    assert {reject.error for reject in rejects} <= set(ERRORS)
    types = {name: getattr(frame, name).dtype for name in Frame.__slots__ if name not in ("interner", "mark")}
    assert types == {
        "ts_ms": np.int64, "series": np.int32, "outcome": np.int32,
        "latency_ms": np.float64, "weight": np.int64, "row": np.int64,
    }  # fmt: skip
    assert all(len(getattr(frame, name)) == len(frame) for name in types)


def test_halves_of_a_document_do_not_join_across_records() -> None:
    whole = b'{"ts": 1790000000001, "service": "a"}'
    frame, rejects = decode([b'{"ts": 1790000000001,', b'"service": "a"}', whole + whole, whole], Interner())
    assert frame.row.tolist() == [3]
    assert [(reject.row, reject.error) for reject in rejects] == [(i, "not_json") for i in range(3)]


def test_refused_records_are_listed_in_order_whenever_their_fault_was_found() -> None:
    late, early = b'{"ts": "now", "service": "a"}', b"{"
    rejects = decode([early, late, A, early, late, None], Interner())[1]
    assert [reject.row for reject in rejects] == [0, 1, 3, 4, 5]
    assert [reject.error for reject in rejects] == ["not_json", "bad_time", "not_json", "bad_time", "empty"]


def test_an_empty_batch_is_an_empty_frame() -> None:
    for stamps in (None, []):
        frame, rejects = decode([], Interner(), stamps)
        assert (len(frame), rejects) == (0, [])


def test_one_interner_numbers_the_series_of_all_batches() -> None:
    interner = Interner()
    a, b = b'{"ts": 1790000000001, "service": "a"}', b'{"ts": 1790000000001, "service": "b", "version": null}'
    assert decode([a, b], interner)[0].series.tolist() == [0, 1]
    assert decode([b, a, b], interner)[0].series.tolist() == [1, 0, 1]
    assert interner.keys[1] == ("default", "b", "", "", "", "stable")
    assert interner.id_of(("default", "b", "", "", "", "stable")) == 1
    assert len(interner) == 2


def test_what_an_absent_part_counts_as_is_what_the_decoder_takes_it_for() -> None:
    interner = Interner()
    decode([A], interner)
    (key,) = interner.keys
    assert key == (ABSENT[0], "a", *ABSENT[2:])
    assert set(RULES) >= {"namespace", "service", "endpoint", "method", "version", "track"}


def test_kafka_timestamps_may_come_as_an_array() -> None:
    values = [b'{"service": "a"}', None, b'{"service": "a", "ts": "1970-01-01T00:00:01Z"}']
    frame, rejects = decode(values, Interner(), np.array([5, 6, 7], np.int64))
    assert frame.ts_ms.tolist() == [5, 1000]
    assert [reject.row for reject in rejects] == [1]


def test_slicing_taking_and_joining_keep_the_columns_together() -> None:
    values = [
        f'{{"ts": 179000000000{i}, "service": "s{i}", "latency_ms": {i}, "status": {200 + i}}}'.encode()
        for i in range(6)
    ]
    frame, _ = decode(values, Interner())
    expected = [described(frame, i) for i in range(6)]
    again = Frame.concat([frame.slice(0, 2), Frame.empty(frame.interner), frame.slice(2, 6)])
    assert [described(again, i) for i in range(len(again))] == expected
    odd = frame.take(frame.ts_ms % 2 == 1)
    assert [described(odd, i) for i in range(3)] == expected[1::2]
    assert odd.row.tolist() == [1, 3, 5]
    back = frame.take(np.array([5, 0]))
    assert [described(back, i) for i in range(2)] == [expected[5], expected[0]]
