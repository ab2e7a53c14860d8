"""Partials on the wire: what stage one tells stage two, in MessagePack with packed columns.

Every message says how far a reader of a source partition has come; one with a tally also carries what its
open chunk amounts to so far for the services of one target partition. Versioned; never pickled.
"""

from __future__ import annotations

import msgspec

from stream.sketch import from_bytes, to_bytes
from stream.wire.cohorts import CohortContents, Cohorts, pack_cohorts, unpack_cohorts
from stream.wire.columns import pack, unpack
from stream.wire.tally import NUMBERS, Tally
from stream.wire.versions import check_version, check_version_of

VERSION = 5
READABLE = (4, VERSION)
"""Version 4 lacks the fields whose defaults say so."""
RULE = 2
"""The rule by which chunks are cut (``window/chunk.py``). Two rules at once would overlap, so partials and
offsets name theirs; those that name none were cut by the first."""


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
    lateness_ms: int = 5_000
    """What the watermark allows for."""


class Contents(msgspec.Struct, array_like=True, frozen=True):
    """A tally, packed."""

    series: list[bytes]
    columns: list[str]
    endpoints: list[tuple[str, str, str]]
    numbers: list[bytes]
    """Of the tally, as ``NUMBERS`` names them."""
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
    cohorts: CohortContents | None = None
    """Of services that are analysed."""
    notices: list[bytes] = []
    """Deploy events (``wire/notice.py``); a message that has some has nothing else."""
    rule: int = 1
    """By which chunks are cut."""
    fences: list[tuple[int, int]] = []
    """(source, epoch): what older epochs of the source send from here on does not count."""

    @property
    def is_partial(self) -> bool:
        """Whether it tells of a chunk, and not of reports alone."""
        return self.contents is not None or self.cohorts is not None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_reports(reports: list[Report]) -> bytes:
    return _encoder.encode(Message(VERSION, reports, rule=RULE))


def encode_notices(notices: list[bytes]) -> bytes:
    return _encoder.encode(Message(VERSION, [], notices=notices, rule=RULE))


def encode_fences(fences: list[tuple[int, int]]) -> bytes:
    """``fences``: (source, epoch); see :class:`Message`."""
    return _encoder.encode(Message(VERSION, [], rule=RULE, fences=fences))


def encode_partial(
    report: Report, start: int, tally: Tally | None, final: bool, cohorts: Cohorts | None = None
) -> bytes:
    """``tally`` and ``cohorts``: what the chunk that begins at ``start`` holds so far, if anything."""
    contents = None
    if tally is not None:
        numbers = [pack(getattr(tally, name)) for name in NUMBERS]
        contents = Contents(tally.series, tally.columns, tally.endpoints, numbers, to_bytes(tally.digests))
    packed = None if cohorts is None else pack_cohorts(cohorts)
    return _encoder.encode(Message(VERSION, [report], start, contents, final, packed, rule=RULE))


def decode_message(data: bytes) -> Message:
    """Raises FormatError if it has a format that this Burngate does not read, ValueError if it is none."""
    try:
        message = _decoder.decode(data)
    except msgspec.DecodeError as error:
        check_version_of(data, "a partial that this one was to count", READABLE)
        raise ValueError(f"not a partial: {error}") from error
    check_version(message.version, "a partial that this one was to count", READABLE)
    return message


def unpack_chunk(message: Message) -> tuple[Tally, Cohorts | None]:
    """What a chunk holds so far. Raises ValueError when the columns cannot be read."""
    return (
        Tally.empty() if message.contents is None else unpack_tally(message.contents),
        None if message.cohorts is None else unpack_cohorts(message.cohorts),
    )


def unpack_tally(contents: Contents) -> Tally:
    """Raises ValueError when the columns cannot be read."""
    numbers = dict(zip(NUMBERS, map(unpack, contents.numbers), strict=True))
    digests = from_bytes(contents.digests)
    return Tally.of(contents.series, contents.columns, numbers, contents.endpoints, digests)
