"""Integer columns as bytes, each in the narrowest width that holds it: what partials and state hold.

State may hold sums beyond int64 (``sketch/whole.py``); partials, which are of one chunk, never do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.sketch.whole import Whole, is_wide, narrowed

_WIDTHS = (("b", "i1"), ("h", "<i2"), ("i", "<i4"), ("q", "<i8"))
_WIDE, _WIDE_BYTES = b"w", 12
"""The low 32 bits of all numbers, then the rest of them as 64."""
_KINDS = {code.encode(): kind for code, kind in _WIDTHS}


def pack(column: NDArray[Any]) -> bytes:
    """One byte that names the width, then the numbers; shape is the reader's to know."""
    if is_wide(column):
        parts = (column.ravel() & 0xFFFF_FFFF).astype("<u4"), (column.ravel() >> 32).astype("<i8")
        return _WIDE + b"".join(part.tobytes() for part in parts)
    low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
    for code, kind in _WIDTHS:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return code.encode() + column.astype(kind).tobytes()
    raise AssertionError("an int64 fits in eight bytes")


def unpack(data: bytes) -> Whole:
    """The column, as int64; what only Python's own integers hold as these. Raises ValueError on bytes that
    :func:`pack` did not write."""
    if data[:1] == _WIDE:
        count, rest = divmod(len(data) - 1, _WIDE_BYTES)
        if rest:
            raise ValueError(f"not a column: {len(data)} bytes")
        low = np.frombuffer(data, "<u4", count, 1).astype(object)
        high = np.frombuffer(data, "<i8", count, 1 + 4 * count).astype(object)
        return narrowed(low + (high << 32))
    kind = _KINDS.get(data[:1])
    if kind is None:
        raise ValueError(f"not a column: {data[:1]!r}")
    return np.frombuffer(data, kind, offset=1).astype(np.int64)
