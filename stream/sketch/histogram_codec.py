"""Histograms as bytes: a version, two lengths, then columns in the narrowest whole numbers. Never pickled."""

from __future__ import annotations

import struct

import numpy as np

from stream.sketch.buckets import HIGHEST, ZERO, Ints
from stream.sketch.histogram import ONE, HistogramSet
from stream.sketch.narrow import Reader, ints_to_bytes, narrow_ints
from stream.sketch.whole import Whole, is_wide, narrowed, times

VERSION = 1
_HEADER = struct.Struct("<BIIB")
_WHOLE = 1
"""Flag: all weights are whole requests, written as such."""
_WIDE = 2
"""Flag: squares and weights are two columns each, the low 32 bits and the rest."""
_LOW = (1 << 32) - 1


def histograms_to_bytes(histograms: HistogramSet) -> bytes:
    weights = histograms.weights
    in_requests = not (weights % ONE).any()
    written = narrowed(weights // ONE) if in_requests else weights
    wide = is_wide(written) or is_wide(histograms.squares)
    # Within a histogram the step from one filled bucket to the next is small, and fits a byte.
    steps: Ints = np.diff(histograms.buckets.astype(np.int64), prepend=ZERO).astype(np.int64)
    starts = histograms.offsets[:-1][histograms.sizes > 0]
    steps[starts] = histograms.buckets[starts].astype(np.int64) - ZERO
    columns: tuple[Ints, ...] = (
        np.diff(histograms.keys, prepend=0).astype(np.int64),
        histograms.count,
        *_limbs(histograms.squares, wide),
        histograms.sizes,
        steps,
        *_limbs(written, wide),
    )
    head = _HEADER.pack(VERSION, len(histograms), len(weights), _WHOLE * in_requests | _WIDE * wide)
    return b"".join([head, *(ints_to_bytes(narrow_ints(column)) for column in columns)])


def _limbs(column: Whole, wide: bool) -> tuple[Ints, ...]:
    return ((column & _LOW).astype(np.int64), (column >> 32).astype(np.int64)) if wide else (column,)


def histograms_from_bytes(data: bytes) -> HistogramSet:
    """Raises ValueError when the bytes are not what :func:`histograms_to_bytes` writes."""
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no histograms")
    version, k, n, flags = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"histograms of version {version}, expected {VERSION}")
    reader = Reader(data, _HEADER.size)

    def column(length: int) -> Ints:
        return reader.ints(length).astype(np.int64)

    def exact(length: int) -> Whole:
        low = column(length)
        if not flags & _WIDE:
            return low
        return narrowed(low.astype(object) + (column(length).astype(object) << 32))

    steps_of_keys, count, squares, sizes = column(k), column(k), exact(k), column(k)
    steps, weights = column(n), exact(n)
    if reader.place != len(data):
        raise ValueError(f"{len(data)} bytes are too many for {k} histograms of {n} buckets")
    if (sizes < 0).any() or (sizes > n).any() or int(sizes.sum()) != n:
        raise ValueError(f"the sizes of {k} histograms do not add up to {n} buckets")
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    inner = np.ones(n, np.bool_)
    inner[offsets[:-1][sizes > 0]] = False
    if (steps < 0).any() or (steps > HIGHEST - ZERO).any() or (steps[inner] == 0).any():
        raise ValueError("the histograms' buckets are out of order")
    sums = np.concatenate(([0], np.cumsum(steps)))
    buckets = sums[1:] - np.repeat(sums[offsets[:-1]], sizes) + ZERO
    histograms = HistogramSet(
        np.cumsum(steps_of_keys),
        count,
        squares,
        offsets,
        buckets.astype(np.int32),
        times(weights, ONE) if flags & _WHOLE else weights,
    )
    if not _sound(histograms, buckets):
        raise ValueError("the histograms' columns contradict one another")
    return histograms


def _sound(histograms: HistogramSet, buckets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    keys = histograms.keys
    return bool(
        (keys >= 0).all()
        and (np.diff(keys) > 0).all()
        and (histograms.count >= histograms.sizes).all()
        and ((histograms.count > 0) == (histograms.sizes > 0)).all()
        and (histograms.squares >= 0).all()
        and (histograms.weights > 0).all()
        and (buckets <= HIGHEST).all()
    )
