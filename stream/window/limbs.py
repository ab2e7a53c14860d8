"""Exact counts as rows of integers.

A row of sums is six int64: events, bad events, and the two weighted counts in two limbs each (whole units
and millionths). Weights are integers of millionths up to 10¹² (contract, section 1), so one int64 of
millionths would overflow after 9.2 million such events; limbs overflow after 9·10¹² events of any weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENTS, BAD, WHOLE, MICRO, BAD_WHOLE, BAD_MICRO = range(6)
WIDTH = 6
MILLION = 1_000_000
_SAFE_WHOLE, _SAFE_MICRO = 4 * 10**12, 4 * 10**18
"""Limbs up to these make a number that fits int64."""

Sums = NDArray[np.int64]
"""Shape [n, 6], or [6] for one row."""


def limbs(events: Sums, weight: Sums, bad: Sums, bad_weight: Sums) -> Sums:
    """Rows of sums, shape [n, 6], from counts and weights in millionths, shape [n] each."""
    rows = np.empty((len(events), WIDTH), np.int64)
    rows[:, EVENTS] = events
    rows[:, BAD] = bad
    np.divmod(weight, MILLION, rows[:, WHOLE], rows[:, MICRO])
    np.divmod(bad_weight, MILLION, rows[:, BAD_WHOLE], rows[:, BAD_MICRO])
    return rows


def total(row: Sums) -> int:
    """N of one row, exactly, in millionths."""
    return int(row[WHOLE]) * MILLION + int(row[MICRO])


def total_bad(row: Sums) -> int:
    """B of one row, exactly, in millionths."""
    return int(row[BAD_WHOLE]) * MILLION + int(row[BAD_MICRO])


def totals(rows: Sums) -> tuple[NDArray[Any], NDArray[Any]]:
    """B and N of many rows at once, exactly, in millionths: of shape [..., 6] to [...] each. Python's own
    integers where int64 does not hold them."""
    far = np.abs(rows[..., WHOLE:]).max(axis=tuple(range(rows.ndim - 1)), initial=0)
    if (far[::2] > _SAFE_WHOLE).any() or (far[1::2] > _SAFE_MICRO).any():
        rows = rows.astype(object)
    return (
        rows[..., BAD_WHOLE] * MILLION + rows[..., BAD_MICRO],
        rows[..., WHOLE] * MILLION + rows[..., MICRO],
    )
