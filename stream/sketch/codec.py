"""Digests as bytes: a version, two lengths, then the columns as they are at rest. Never pickled."""

from __future__ import annotations

import struct

import numpy as np

from stream.sketch.digest_set import DigestSet
from stream.sketch.narrow import Reader, ints_to_bytes, narrow_ints
from stream.sketch.packed import PackedDigests

VERSION = 2
_HEADER = struct.Struct("<BII")


def to_bytes(digests: DigestSet | PackedDigests) -> bytes:
    packed = digests if isinstance(digests, PackedDigests) else PackedDigests.pack(digests)
    ints = (packed.held_keys, packed.counts, narrow_ints(packed.sizes))
    floats = (packed.total, packed.low, packed.high, packed.means, packed.weights)
    return b"".join(
        [
            _HEADER.pack(VERSION, len(packed), packed.centroids),
            *map(ints_to_bytes, ints),
            *(column.to_bytes() for column in floats),
        ]
    )


def from_bytes(data: bytes) -> DigestSet:
    """Raises ValueError when the bytes are not what :func:`to_bytes` writes."""
    return _read(data)[1]


def packed_from_bytes(data: bytes) -> PackedDigests:
    """As :func:`from_bytes`, at rest: it looks at ``data`` and keeps it."""
    return _read(data)[0]


def _read(data: bytes) -> tuple[PackedDigests, DigestSet]:
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no digests")
    version, k, n = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"digests of version {version}, expected {VERSION}")
    reader = Reader(data, _HEADER.size)
    keys, counts = reader.ints(k), reader.ints(k)
    sizes = reader.ints(k).astype(np.int64)
    if not (sizes > 0).all() or (sizes > n).any() or int(sizes.sum()) != n:
        raise ValueError(f"the sizes of {k} digests do not add up to {n} centroids")
    packed = PackedDigests(
        keys,
        counts,
        np.cumsum(sizes).astype(np.uint32),
        *(reader.column(k) for _ in range(3)),
        *(reader.column(n) for _ in range(2)),
    )
    if reader.place != len(data):
        raise ValueError(f"{len(data)} bytes are too many for {k} digests of {n} centroids")
    digests = packed.unpacked()
    if not _sound(digests):
        raise ValueError("the digests' columns contradict one another")
    return packed, digests


def _sound(digests: DigestSet) -> bool:
    columns = (digests.total, digests.low, digests.high, digests.means, digests.weights)
    segment = np.repeat(np.arange(len(digests)), digests.sizes)
    return bool(
        (digests.keys[1:] > digests.keys[:-1]).all()
        and (digests.count > 0).all()
        and all(np.isfinite(c).all() for c in columns)
        and (digests.weights > 0).all()
        and (digests.low <= digests.high).all()
        and (np.diff(digests.means)[np.diff(segment) == 0] >= 0).all()
    )
