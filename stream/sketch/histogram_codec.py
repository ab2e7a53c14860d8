"""Histograms as bytes: a version, two lengths, then columns in the narrowest whole numbers. Never pickled."""

from __future__ import annotations

import struct

import numpy as np

from stream.sketch.buckets import HIGHEST, ZERO, Ints
from stream.sketch.histogram import MOST_SQUARES, ONE, HistogramSet
from stream.sketch.narrow import Reader, ints_to_bytes, narrow_ints

VERSION = 1
_HEADER = struct.Struct("<BIIB")
_WHOLE = 1
"""Flag: all weights are whole requests, written as such."""


def histograms_to_bytes(histograms: HistogramSet) -> bytes:
    weights = histograms.weights
    whole = not (weights % ONE).any()
    # Within a histogram the step from one filled bucket to the next is small, and fits a byte.
    steps: Ints = np.diff(histograms.buckets.astype(np.int64), prepend=ZERO).astype(np.int64)
    starts = histograms.offsets[:-1][histograms.sizes > 0]
    steps[starts] = histograms.buckets[starts].astype(np.int64) - ZERO
    columns: tuple[Ints, ...] = (
        np.diff(histograms.keys, prepend=0).astype(np.int64),
        histograms.count,
        histograms.squares,
        histograms.sizes,
        steps,
        weights // ONE if whole else weights,
    )
    head = _HEADER.pack(VERSION, len(histograms), len(weights), _WHOLE * whole)
    return b"".join([head, *(ints_to_bytes(narrow_ints(column)) for column in columns)])


def histograms_from_bytes(data: bytes) -> HistogramSet:
    """Raises ValueError when the bytes are not what :func:`histograms_to_bytes` writes."""
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no histograms")
    version, k, n, flags = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"histograms of version {version}, expected {VERSION}")
    reader = Reader(data, _HEADER.size)
    steps_of_keys, count, squares, sizes = (reader.ints(k).astype(np.int64) for _ in range(4))
    steps, weights = (reader.ints(n).astype(np.int64) for _ in range(2))
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
        weights * ONE if flags & _WHOLE else weights,
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
        and (histograms.squares <= MOST_SQUARES).all()
        and (histograms.weights > 0).all()
        and (buckets <= HIGHEST).all()
    )
