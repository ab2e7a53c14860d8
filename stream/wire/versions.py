"""Formats of what is kept and handed on: which of them this Burngate reads (docs/design.md)."""

from __future__ import annotations

import msgspec

from stream.errors import FormatError


def check_version(version: int, what: str, readable: tuple[int, ...]) -> None:
    """Raises FormatError on a format that is none of the ``readable`` ones."""
    if version not in readable:
        written = "a newer" if version > max(readable) else "an older"
        raise FormatError(
            f"{written} Burngate wrote {what}: format {version}, and this one reads "
            f"{' and '.join(map(str, readable))} (docs/operations.md, Upgrades)"
        )


def check_version_of(data: bytes, what: str, readable: tuple[int, ...]) -> None:
    """As :func:`check_version`, for bytes that have not the form of the present format: all formats are
    MessagePack arrays that begin with their number. Other bytes are not for this function to refuse."""
    try:
        found = msgspec.msgpack.decode(data)
    except msgspec.DecodeError:
        return
    if isinstance(found, list) and found and type(found[0]) is int:
        check_version(found[0], what, readable)
