"""Section 1 of the contract, rule by rule: what is read from a record, and which error code refuses it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from stream.model.outcome import outcome_code, outcome_parts
from stream.wire.decode import decode
from stream.wire.event import GRPC_NUMBERS, RULES, Event, Grpc, Track
from stream.wire.frame import Frame, Interner
from stream.wire.reject import ERRORS, Reject

TS = 1795410010000
MAX_TS = 253402300799999
MIB = 1024 * 1024


def record(**fields: Any) -> bytes:
    return json.dumps({"ts": TS, "service": "payment"} | fields).encode()


def with_field(name: str, text: str) -> bytes:
    """A good record with one more field, written as it stands."""
    return f'{{"ts": {TS}, "service": "payment", "{name}": {text}}}'.encode()


def accepted(value: bytes, stamp_ms: int | None = None) -> Frame:
    frame, rejects = decode([value], Interner(), None if stamp_ms is None else [stamp_ms])
    assert rejects == []
    assert len(frame) == 1
    return frame


def refused(value: bytes | None, stamp_ms: int | None = None) -> Reject:
    frame, rejects = decode([value], Interner(), None if stamp_ms is None else [stamp_ms])
    assert len(frame) == 0
    assert len(frame.interner) == 0, "a refused record leaves no series behind"
    (reject,) = rejects
    assert reject.row == 0
    assert reject.error in ERRORS
    assert 0 < len(reject.detail) <= 500
    return reject


def key(value: bytes) -> tuple[str, ...]:
    frame = accepted(value)
    return frame.interner.keys[int(frame.series[0])]


def outcome(value: bytes) -> tuple[int | None, int | None, bool | None]:
    return outcome_parts(int(accepted(value).outcome[0]))


def latency_ms(value: bytes) -> float:
    return float(accepted(value).latency_ms[0])


def weight(value: bytes) -> int:
    return int(accepted(value).weight[0])


def ts_ms(value: bytes, stamp_ms: int | None = None) -> int:
    return int(accepted(value, stamp_ms).ts_ms[0])


def test_a_record_of_ts_and_service_is_an_event_and_all_else_has_its_default() -> None:
    value = record()
    assert key(value) == ("default", "payment", "", "", "", "stable")
    assert ts_ms(value) == TS
    assert outcome(value) == (None, None, None)
    assert math.isnan(latency_ms(value))
    assert weight(value) == 1_000_000


def test_a_record_with_every_field_gives_every_column() -> None:
    value = record(
        namespace="shop", endpoint="/pay/{id}", method="POST", status=503, grpc_status=14, ok=False,
        latency_ms=12.5, version="v2", track="canary", sample_rate=0.25, tier="premium",
        attributes={"a": 1, "b": "x", "c": None, "d": True, "e": 0.5},
    )  # fmt: skip
    assert key(value) == ("shop", "payment", "/pay/{id}", "POST", "v2", "canary")
    assert outcome(value) == (503, 14, False)
    assert latency_ms(value) == 12.5
    assert weight(value) == 4_000_000


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("ts", "service")])
def test_null_counts_as_absent(name: str) -> None:
    plain, with_null = accepted(record()), accepted(with_field(name, "null"))
    assert with_null.interner.keys == plain.interner.keys
    for column in ("ts_ms", "series", "outcome", "latency_ms", "weight"):
        left, right = getattr(plain, column), getattr(with_null, column)
        assert left.dtype == right.dtype
        assert left.tolist() == right.tolist() or (math.isnan(left[0]) and math.isnan(right[0]))


def test_a_null_and_an_absent_part_name_the_same_series() -> None:
    values = [record(), record(namespace=None, version=None), record(version=""), record(namespace="default")]
    frame, rejects = decode(values, Interner())
    assert rejects == []
    assert frame.series.tolist() == [0, 0, 0, 0]
    assert len(frame.interner) == len(frame.interner.ids) == 1


# --- ts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (str(10**11), 10**11),
        (str(MAX_TS), MAX_TS),
        ('"1970-01-01T00:00:00Z"', 0),
        ('"9999-12-31T23:59:59.999Z"', MAX_TS),
        ('"2026-11-23T06:00:10.1239+01:00"', 1795410010123),
        ('"2026-11-23t05:00:10z"', TS),
    ],
)
def test_ts_is_epoch_ms_or_a_date_time(text: str, expected: int) -> None:
    assert ts_ms(f'{{"service": "a", "ts": {text}}}'.encode()) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("-1", "out_of_range"),
        ("0", "out_of_range"),
        (str(10**11 - 1), "out_of_range"),
        (str(MAX_TS + 1), "out_of_range"),
        ("9" * 30, "out_of_range"),
        ("9" * 5000, "out_of_range"),
        ('"1969-12-31T23:59:59.999Z"', "out_of_range"),
        ('"9999-12-31T23:59:59-00:01"', "out_of_range"),
        ('"0000-01-01T00:00:00Z"', "out_of_range"),
        ('"1795410010000"', "bad_time"),
        ('"2026-11-23 05:00:10Z"', "bad_time"),
        ('""', "bad_time"),
        ('"2026-02-30T00:00:00Z"', "bad_time"),
        ("1795410010000.0", "wrong_type"),
        ("1e12", "wrong_type"),
        ("true", "wrong_type"),
        ("[1]", "wrong_type"),
        ("null", "missing_field"),
    ],
)
def test_any_other_ts_is_refused(text: str, error: str) -> None:
    reject = refused(f'{{"service": "a", "ts": {text}}}'.encode())
    assert reject.error == error
    assert reject.detail.startswith("ts: ")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1795410010", "seconds? ts is in milliseconds"),
        ("1795410010.25", "seconds? ts is in milliseconds"),
        ("1795410010000000", "microseconds? ts is in milliseconds"),
        ("1795410010000000000", "nanoseconds? ts is in milliseconds"),
        ('"1795410010000"', "did you mean 1795410010000, without quotes?"),
        ("1795410010000.0", ""),
        ("-1", ""),
        ('"yesterday"', ""),
    ],
)
def test_a_time_in_another_unit_or_in_quotes_is_told(text: str, hint: str) -> None:
    detail = refused(f'{{"service": "a", "ts": {text}}}'.encode()).detail
    assert detail.endswith(f"({hint})") if hint else not detail.endswith(")")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("grpc_status", '"NotFound"', "did you mean NOT_FOUND?"),
        ("grpc_status", '"ok"', "did you mean OK?"),
        ("grpc_status", '"14"', "did you mean 14, without quotes?"),
        ("grpc_status", '"quite wrong"', ""),
        ("status", '"200"', "did you mean 200, without quotes?"),
        ("status", '"ok"', ""),
        ("latency_ms", '"12.5"', "did you mean 12.5, without quotes?"),
        ("sample_rate", '"0.1"', "did you mean 0.1, without quotes?"),
        ("ok", '"True"', "did you mean true, without quotes?"),
        ("track", '"Canary"', "did you mean canary?"),
        ("status", "700", ""),
    ],
)
def test_what_was_most_likely_meant_is_told(name: str, text: str, hint: str) -> None:
    detail = refused(with_field(name, text)).detail
    assert detail.endswith(f"({hint})") if hint else "(" not in detail.partition("found")[2]


def test_a_byte_order_mark_in_a_record_is_named() -> None:
    reject = refused(b"\xef\xbb\xbf" + record())
    assert (reject.error, reject.detail[:32]) == ("not_json", "begins with a byte order mark: {")


def test_in_a_file_an_absent_ts_is_refused() -> None:
    assert refused(b'{"service": "a"}').error == "missing_field"


@pytest.mark.parametrize("value", [b'{"service": "a"}', b'{"service": "a", "ts": null}'])
def test_live_an_absent_ts_is_the_records_timestamp(value: bytes) -> None:
    assert ts_ms(value, stamp_ms=TS) == TS


def test_live_an_absent_ts_is_refused_when_the_record_has_no_timestamp_either() -> None:
    assert refused(b'{"service": "a"}', stamp_ms=-1).error == "missing_field"
    assert refused(b'{"service": "a"}', stamp_ms=MAX_TS + 1).error == "missing_field"


def test_live_a_ts_may_be_60_s_ahead_of_its_record_and_no_more() -> None:
    assert ts_ms(record(ts=TS + 60_000), stamp_ms=TS) == TS + 60_000
    reject = refused(record(ts=TS + 60_001), stamp_ms=TS)
    assert reject.error == "future_timestamp"
    assert "60001 ms ahead" in reject.detail
    assert refused(record(ts="2026-11-23T05:01:10.001Z"), stamp_ms=TS).error == "future_timestamp"


def test_live_a_ts_may_be_as_old_as_it_likes() -> None:
    assert ts_ms(record(ts="1970-01-01T00:00:00Z"), stamp_ms=TS) == 0
    assert ts_ms(record(ts=10**11), stamp_ms=TS) == 10**11


def test_a_file_knows_no_future() -> None:
    assert ts_ms(record(ts=MAX_TS)) == MAX_TS


# --- strings


@pytest.mark.parametrize("name", ["service", "namespace"])
def test_names_have_1_to_200_code_points(name: str) -> None:
    for text in ("a", "é" * 200, "😀" * 200, " "):
        assert text in key(record(**{name: text}))
    for text in ("", "a" * 201, "😀" * 201):
        assert refused(record(**{name: text})).error == "bad_length"


def test_service_is_required() -> None:
    assert refused(b'{"ts": 1790000000001}').error == "missing_field"
    assert refused(b'{"ts": 1790000000001, "service": null}').error == "missing_field"


@pytest.mark.parametrize("name", ["service", "namespace", "endpoint", "method", "version", "track", "tier"])
@pytest.mark.parametrize("text", ["1", "1.5", "true", "[]", "{}"])
def test_a_string_field_takes_nothing_but_strings(name: str, text: str) -> None:
    reject = refused(with_field(name, text))
    assert reject.error == "wrong_type"
    assert reject.detail.startswith(f"{name}: ")
    assert reject.detail.endswith(text)


def test_endpoint_method_version_and_tier_may_be_empty_or_long() -> None:
    long = "x" * 5000
    assert key(record(endpoint=long, method=long, version=long, tier=long))[2:5] == (long, long, long)
    assert key(record(endpoint="", method="", version="", tier="")) == key(record())


@pytest.mark.parametrize("name", ["endpoint", "method", "version"])
@pytest.mark.parametrize("char", ["x", "\x01", "ß", "\U0001f525"])
def test_a_name_of_more_than_5000_characters_is_refused(name: str, char: str) -> None:
    """By the scanner of plain records, too, which has seen the longest that is allowed."""
    longest = record(**{name: char * 5_000})
    frame, rejects = decode([longest, record(**{name: char * 5_001}), longest], Interner())
    assert list(frame.row) == [0, 2]
    (reject,) = rejects
    assert (reject.row, reject.error) == (1, "bad_length")
    assert reject.detail.startswith(f"{name}: expected a string of at most 5000 characters, found ")


@pytest.mark.parametrize("track", ["stable", "canary", "baseline", "shadow"])
def test_the_four_tracks(track: str) -> None:
    assert key(record(track=track))[5] == track


@pytest.mark.parametrize("track", ["", "Stable", "prod"])
def test_no_other_track(track: str) -> None:
    assert refused(record(track=track)).error == "unknown_value"


# --- outcome


@pytest.mark.parametrize("status", [100, 200, 599])
def test_a_status_is_100_to_599(status: int) -> None:
    assert outcome(record(status=status)) == (status, None, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("99", "out_of_range"),
        ("600", "out_of_range"),
        ("0", "out_of_range"),
        ("-200", "out_of_range"),
        ("9" * 5000, "out_of_range"),
        ("200.0", "wrong_type"),
        ("2e2", "wrong_type"),
        ("true", "wrong_type"),
        ('"200"', "wrong_type"),
        ("[200]", "wrong_type"),
    ],
)
def test_no_other_status(text: str, error: str) -> None:
    assert refused(with_field("status", text)).error == error


def test_a_grpc_status_is_a_number_or_its_name() -> None:
    for name, code in GRPC_NUMBERS.items():
        assert outcome(record(grpc_status=name)) == outcome(record(grpc_status=code)) == (None, code, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("-1", "out_of_range"),
        ("17", "out_of_range"),
        ("0.0", "wrong_type"),
        ("false", "wrong_type"),
        ('"ok"', "unknown_value"),
        ('"14"', "unknown_value"),
        ('""', "unknown_value"),
    ],
)
def test_no_other_grpc_status(text: str, error: str) -> None:
    assert refused(with_field("grpc_status", text)).error == error


def test_status_and_grpc_status_stand_beside_each_other() -> None:
    assert outcome(record(status=200, grpc_status="UNAVAILABLE", ok=True)) == (200, 14, True)


@pytest.mark.parametrize("text", ["0", "1", '"true"', "[]", "1.0"])
def test_ok_is_a_boolean(text: str) -> None:
    assert outcome(record(ok=True)) == (None, None, True)
    assert outcome(record(ok=False)) == (None, None, False)
    assert refused(with_field("ok", text)).error == "wrong_type"


def test_outcome_codes_are_one_to_one() -> None:
    said = [
        (status, grpc, ok)
        for status in (None, *range(100, 600))
        for grpc in (None, *range(17))
        for ok in (None, False, True)
    ]
    codes = [outcome_code(*parts) for parts in said]
    assert [outcome_parts(code) for code in codes] == said
    assert len(set(codes)) == len(said)
    assert max(codes) < 32_400


# --- latency


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("12", 12.0),
        ("0.1", 0.1),
        ("1e3", 1000.0),
        ("-0.0", 0.0),
        ("1e308", 1e308),
        ("1e-400", 0.0),
    ],
)
def test_latency_is_a_number_of_at_least_0(text: str, expected: float) -> None:
    assert latency_ms(with_field("latency_ms", text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.001", 1001.0),
        ("0.0005", 0.5),
        ("0.3", 300.0),
        ("4.35", 4350.0),
        ("7", 7000.0),
        ("0", 0.0),
        ("999999.9999", 999999999.9),
        ("1e300", 1e303),
    ],
)
def test_latency_s_becomes_the_milliseconds_that_were_meant(text: str, expected: float) -> None:
    assert latency_ms(with_field("latency_s", text)) == expected


def test_latency_ms_wins_over_latency_s() -> None:
    assert latency_ms(record(latency_ms=5, latency_s=1)) == 5.0
    assert latency_ms(record(latency_ms=None, latency_s=1)) == 1000.0
    assert latency_ms(record(latency_ms=5, latency_s=None)) == 5.0


@pytest.mark.parametrize("name", ["latency_ms", "latency_s"])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("-0.001", "out_of_range"),
        ("-1", "out_of_range"),
        ("1e999", "out_of_range"),
        ("9" * 400, "out_of_range"),
        ('"12"', "wrong_type"),
        ("true", "wrong_type"),
        ("NaN", "not_json"),
        ("Infinity", "not_json"),
        ("-Infinity", "not_json"),
    ],
)
def test_no_other_latency(name: str, text: str, error: str) -> None:
    assert refused(with_field(name, text)).error == error


def test_latency_s_must_be_finite_in_milliseconds_too() -> None:
    assert refused(with_field("latency_s", "1e306")).error == "out_of_range"


def test_latency_s_that_is_not_used_is_checked_all_the_same() -> None:
    assert refused(record(latency_ms=1, latency_s=-1)).error == "out_of_range"


# --- weight


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1_000_000),
        ("1.0", 1_000_000),
        ("0.5", 2_000_000),
        ("0.3", 3_333_333),
        ("0.15", 6_666_667),
        ("0.000001", 1_000_000_000_000),
        ("1e-6", 1_000_000_000_000),
        ("0.2048", 4_882_812),  # of 4,882,812.5: half to even
        ("0.00000115261667721", 867_591_125_283),  # of …282.50000004, where floats see …282.5
    ],
)
def test_the_weight_is_1_over_the_sample_rate_in_whole_millionths(text: str, expected: int) -> None:
    assert weight(with_field("sample_rate", text)) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0", "out_of_range"),
        ("0.0000009", "out_of_range"),
        ("1.0000001", "out_of_range"),
        ("2", "out_of_range"),
        ("-0.5", "out_of_range"),
        ("1e999", "out_of_range"),
        ('"0.5"', "wrong_type"),
        ("true", "wrong_type"),
    ],
)
def test_no_other_sample_rate(text: str, error: str) -> None:
    assert refused(with_field("sample_rate", text)).error == error


# --- attributes


@pytest.mark.parametrize("text", ["{}", '{"a": "b", "c": 1, "d": -1.5, "e": true, "f": null, "": ""}'])
def test_attributes_are_an_object_of_scalars(text: str) -> None:
    accepted(with_field("attributes", text))


@pytest.mark.parametrize("text", ["[]", '"a"', "1", "true", '{"a": []}', '{"a": {}}', '{"a": 1e400}'])
def test_attributes_are_nothing_else(text: str) -> None:
    assert refused(with_field("attributes", text)).error == "wrong_type"


# --- the record as a whole


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_value_is_refused(value: bytes | None) -> None:
    assert refused(value).error == "empty"


@pytest.mark.parametrize(
    "text", ["null", "1", '"a"', "[]", '[{"ts": 1790000000001, "service": "a"}]', "true", " 7 "]
)
def test_a_record_is_an_object(text: str) -> None:
    assert refused(text.encode()).error == "not_an_object"


@pytest.mark.parametrize(
    "value",
    [
        b" ",
        b"\n",
        b"{",
        b"}",
        b"not json",
        b"{'ts': 1}",
        b'{"ts": 1790000000001, "service": "a",}',
        b'{"ts": 01, "service": "a"}',
        b'{"ts": +1, "service": "a"}',
        b'{"ts": 1790000000001, "service": "a"} x',
        b'{"ts": 1790000000001, "service": "a"}{"ts": 1790000000001, "service": "a"}',
        b'{"ts": 1790000000001, "service": "a"}\n{"ts": 1790000000001, "service": "a"}',
        b'{"ts": 1790000000001, "service": "a"}\x00',
        b'{"ts": 1790000000001, "service": "a\nb"}',
        b'{"ts": 1790000000001, "service": "a", "x": tru}',
        b'{"ts": 1790000000001, "service": "a", "x": "\\x"}',
        b'\xef\xbb\xbf{"ts": 1790000000001, "service": "a"}',
        rb'{"ts": 1790000000001, "service": "\ud800"}',
        rb'{"ts": 1790000000001, "service": "a", "unknown": "\udc00 and more"}',
    ],
)
def test_a_record_is_one_json_document_of_unicode_text(value: bytes) -> None:
    assert refused(value).error == "not_json"


@pytest.mark.parametrize(
    "value",
    [
        b'{"ts": 1790000000001, "service": "\xff"}',
        b'{"ts": 1790000000001, "service": "a", "unknown": "\xc3"}',
        b'{"ts": 1790000000001, "service": "a", "\xed\xa0\x80": 1}',
        '{"ts": 1790000000001, "service": "a"}'.encode("utf-16"),
    ],
)
def test_a_record_is_utf_8_in_unknown_fields_too(value: bytes) -> None:
    assert refused(value).error == "not_utf8"


def test_white_space_around_a_record_and_in_it_means_nothing() -> None:
    value = b' \r\n\t{ "ts"\n: 1790000000001 ,\r"service":\t"a" , "status" : 200 } \n\r\n'
    assert key(value)[1] == "a"
    assert refused(value.replace(b"200", b"700")).detail.endswith("found 700")


def test_surrogate_pairs_and_escapes_are_text() -> None:
    assert key(rb'{"\u0074s": 1790000000001, "service": "\ud83d\ude00\u0000\n"}')[1] == "😀\0\n"


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    for text in ("1e400", "9" * 5000, "[[{}], 1]", '"\\u0000"', "-0", '{"service": 1}'):
        assert key(with_field("unknown", text)) == key(record())


def test_the_last_of_duplicate_keys_counts() -> None:
    assert outcome(b'{"ts": 1790000000001, "service": "a", "status": 500, "status": 200}') == (
        200,
        None,
        None,
    )
    assert outcome(b'{"ts": 1790000000001, "service": "a", "status": 500, "status": null}') == (
        None,
        None,
        None,
    )
    assert outcome(b'{"ts": 1790000000001, "service": "a", "status": 700, "status": 200}') == (
        200,
        None,
        None,
    )
    assert ts_ms(b'{"ts": "now", "service": 7, "ts": 1790000000005, "service": "a"}') == 1790000000005
    assert (
        refused(b'{"ts": 1790000000001, "service": "a", "status": 200, "status": 700}').error
        == "out_of_range"
    )


def test_a_record_may_have_1_mib_and_no_more() -> None:
    start = b'{"ts": 1790000000001, "service": "a", "tier": "'
    value = start + b"x" * (MIB - len(start) - 2) + b'"}'
    assert len(value) == MIB
    accepted(value)
    assert refused(value + b" ").error == "too_large"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_may_be_500_deep_and_no_deeper(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        inner = depth - 1  # the record itself is one
        return with_field("unknown", opening * inner + "1" + closing * inner)

    accepted(nested(500))
    accepted(nested(500)[:-1] + b', "beside": [[], [], {}]}')
    assert refused(nested(501)).error == "too_deep"
    assert refused(nested(100_000)).error == "too_deep"
    assert refused(b"[" * 400_000).error == "too_deep"
    assert refused(b'{"a":' * 1000).error == "too_deep"


def test_brackets_in_strings_and_side_by_side_do_not_nest() -> None:
    accepted(with_field("tier", json.dumps('[{"\\' * 1000)))
    accepted(with_field("tier", '"' + "\\\\" * 600 + '", "x": "' + "[" * 600 + '"'))
    accepted(with_field("unknown", "[" + ",".join(["[]"] * 1000) + "]"))


# --- what is said of a fault


def test_a_detail_names_every_faulty_field_and_what_was_found() -> None:
    reject = refused(b'{"ts": -5, "status": "200", "track": "prod"}')
    assert reject.error == "out_of_range" or reject.error == "missing_field"
    assert "service: expected a string of 1 to 200 characters, found none" in reject.detail
    assert "found -5" in reject.detail
    assert 'status: expected an integer from 100 to 599, found "200"' in reject.detail
    assert 'track: expected one of stable, canary, baseline, shadow, found "prod"' in reject.detail


def test_a_detail_is_bounded_and_utf_8_whatever_was_found() -> None:
    for name in RULES:
        assert len(refused(with_field(name, json.dumps(["é" * 10_000], ensure_ascii=False))).detail) < 250
    everything = ", ".join(f'"{name}": [{"1," * 200}1]' for name in RULES)
    assert len(refused(f"{{{everything}}}".encode()).detail) == 500
    assert len(refused("é".encode() * 1000).detail) < 250


def test_the_rules_speak_of_every_field_and_the_literals_are_the_models() -> None:
    assert list(RULES) == list(Event.__struct_fields__)
    assert Grpc.__args__ == tuple(GRPC_NUMBERS)  # type: ignore[attr-defined]
    assert ", ".join(Track.__args__) in RULES["track"].text  # type: ignore[attr-defined]
