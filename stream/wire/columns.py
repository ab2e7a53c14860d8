"""Integer columns as bytes, each in the narrowest width that holds it: what partials and state hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_WIDTHS = (("b", "i1"), ("h", "<i2"), ("i", "<i4"), ("q", "<i8"))
_KINDS = {code.encode(): kind for code, kind in _WIDTHS}


def pack(column: NDArray[np.signedinteger[Any]]) -> bytes:
    """One byte that names the width, then the numbers; shape is the reader's to know."""
    low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
    for code, kind in _WIDTHS:
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return code.encode() + column.astype(kind).tobytes()
    raise AssertionError("an int64 fits in eight bytes")


def unpack(data: bytes) -> Ints:
    """The column, as int64. Raises ValueError on bytes that :func:`pack` did not write."""
    kind = _KINDS.get(data[:1])
    if kind is None:
        raise ValueError(f"not a column: {data[:1]!r}")
    return np.frombuffer(data, kind, offset=1).astype(np.int64)
