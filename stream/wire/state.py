"""State records: keys and values of the compacted state topic (docs/design.md).

A key is a kind and a place in it; a value is MessagePack, numbers in packed columns. Versioned by the record
under ``KEY_SHARD``, never pickled. What is recorded where is told in ``slo/snapshot.py``; the kind ``part``
is that of ``wire/parts.py``.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from stream.wire.versions import check_version, check_version_of

VERSION = 4
READABLE = (3, VERSION)
"""Version 3 lacks the fields whose defaults say so; restoring gives them their meaning."""
PLAIN_NAMES = 3
"""State up to this format has names joined as they are, without marks for what parts them."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Base of all values."""


class SourceRecord(Record, frozen=True):
    """What is known of one source partition."""

    number: int
    reach: tuple[int, int, int]
    """(epoch, end, term)."""
    watermark_ms: int
    coming: list[tuple[int, int]]
    """(reported at, watermark) of reports that wait for evidence of idleness."""
    oldest_minute: int
    """Older ones of its open chunk are no part of the percentiles: they came too late."""
    final: tuple[int, int, int] | None
    """(epoch, start, end) of its newest chunk when that one is complete; else it is under ``open``."""
    reached_ms: int = 0
    """When it was first reported that its reader had come so far."""
    rule: int = 1
    """By which its chunks are cut."""
    newest_minute: int | None = None
    """Later ones of its open chunk are no part of the percentiles: they were too far ahead."""
    lateness_ms: int = 5_000
    """What its reader allows for."""


class ShardRecord(Record, frozen=True):
    version: int
    position: int
    """Offset of the first partial that is not in the state."""
    decided_s: int | None
    newest_s: int | None
    watermark_ms: int | None
    coming: list[int]
    """Panes that wait for their tick."""
    rows: list[str]
    """Counting keys of the SLOs, by the numbers that pane records use."""
    sources: list[SourceRecord]
    idle_as_of_ms: int | None
    """While all sources are idle: up to when event time was advanced for it."""
    rests_on_ms: int | None = None
    """When the word was reported that event time rests on."""
    first: bytes = b""
    """By row: pane of the first counted event; ``newest`` that of the newest. Nearly all of them change at
    every tick: as records of their own they would be most of a checkpoint."""
    newest: bytes = b""
    generation: int = 0
    """Of the pane records that count: it grows when all of them are written anew."""
    fences: list[tuple[int, int]] = []
    """(source, epoch): what older epochs of the source send does not count."""


class RowRecord(Record, frozen=True):
    """The state of one SLO's alerts."""

    held_last_minute: bool
    below_rollback: bool
    alerts: list[tuple[int, int | None, str, str, int, int]]
    """(window_s, short_window_s, threshold, state, starts_at_s, false_for_s)."""
    period: tuple[int, bytes] | None
    """(start in s, sums) of a calendar window."""
    slices: list[tuple[int, str, str]]
    """(end in s, weight, bad weight): decimal texts, for they may exceed 64 bits."""
    decided_by: str = ""
    """What its freeze and rollback states were last decided by; empty: nothing was decided, or it is not
    known (version 3)."""
    windows: list[int] | None = None
    """Lengths of its longest rolling window on each grid, by which its panes are held; None: those of the SLO
    files (version 3)."""
    complete_s: int = 0
    """From when on its counts are complete, where its windows were made longer."""


class ServiceRecord(Record, frozen=True):
    frozen: bool
    versions: list[tuple[str, int, int, int]] = []
    """(version, first_ms, last_end_s, decided_s): of format 3."""
    under: list[str] | None = None
    """SLOs that are under their freeze threshold; None: not known (version 3)."""


class PaneRecord(Record, frozen=True):
    rows: bytes
    sums: bytes


class PendingRecord(Record, frozen=True):
    rows: bytes
    sums: bytes
    versions: list[tuple[str, str, str, int]] = []
    """(namespace, service, version, first_ms): of format 3."""
    sightings: list[tuple[str, str, str, int]] = []
    """(namespace, service, version, events)."""


class VersionRecord(Record, frozen=True):
    """One version of a service. While it is seen, sightings tell when it was seen last."""

    service: tuple[str, str]
    version: str
    began_ms: int
    last_s: int
    served_s: int
    condemned_s: int | None


class SightingsRecord(Record, frozen=True):
    """What was seen in one pane, of all services: columns by the numbers that version records have."""

    numbers: bytes
    events: bytes
    served_s: bytes


class RolledBackRecord(Record, frozen=True):
    """Deploy events of one service that say that a version was taken back."""

    waiting: list[tuple[str, str | None, int, str | None, int]]
    """(deployment, share in percent, at, version, tick at which it counts)."""
    counted: list[tuple[str, str | None, int]]
    """(deployment, share in percent, at)."""
    forgotten_ms: int


class HistoryRecord(Record, frozen=True):
    pairs: bytes
    weights: bytes
    bad_weights: bytes
    unit: int = 1
    """Weights are in so many millionths."""


class PairRecord(Record, frozen=True):
    series: tuple[str, str, str, str, str, str]
    column: str
    folded: list[int] | None
    """Rows that a folded pair feeds, as pane records number them; None: the series is what it says."""


R = TypeVar("R", bound=Record)

_encoder = msgspec.msgpack.Encoder()

for _kind in Record.__subclasses__():
    # msgspec learns a type when it first meets it. Two threads that restore meet it at once, and the second
    # one reads what the first has not filled in yet: a segmentation fault.
    msgspec.msgpack.Decoder(_kind)


def encode(record: Record) -> bytes:
    return _encoder.encode(record)


def decode(kind: type[R], data: bytes) -> R:
    """Raises ValueError on bytes that are not such a record."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


def decode_shard(data: bytes) -> ShardRecord:
    """The record that names the format of all. Raises FormatError if it is not one that this Burngate reads,
    ValueError on bytes that are no such record."""
    try:
        record = decode(ShardRecord, data)
    except ValueError:
        check_version_of(data, "this state", READABLE)
        raise
    check_version(record.version, "this state", READABLE)
    return record


def key(kind: str, *place: object) -> bytes:
    """``kind``, then its place, separated by a byte that no name has."""
    return "\0".join([kind, *map(str, place)]).encode()


def parse_key(data: bytes) -> tuple[str, list[str]]:
    kind, *place = data.decode().split("\0")
    return kind, place
