"""The compiled scanner reads what the ordinary decoder reads, or leaves the record to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.wire import decode as decoding
from stream.wire.decode import decode
from stream.wire.event import Event
from stream.wire.frame import Interner
from stream.wire.said import Said

pytestmark = pytest.mark.skipif(decoding.scan is None, reason="there was no C compiler at installation")

PLAIN = (
    b'{"ts":1790000040000,"service":"payment","endpoint":"/v1/orders/{id}","method":"GET","status":200,'
    b'"latency_ms":12.5,"version":"2.4.0","track":"canary","sample_rate":0.3,"tier":"premium","ok":true,'
    b'"namespace":"shop","grpc_status":"OK","latency_s":1.5,"attributes":{"region":"eu","n":1},"else":null}'
)
NUMBERS = (
    *("0", "1", "200", "12.5", "0.0", "00", "01", "1.", ".5", "-1", "-0", "1e3", "0.5e1", "1E3", "600"),
    *("123456789012345", "1234567890123456", "253402300799999", "253402300800000", "9" * 20, "0.1"),
    *("0.30000000000000004", "1.00000000000001", "12345678901234.5", "0.000001", "0.0000001"),
    *("900719925474.0993", "1 2", "1-", "0x1", "+1", "1_0", "1.0", "9007199254740993", "1.5.5"),
)  # fmt: skip
STRINGS = (
    *('""', '"a"', '"stable"', '"canary"', '"other"', '"OK"', '"NOT_A_CODE"', '"é"', '"\\u0041"', '"a\\"b"'),
    *('"2026-11-23T05:00:10Z"', '"a\tb"', f'"{"x" * 201}"', f'"{"x" * 200}"', '"\x7f"', '"a', "'a'"),
)
OTHERS = (
    "null",
    "true",
    "false",
    "tru",
    "nul",
    "falsy",
    "truee",
    "{}",
    "[]",
    "[1]",
    '{"a":{}}',
    '{"a":1,}',
    "",
)
NESTED = ('{"a":1}', '{"a":"b","c":null,"d":false}', '{ "a" : 1.5 }', '{"a":[1]}', '{"a" 1}', '{"a":1 "b":2}')
VALUES = (*NUMBERS, *STRINGS, *OTHERS, *NESTED)
NAMES = (*Event.__struct_fields__, "other", "TS", "t", "statuz", "", "latency_us", "attributez")
BLANK = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t", "\0"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Nearly JSON, nearly events: most members are good, some twice. In the usual order the scanner knows
    what the good ones say, and it alone decides about the rest."""
    base = {"service": '"payment"', "ts": "1790000040000", "status": "200", "latency_ms": "12.5"}
    members = [f'{draw(BLANK)}"{name}"{draw(BLANK)}:{draw(BLANK)}{text}' for name, text in base.items()]
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        members.append(f'"{name}":{draw(st.sampled_from(VALUES))}')
    if draw(st.booleans()):
        members = draw(st.permutations(members))
    text = ",".join(members)
    return f"{draw(BLANK)}{{{text}}}{draw(BLANK)}".encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A plain record with a few bytes changed, put in or left out."""
    record = bytearray(PLAIN)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(record) - 1))
        match draw(st.sampled_from(["change", "insert", "delete"])):
            case "change":
                record[at] = draw(st.sampled_from(list(b'{}[]":,.0123456789eE+-tfn \\\n\x00\xff')))
            case "insert":
                record.insert(at, draw(st.sampled_from(list(b'{}[]":,.0123456789eE+-tfn \\\n\x00\xff'))))
            case "delete":
                del record[at]
    return bytes(record)


def read(values: list[bytes | None], interner: Interner) -> dict[str, Any]:
    frame, rejects = decode(values, interner, [1_790_000_040_000] * len(values))
    return {
        "row": frame.row.tolist(),
        "ts": frame.ts_ms.tolist(),
        "numbered": list(interner.keys),
        "series": [interner.keys[i] for i in frame.series],
        "outcome": frame.outcome.tolist(),
        "latency": [repr(value) for value in frame.latency_ms.tolist()],
        "weight": frame.weight.tolist(),
        "rejects": rejects,
    }


def read_ordinarily(values: list[bytes | None]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "scan", None)
        return read(values, Interner())


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_any_value_reads_the_same_with_the_scanner_and_without(name: str) -> None:
    for value in VALUES:
        for ending in ("", ",", " ", "}", "x", "\0"):
            text = f'{{"service":"a","ts":1790000000001,"{name}":{value}}}{ending}'
            records: list[bytes | None] = [b'{"service":"a","ts":1790000000002}', text.encode()]
            assert read(records, Interner()) == read_ordinarily(records), text


@settings(max_examples=600, deadline=None)
@given(st.lists(st.one_of(records(), damaged(), st.sampled_from([None, b"", PLAIN])), max_size=6))
def test_a_batch_reads_the_same_with_the_scanner_and_without(values: list[bytes | None]) -> None:
    interner = Interner()
    known = b'{"service":"payment","ts":1790000040000,"status":200}'
    values = [PLAIN, known, *values]
    expected = read_ordinarily(values)
    assert read(values, interner) == expected
    assert read(values, interner) == expected, "the second time everything is known"


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 18).flatmap(lambda n: st.integers(10 ** (n - 1), 10**n - 1)), st.integers(0, 18))
def test_decimals_of_any_length_are_the_doubles_that_python_reads(digits: int, scale: int) -> None:
    text = str(digits).rjust(scale + 1, "0")
    text = f"{text[: len(text) - scale]}.{text[len(text) - scale :]}" if scale else text
    value = f'{{"ts":1790000000001,"service":"a","latency_ms":{text}}}'.encode()
    frame, _ = decode([b'{"ts":1790000000001,"service":"a"}', value], Interner())
    assert frame.latency_ms.tolist()[1:] == [float(text)]


def test_plain_records_are_left_to_the_scanner() -> None:
    said = Said(Interner())
    columns, others = decoding._scan([PLAIN, json.dumps(json.loads(PLAIN)).encode()], said)
    assert others == []
    assert len(said.known) == 1, "blanks do not matter"
    assert columns.ts_ms.tolist() == [1_790_000_040_000] * 2


@pytest.mark.parametrize("length", [990, 999, 1000, 1001, 5000])
def test_a_record_as_long_as_the_scanner_takes_is_read_whole(length: int) -> None:
    head, tail = b'{"ts":1790000000001,"service":"a","endpoint":"', b'"}'
    value = head + b"x" * (length - len(head) - len(tail)) + tail
    assert len(value) == length
    assert read([value], Interner()) == read_ordinarily([value])


def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.wire.said._MOST", 10)
    interner = Interner()
    for start in range(0, 100, 5):
        values = [b'{"ts":1790000000001,"service":"a","endpoint":"/%d"}' % i for i in range(start, start + 5)]
        frame, _ = decode(values, interner)
        assert [interner.keys[i][2] for i in frame.series] == [f"/{i}" for i in range(start, start + 5)]
        assert isinstance(interner.said, Said)
        assert len(interner.said.known) <= 15
    assert np.array_equal(decode(values, interner)[0].series, frame.series)
