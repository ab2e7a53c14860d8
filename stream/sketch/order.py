"""Sorting many segments at once.

A general lexicographic sort of millions of centroids costs more than everything else in a merge. So the
segment, the leading bits of the value and the position are packed into one unsigned word, the words are
sorted plainly, and only runs whose leading bits tie without being in order are sorted again, exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WORD_BITS = 64


def segmented_order(
    segments: NDArray[np.int64],
    values: NDArray[np.float64],
    *ties: NDArray[np.bool_] | NDArray[np.float32],
) -> NDArray[np.int64]:
    """The order that sorts by segment, then value, then each of ``ties`` in turn.

    ``segments`` int64[n] ≥ 0; ``values`` float64[n] finite, ≥ 0 and never −0.0. Any order where all tie.
    """
    n = segments.size
    if n == 0:
        return np.empty(0, np.int64)
    position_bits = max(1, (n - 1).bit_length())
    segment_bits = max(1, int(segments.max()).bit_length())
    lead_bits = _WORD_BITS - position_bits - segment_bits
    assert lead_bits > 0, "more segments and values than one pass can hold"
    # The bits of non-negative floats are ordered as the floats are; without the least there is room for more.
    lead = values.view(np.uint64) - values.min().view(np.uint64)
    lead >>= np.uint64(max(0, int(lead.max()).bit_length() - lead_bits))
    words = segments.astype(np.uint64)
    words <<= np.uint64(lead_bits)
    words |= lead
    words <<= np.uint64(position_bits)
    words |= np.arange(n, dtype=np.uint64)
    words.sort()
    order = (words & np.uint64((1 << position_bits) - 1)).astype(np.int64)
    words >>= np.uint64(position_bits)
    _mend_ties(order, words, (values, *ties))
    return order


def _mend_ties(
    order: NDArray[np.int64],
    words: NDArray[np.uint64],
    columns: tuple[NDArray[np.float64] | NDArray[np.bool_] | NDArray[np.float32], ...],
) -> None:
    """Sort, in place, the runs of equal ``words`` in which ``columns`` are out of order."""
    joined = np.flatnonzero(words[1:] == words[:-1])
    left, right = order[joined], order[joined + 1]
    wrong = np.zeros(joined.size, np.bool_)
    for column in reversed(columns):
        wrong = (column[left] > column[right]) | ((column[left] == column[right]) & wrong)
    if not wrong.any():
        return
    runs = np.cumsum(np.concatenate(([True], words[1:] != words[:-1])))
    mixed_up = np.zeros(int(runs[-1]) + 1, np.bool_)
    mixed_up[runs[joined[wrong]]] = True
    where = np.flatnonzero(mixed_up[runs])
    chosen = order[where]
    order[where] = chosen[np.lexsort((*(column[chosen] for column in reversed(columns)), runs[where]))]
