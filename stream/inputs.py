"""Files of records for replay: numbered lines, in blocks, in memory that does not grow with the input."""

from __future__ import annotations

import codecs
import errno
import gzip
import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

import numpy as np
import zstandard
from numpy.typing import NDArray

from stream.errors import UsageError
from stream.wire.deadletter import Whole
from stream.wire.event import MAX_RECORD_BYTES
from stream.words import printable

STDIN = "-"
BLOCK_BYTES = 2 * 1024 * 1024

_GZIP, _ZSTD = ".gz", ".zst"
_CUT_SHORT = "the compressed file was cut short"
_KEPT_BYTES = MAX_RECORD_BYTES + 1
"""Kept of a line that is too long to be a record: enough to see that it is."""
_ZSTD_STEP_BYTES = 512
"""Compressed bytes per step. 4 of them can stand for 128 KiB, so a step yields at most 16 MiB."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of one file, without their ends; blank ones left out."""

    file: str
    """As it was named; ``-`` is stdin."""
    lines: list[bytes]
    """One of more than MAX_RECORD_BYTES bytes is cut one byte later: decoding refuses it as too large."""
    numbers: NDArray[np.int64]
    """Of each line, counted from 1, blank ones included."""
    bytes_read: int
    """Of all inputs so far, as stored (compressed)."""
    bytes_total: int | None
    """Of all inputs; None when one of them is stdin or a pipe."""
    wholes: dict[int, Whole] = field(default_factory=dict)
    """Size and hash of each line that was cut, by its place in ``lines``."""


def check_inputs(paths: Sequence[str]) -> None:
    """Raise UsageError, with all that is wrong, unless every input is there and may be read.

    Opens nothing: a pipe can be opened only once. That a compressed file was cut short shows at its end.
    """
    faults = [f"{printable(path)}: {fault}" for path in paths if (fault := _fault(path))]
    if paths.count(STDIN) > 1:
        faults.append(f"{STDIN}: stdin can be read only once")
    if faults:
        raise UsageError("\n".join(faults))


def blocks(
    paths: Sequence[str], block_bytes: int = BLOCK_BYTES, stdin: BinaryIO | None = None
) -> Iterator[Block]:
    """The lines of the inputs, one input after the other; a block never spans two of them.

    NDJSON; ``.gz`` and ``.zst`` (several members or frames, too) by name. A line is blank when it is empty or
    holds nothing but white space. A final CR is not part of a line, and the last line may lack its end.
    ``block_bytes`` is how many uncompressed bytes are looked at at a time; what is kept of a line beyond them
    is bounded, too. Raises UsageError when an input cannot be read, is damaged, or was cut short.
    """
    check_inputs(paths)
    bytes_total = _total_bytes(paths)
    bytes_before = 0
    for path in paths:
        try:
            with _opened(path, stdin) as file:
                stored = _Stored(file)
                for numbers, lines, wholes in _lines(_reader(path, stored), block_bytes):
                    bytes_read = bytes_before + stored.bytes_read
                    yield Block(path, lines, np.array(numbers, np.int64), bytes_read, bytes_total, wholes)
                bytes_before += stored.bytes_read
        except EOFError:
            raise UsageError(f"{printable(path)}: {_CUT_SHORT}") from None
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as fault:
            raise UsageError(f"{printable(path)}: the compressed file is damaged: {fault}") from None
        except OSError as fault:
            raise UsageError(f"{printable(path)}: {fault.strerror or fault}") from None


def _fault(path: str) -> str | None:
    if path == STDIN:
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError) as fault:
        return getattr(fault, "strerror", None) or str(fault)
    if stat.S_ISDIR(found.st_mode):
        return "is a directory, expected a file"
    if not os.access(path, os.R_OK):
        return os.strerror(errno.EACCES)
    if stat.S_ISREG(found.st_mode) and found.st_size == 0 and _suffix(path) in (_GZIP, _ZSTD):
        return _CUT_SHORT
    return None


def _total_bytes(paths: Sequence[str]) -> int | None:
    if all(os.path.isfile(path) for path in paths if path != STDIN) and STDIN not in paths:
        return sum(os.path.getsize(path) for path in paths)
    return None


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _opened(path: str, stdin: BinaryIO | None) -> nullcontext[BinaryIO] | BinaryIO:
    return nullcontext(stdin or sys.stdin.buffer) if path == STDIN else open(path, "rb")


class _Reader(Protocol):
    """Uncompressed bytes: as many as asked for, fewer only at the end. EOFError when they were cut short."""

    def read(self, size: int, /) -> bytes: ...


def _reader(path: str, stored: _Stored) -> _Reader:
    if _suffix(path) == _GZIP:
        return gzip.GzipFile(fileobj=cast(BinaryIO, stored), mode="rb")
    return _Zstd(stored) if _suffix(path) == _ZSTD else stored


class _Stored:
    """Bytes as they are stored, counted."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes_read = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data


class _Zstd:
    """zstandard's own reader takes a frame that was cut short for a whole one; this does not."""

    def __init__(self, stored: _Stored) -> None:
        self._stored = stored
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._inside = False
        self._compressed = b""
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        ready = [self._ready]
        ready_bytes = len(self._ready)
        while ready_bytes < size and (compressed := self._compressed or self._stored.read(_ZSTD_STEP_BYTES)):
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            ready.append(self._frame.decompress(compressed))
            ready_bytes += len(ready[-1])
            self._inside, self._compressed = not self._frame.eof, self._frame.unused_data
        if ready_bytes < size and self._inside:
            raise EOFError
        data = b"".join(ready)
        self._ready = data[size:]
        return data[:size]


_Lines = tuple[list[int], list[bytes], dict[int, Whole]]
"""Numbers, lines, and the wholes of those that were cut."""


def _lines(reader: _Reader, block_bytes: int) -> Iterator[_Lines]:
    first = 1
    open_line = _OpenLine()
    # Some editors and shells write a mark at the beginning of a file.
    begin = reader.read(max(block_bytes, len(codecs.BOM_UTF8))).removeprefix(codecs.BOM_UTF8)
    while data := begin or reader.read(block_bytes):
        begin = b""
        start, *rest = data.split(b"\n")
        open_line.extend(start)
        if rest:
            *lines, end = rest
            if b"\r" in data:
                lines = [line.removesuffix(b"\r") for line in lines]
            yield from _listed(first, open_line, lines)
            first += len(rest)
            open_line = _OpenLine()
            open_line.extend(end)
    yield from _listed(first, open_line, [])


def _listed(first: int, open_line: _OpenLine, complete: list[bytes]) -> Iterator[_Lines]:
    """Lines from the number ``first`` on, without blank ones, long ones cut (those are never blank)."""
    lines = [open_line.kept(), *complete]
    wholes = {0: open_line.whole()} if len(lines[0]) > MAX_RECORD_BYTES else {}
    if len(max(lines, key=len)) > MAX_RECORD_BYTES:
        wholes |= {i: Whole.of(line) for i, line in enumerate(lines) if i and len(line) > MAX_RECORD_BYTES}
        lines = [line[:_KEPT_BYTES] for line in lines]
    numbers = list(range(first, first + len(lines)))
    if not all(map(bytes.strip, lines)):
        kept = [i for i, line in enumerate(lines) if i in wholes or line.strip()]
        numbers, lines = [numbers[i] for i in kept], [lines[i] for i in kept]
        wholes = {kept.index(i): whole for i, whole in wholes.items()}
    if lines:
        yield numbers, lines, wholes


class _OpenLine:
    """A line whose end has not been seen yet; of a long one only the beginning is kept."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size_bytes = 0
        self._hash = hashlib.sha256()
        self._cr = b""

    def extend(self, data: bytes) -> None:
        """A CR at the end is held back: it may be the line's last byte, which is not part of it."""
        data = self._cr + data
        self._cr = data[-1:] if data.endswith(b"\r") else b""
        data = data.removesuffix(b"\r")
        self._kept += data[: _KEPT_BYTES - len(self._kept)]
        self._size_bytes += len(data)
        self._hash.update(data)

    def kept(self) -> bytes:
        return bytes(self._kept)

    def whole(self) -> Whole:
        return Whole(self._size_bytes, self._hash.hexdigest())
