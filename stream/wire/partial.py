"""Partials on the wire: what stage one tells stage two, in MessagePack with packed columns.

Every message says how far a reader of a source partition has come; one with a tally also carries what its
open chunk amounts to so far for the services of one target partition. Versioned; never pickled.
"""

from __future__ import annotations

import msgspec

from stream.sketch import from_bytes, to_bytes
from stream.wire.columns import pack, unpack
from stream.wire.tally import Tally

VERSION = 3

_COLUMNS = (
    "entry_series",
    "entry_pane",
    "entry_events",
    "entry_first_ms",
    "cell_entry",
    "cell_column",
    "cell_events",
    "cell_weight",
    "cell_bad",
    "cell_bad_weight",
)


class Report(msgspec.Struct, array_like=True, frozen=True):
    """How far the reader of a source partition has come."""

    source: int
    epoch: int
    end: int
    """Everything below this offset is in acknowledged partials."""
    term: int
    """Generation of the consumer group in which the reader owns the partition."""
    watermark_ms: int | None
    """Largest ts so far − allowed lateness; None before the first event."""
    idle_as_of_ms: int | None = None
    """Long after the last record a fetch showed nothing more to read, and was asked for after a record that
    the broker stamped with this time had been acknowledged; None: not idle."""


class Contents(msgspec.Struct, array_like=True, frozen=True):
    """A tally, packed."""

    series: list[bytes]
    columns: list[str]
    endpoints: list[tuple[str, str, str]]
    numbers: list[bytes]
    """The columns of ``_COLUMNS``, in order."""
    digests: bytes


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One record of the partials topic: reports alone, or one report and the chunk's contents."""

    version: int
    reports: list[Report]
    start: int = 0
    """First offset of the chunk; its end is the report's."""
    contents: Contents | None = None
    final: bool = False
    """The chunk ends here: these are its contents for ever."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_reports(reports: list[Report]) -> bytes:
    return _encoder.encode(Message(VERSION, reports))


def encode_partial(report: Report, start: int, tally: Tally, final: bool) -> bytes:
    numbers = [pack(getattr(tally, name)) for name in _COLUMNS]
    contents = Contents(tally.series, tally.columns, tally.endpoints, numbers, to_bytes(tally.digests))
    return _encoder.encode(Message(VERSION, [report], start, contents, final))


def decode_message(data: bytes) -> Message:
    """Raises ValueError on what is not a message of this version."""
    try:
        message = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a partial: {error}") from error
    if message.version != VERSION:
        raise ValueError(f"a partial of version {message.version}, expected {VERSION}")
    return message


def unpack_tally(contents: Contents) -> Tally:
    """Raises ValueError when the columns cannot be read."""
    numbers = {name: unpack(data) for name, data in zip(_COLUMNS, contents.numbers, strict=True)}
    return Tally(
        series=contents.series,
        columns=contents.columns,
        endpoints=contents.endpoints,
        digests=from_bytes(contents.digests),
        **numbers,
    )
