"""Partials that are larger than a Kafka record may be, in several records one after the other.

How many columns an event counts in is the SLO files' matter, so no rule of cutting chunks keeps a partial
small. Its pieces go to one partition in order, other readers' messages between them. A reader that dies in
the middle is followed by one that says it all again.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream.wire.partial import Report

PIECE_BYTES = 900_000
_MARK = b"\xc1"
"""No MessagePack begins with it."""


class Piece(msgspec.Struct, array_like=True, frozen=True):
    source: int
    epoch: int
    term: int
    end: int
    """Of the report in the whole message."""
    number: int
    count: int
    data: bytes

    @property
    def reader(self) -> tuple[int, int]:
        """Larger for a later one of the same source."""
        return self.epoch, self.term

    def continues(self, other: Piece) -> bool:
        return (
            self.reader == other.reader
            and (self.end, self.count) == (other.end, other.count)
            and self.number == other.number + 1
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Piece).decode
_decode_all = msgspec.msgpack.Decoder(list[Piece]).decode


def split(message: bytes, report: Report) -> list[bytes]:
    """The records that carry a message: mostly one."""
    if len(message) <= PIECE_BYTES:
        return [message]
    count = -(-len(message) // PIECE_BYTES)
    place = report.source, report.epoch, report.term, report.end
    return [
        _MARK + _encode(Piece(*place, n, count, message[n * PIECE_BYTES : (n + 1) * PIECE_BYTES]))
        for n in range(count)
    ]


class Pieces:
    """What of one partition's messages has come so far, by source."""

    def __init__(self) -> None:
        self._open: dict[int, list[Piece]] = {}
        self._changed: set[int] = set()
        self._stored: set[int] = set()

    def take(self, record: bytes) -> bytes | None:
        """The message that is whole with this record; None if there is none. Raises ValueError."""
        if not record.startswith(_MARK):
            return record
        try:
            piece = _decode(record[len(_MARK) :])
        except msgspec.DecodeError as error:
            raise ValueError(f"not a piece of a partial: {error}") from error
        before = self._open.get(piece.source, [])
        if before and piece.reader < before[0].reader:
            return None  # a zombie's
        if piece.number == 0:
            now = [piece]
        elif before and piece.continues(before[-1]):
            now = [*before, piece]
        else:
            return None  # a zombie's, whose beginning has made room for a later reader's
        is_whole = len(now) == piece.count
        self._put(piece.source, [] if is_whole else now)
        return b"".join(one.data for one in now) if is_whole else None

    def _put(self, source: int, pieces: list[Piece]) -> None:
        if pieces:
            self._open[source] = pieces
        else:
            self._open.pop(source, None)
        self._changed.add(source)

    def restore(self, source: int, stored: bytes) -> None:
        """Raises ValueError."""
        try:
            self._open[source] = _decode_all(stored)
        except msgspec.DecodeError as error:
            raise ValueError(f"not pieces of a partial: {error}") from error
        self._stored.add(source)

    def changes(self) -> Iterator[tuple[int, bytes | None]]:
        """What is to be stored by source, None deletes; afterwards it counts as stored."""
        for source in sorted(self._changed):
            pieces = self._open.get(source)
            if pieces is not None:
                self._stored.add(source)
                yield source, _encode(pieces)
            elif source in self._stored:
                self._stored.discard(source)
                yield source, None
        self._changed.clear()
