"""The published schema of the request event agrees with the decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from test_decode_batches import written

from stream.wire.decode import decode
from stream.wire.event import RULES
from stream.wire.frame import Interner

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "request-event.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def decoder_takes(value: bytes) -> bool:
    return len(decode([value], Interner(), [-1])[0]) == 1


def test_the_schema_is_one_and_knows_exactly_the_fields_of_the_decoder() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(RULES)
    assert all("description" in field for field in SCHEMA["properties"].values())


def unsaid(fields: dict[str, Any]) -> bool:
    """Whether the record is one of those about which the schema says that it cannot judge them."""
    integers = [fields.get(name) for name in ("ts", "status", "grpc_status")]
    return fields.get("ts") is None or any(isinstance(number, float) for number in integers)


@given(written())
def test_schema_and_decoder_agree(value: bytes) -> None:
    fields = json.loads(value)
    if not unsaid(fields):
        assert VALIDATOR.is_valid(fields) == decoder_takes(value)


SERVICE = {"ts": 1790000000001, "service": "a"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ts": 1790000000001},
        {"service": None},
        [],
        "a",
        *({"ts": ts} for ts in (-1, 0, 253402300799999, 253402300800000, True, "1", "2026-11-23T05:00:10Z")),
        *(
            {"ts": ts}
            for ts in ("2026-11-23 05:00:10Z", "2026-11-23t05:00:10.5+01:00", "2026-11-23T24:00:10Z")
        ),
        *({"service": name} for name in ("", "a", "a" * 200, "😀" * 200, "a" * 201, 1)),
        *({"namespace": name} for name in ("", None, "a" * 200, "a" * 201, 1)),
        *({"endpoint": name} for name in ("", None, 1)),
        *({"method": name} for name in ("", None, 1)),
        *({"version": name} for name in ("", None, 1)),
        *({"tier": name} for name in ("", None, 1)),
        *({"status": status} for status in (99, 100, 599, 600, True, "200", None)),
        *({"grpc_status": status} for status in (-1, 0, 16, 17, True, "OK", "ok", "", None)),
        *({"ok": ok} for ok in (True, False, 1, "true", None)),
        *({"latency_ms": ms} for ms in (-1, 0, 0.5, True, "1", None)),
        *({"latency_s": s} for s in (-1, 0, 0.5, 1e305, 1e306, True, "1", None)),
        *({"sample_rate": rate} for rate in (0, 1e-6, 9e-7, 1, 1.1, True, "1", None)),
        *({"track": track} for track in ("stable", "canary", "baseline", "shadow", "", "x", 1, None)),
        *({"attributes": a} for a in ({}, {"a": 1, "b": None}, {"a": []}, {"a": {}}, [], "a", None)),
        {"unknown": [{}]},
    ],
    ids=str,
)
def test_schema_and_decoder_agree_on_every_bound(fields: Any) -> None:
    record = (
        SERVICE | fields if isinstance(fields, dict) and fields not in ({}, {"ts": 1790000000001}) else fields
    )
    assert VALIDATOR.is_valid(record) == decoder_takes(json.dumps(record).encode())
