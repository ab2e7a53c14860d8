"""Digests as bytes: a version, two lengths, then the columns. Never pickled."""

from __future__ import annotations

import struct

import numpy as np

from stream.sketch.digest_set import DigestSet, Floats, Ints

VERSION = 1
_HEADER = struct.Struct("<B?II")
_PER_KEY = (("keys", "<i8"), ("count", "<i8"), ("total", "<f8"), ("low", "<f8"), ("high", "<f8"))


def to_bytes(digests: DigestSet) -> bytes:
    """Little-endian columns: 44 bytes a digest, 12 a centroid; 16 where weights are no single floats."""
    single = digests.weights.astype("<f4")
    wide = bool((single != digests.weights).any())
    parts = [_HEADER.pack(VERSION, wide, len(digests.keys), len(digests.means))]
    parts += [getattr(digests, name).astype(kind).tobytes() for name, kind in _PER_KEY]
    parts.append(np.diff(digests.offsets).astype("<u4").tobytes())
    parts.append(digests.means.astype("<f8").tobytes())
    parts.append((digests.weights.astype("<f8") if wide else single).tobytes())
    return b"".join(parts)


def from_bytes(data: bytes) -> DigestSet:
    """Raises ValueError when the bytes are not what :func:`to_bytes` writes."""
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no digests")
    version, wide, k, n = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"digests of version {version}, expected {VERSION}")
    if len(data) != _HEADER.size + 44 * k + (16 if wide else 12) * n:
        raise ValueError(f"{len(data)} bytes do not hold {k} digests of {n} centroids")
    place = _HEADER.size

    def column(kind: str, length: int) -> bytes:
        nonlocal place
        start, place = place, place + np.dtype(kind).itemsize * length
        return data[start:place]

    def ints(kind: str, length: int) -> Ints:
        return np.frombuffer(column(kind, length), kind).astype(np.int64)

    def floats(length: int, kind: str = "<f8") -> Floats:
        return np.frombuffer(column(kind, length), kind).astype(np.float64)

    keys, count = ints("<i8", k), ints("<i8", k)
    total, low, high = floats(k), floats(k), floats(k)
    sizes = ints("<u4", k)
    means, weights = floats(n), floats(n, "<f8" if wide else "<f4")
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    sound = (
        offsets[-1] == n
        and (sizes > 0).all()
        and (keys[1:] > keys[:-1]).all()
        and (count > 0).all()
        and all(np.isfinite(c).all() for c in (total, low, high, means, weights))
        and (weights > 0).all()
        and (low <= high).all()
        and (np.diff(means)[np.diff(np.repeat(np.arange(k), sizes)) == 0] >= 0).all()
    )
    if not sound:
        raise ValueError("the digests' columns contradict one another")
    weight = np.add.reduceat(weights, offsets[:-1]) if k else np.empty(0)
    return DigestSet(keys, count, weight, total, low, high, offsets, means, weights)
