"""The buckets of log histograms: fixed for everybody, so that merging is exact adding.

Bucket i covers (g^(i−1), g^i] ms with g = 2^(1/64), about 1.1 %. One bucket holds zero; what is at most a
nanosecond or above about 34 years falls into the first and last of the others. Edges are compared as whole
numbers, rounded down from their exact values: no machine's logarithm decides where a latency belongs.
"""

from __future__ import annotations

from math import ceil, isqrt, log2

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PER_OCTAVE = 64
LOWEST = -20 * PER_OCTAVE
"""Covers (0, 2^−20] ms."""
HIGHEST = 40 * PER_OCTAVE
"""Covers all above 2^(40 − 1/64) ms."""
ZERO = LOWEST - 1
SPAN_BITS = 12
"""Bits that number the buckets from ZERO up."""

_MANTISSA_BITS = 52
_EXPONENT_BIAS = 1023
_SLOT_BITS = 8


def _root_of_two(step: int) -> int:
    """⌊2^(52 + step/64)⌋, exactly: six square roots are a 64th root."""
    power = 1 << (PER_OCTAVE * _MANTISSA_BITS + step)
    for _ in range(PER_OCTAVE.bit_length() - 1):
        power = isqrt(power)
    return power


_EDGE_MANTISSAS = np.array([_root_of_two(j) - (1 << _MANTISSA_BITS) for j in range(PER_OCTAVE + 1)], np.int64)
_GUESSES = np.searchsorted(
    _EDGE_MANTISSAS, np.arange(1 << _SLOT_BITS, dtype=np.int64) << (_MANTISSA_BITS - _SLOT_BITS)
)
"""[256] of the least mantissa with these leading bits, its step; a slot is narrower than a bucket, so that
within it there is at most one edge."""


def buckets_of(values: Floats) -> NDArray[np.int32]:
    """int32[n] of finite float64[n] ≥ 0."""
    bits = (values + 0.0).view(np.int64)
    mantissas = bits & ((1 << _MANTISSA_BITS) - 1)
    octaves = (bits >> _MANTISSA_BITS) - _EXPONENT_BIAS
    steps = _GUESSES[mantissas >> (_MANTISSA_BITS - _SLOT_BITS)]
    steps = steps + (mantissas > _EDGE_MANTISSAS[steps])
    buckets = np.clip(octaves * PER_OCTAVE + steps, LOWEST, HIGHEST)
    buckets[bits == 0] = ZERO
    return np.asarray(buckets, np.int32)


def upper_edges(buckets: NDArray[np.integer]) -> Floats:
    """The largest float that belongs to each bucket; of the last one, the largest below its exact edge."""
    octaves, steps = np.divmod(np.asarray(buckets, np.int64), PER_OCTAVE)
    edges = np.ldexp(1.0 + np.ldexp(_EDGE_MANTISSAS[steps].astype(np.float64), -_MANTISSA_BITS), octaves)
    return np.where(np.asarray(buckets) <= ZERO, 0.0, edges)


def middles(buckets: NDArray[np.integer]) -> Floats:
    """The geometric middle of each bucket: within 0.6 % of every value in it."""
    return upper_edges(buckets) * 2 ** (-0.5 / PER_OCTAVE)


def ratio_of_shift(shift: NDArray[np.integer] | int) -> Floats:
    """By how much a value grows over so many buckets."""
    return np.asarray(np.exp2(np.asarray(shift, np.float64) / PER_OCTAVE))


def shift_of_ratio(ratio: float) -> int:
    """The fewest whole buckets by which a value grows at least by ``ratio``."""
    # The tolerance keeps a ratio that is a whole number of buckets from being rounded up to the next.
    return ceil(log2(ratio) * PER_OCTAVE - 1e-9)
