"""Numbering what a batch holds, without sorting it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_ROOM = 1 << 16


def numbered(codes: Ints) -> tuple[Ints, Ints]:
    """The distinct codes, ascending, and the place among them of each; codes are not negative.

    Where they lie close together, as they do but for wild timestamps, it takes three passes and no sorting.
    """
    room = int(codes.max()) + 1 if len(codes) else 0
    if room > _ROOM + 4 * len(codes):
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place.astype(np.int64)
    is_there = np.zeros(room, bool)
    is_there[codes] = True
    distinct = np.flatnonzero(is_there)
    number = np.empty(room, np.int64)
    number[distinct] = np.arange(len(distinct))
    return distinct, number[codes]
