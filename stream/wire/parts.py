"""State records that are larger than a Kafka record may be, in parts under keys of their own.

Topics of hosted Kafka take records of a megabyte, and policies keep it so. A part's key is its number and the
whole one's key; each part says how many there are. All of them change in one transaction, so whoever reads
committed records finds all or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

PART_BYTES = 900_000
_PREFIX = b"part\0"


class _Part(msgspec.Struct, array_like=True, frozen=True):
    count: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Part).decode


class Parts:
    """Knows which of the stored records are in parts. One for each owner of a partition's state."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def join(self, stored: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The records as they were before they were split. Raises ValueError where a part is missing."""
        whole: dict[bytes, bytes] = {}
        parts: dict[bytes, dict[int, _Part]] = {}
        for name, value in stored.items():
            if name.startswith(_PREFIX):
                number, _, key = name.removeprefix(_PREFIX).partition(b"\0")
                try:
                    parts.setdefault(key, {})[int(number)] = _decode(value)
                except msgspec.DecodeError as error:
                    raise ValueError(f"not a part of a record: {error}") from error
            else:
                whole[name] = value
        for key, found in parts.items():
            count = found[min(found)].count
            if sorted(found) != list(range(count)) or key in whole:
                raise ValueError(f"{key!r} has parts {sorted(found)} of {count}")
            self._counts[key] = count
            whole[key] = b"".join(found[number].data for number in range(count))
        return whole

    def split(self, changes: Mapping[bytes, bytes | None]) -> Iterator[tuple[bytes, bytes | None]]:
        """What is to be written for these changes; afterwards they count as stored."""
        for key, value in changes.items():
            before = self._counts.pop(key, 0)
            count = 0
            if value is None or len(value) <= PART_BYTES:
                yield key, value
            else:
                if not before:
                    yield key, None  # it may have been small
                count = self._counts[key] = -(-len(value) // PART_BYTES)
                for number in range(count):
                    piece = value[number * PART_BYTES : (number + 1) * PART_BYTES]
                    yield _part_key(key, number), _encode(_Part(count, piece))
            for number in range(count, before):
                yield _part_key(key, number), None


def _part_key(key: bytes, number: int) -> bytes:
    return b"%s%d\0%s" % (_PREFIX, number, key)
