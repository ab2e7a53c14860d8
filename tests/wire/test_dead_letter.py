"""The dead letter of section 5, to the last field."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from stream.wire.deadletter import Whole, dead_letter

KAFKA = {"topic": "request-events", "partition": 3, "offset": 41}
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_dead_letter_has_the_fields_of_the_contract_in_its_order() -> None:
    letter = dead_letter("not_json", "why", KAFKA, b"abc", 1795410010000)
    assert list(letter.items()) == [
        ("schema", "burngate.deadletter/v1"),
        ("error", "not_json"),
        ("detail", "why"),
        ("source", {"topic": "request-events", "partition": 3, "offset": 41}),
        ("payload_b64", "YWJj"),
        ("payload_bytes", 3),
        ("payload_sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("observed_at", "2026-11-23T05:00:10.000Z"),
    ]


def test_before_the_first_good_event_of_a_replay_nothing_was_observed() -> None:
    letter = dead_letter("not_json", "why", {"file": "-", "line": 1}, b"abc", None)
    assert letter["observed_at"] is None
    assert letter["source"] == {"file": "-", "line": 1}


@pytest.mark.parametrize("payload", [None, b""])
def test_a_tombstone_is_a_payload_of_no_bytes(payload: bytes | None) -> None:
    letter = dead_letter("empty", "why", KAFKA, payload, 0)
    assert (letter["payload_b64"], letter["payload_bytes"]) == ("", 0)
    assert letter["payload_sha256"] == EMPTY_SHA256


@pytest.mark.parametrize("size", [512 * 1024 - 1, 512 * 1024, 512 * 1024 + 1, 3 * 1024 * 1024])
def test_512_kib_of_the_payload_are_kept_and_the_whole_is_measured(size: int) -> None:
    payload = bytes(i % 251 for i in range(1024)) * (size // 1024 + 1)
    payload = payload[:size]
    letter = dead_letter("too_large", "why", KAFKA, payload, 0)
    assert base64.b64decode(letter["payload_b64"]) == payload[: 512 * 1024]
    assert letter["payload_bytes"] == size
    assert letter["payload_sha256"] == hashlib.sha256(payload).hexdigest()


def test_a_payload_of_which_only_the_beginning_is_at_hand_is_described_as_a_whole() -> None:
    payload = b"x" * (3 * 1024 * 1024)
    cut = dead_letter("too_large", "why", KAFKA, payload[: 1024 * 1024], 0, whole=Whole.of(payload))
    assert cut == dead_letter("too_large", "why", KAFKA, payload, 0)


def test_too_short_a_beginning_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        dead_letter("too_large", "why", KAFKA, b"x" * 100, 0, whole=Whole.of(b"x" * 1000))


def test_a_file_name_that_is_no_text_can_still_be_written() -> None:
    letter = dead_letter("not_json", "bad \udcff", {"file": "caf\udce9.ndjson", "line": 1}, b"\xff", None)
    assert json.dumps(letter, ensure_ascii=False).encode()
    assert letter["source"]["file"] == r"caf\udce9.ndjson"
