"""The record of a refused record, as it goes to `dead-letters` (contract, section 5)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stream.wire.rfc3339 import format_ms

SCHEMA = "burngate.deadletter/v1"
MAX_PAYLOAD_BYTES = 512 * 1024
"""How much of the payload is kept."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Size and hash of a payload of which only the beginning was kept in memory."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, payload: bytes) -> Whole:
        return cls(len(payload), hashlib.sha256(payload).hexdigest())


def dead_letter(
    error: str,
    detail: str,
    source: Mapping[str, str | int],
    payload: bytes | None,
    observed_at_ms: int | None,
    *,
    whole: Whole | None = None,
) -> dict[str, Any]:
    """A dead letter, ready for JSON.

    ``source`` is {topic, partition, offset} or {file, line}. ``payload`` None (a tombstone) is shown as one
    of no bytes. ``whole`` describes the payload when ``payload`` is but its beginning, of at least
    MAX_PAYLOAD_BYTES bytes.
    """
    payload = payload or b""
    assert whole is None or len(payload) >= min(whole.size_bytes, MAX_PAYLOAD_BYTES), "too little was kept"
    whole = whole or Whole.of(payload)
    return {
        "schema": SCHEMA,
        "error": error,
        "detail": _encodable(detail),
        "source": {
            key: _encodable(place) if isinstance(place, str) else place for key, place in source.items()
        },
        "payload_b64": b64encode(payload[:MAX_PAYLOAD_BYTES]).decode(),
        "payload_bytes": whole.size_bytes,
        "payload_sha256": whole.sha256,
        "observed_at": None if observed_at_ms is None else format_ms(observed_at_ms),
    }


def _encodable(text: str) -> str:
    """Text that UTF-8 can carry; the name of a file need not be."""
    return text.encode("utf-8", "backslashreplace").decode()
