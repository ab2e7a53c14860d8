"""Quantile sketches."""

from stream.sketch.codec import from_bytes, packed_from_bytes, to_bytes
from stream.sketch.digest_set import DigestSet, Mergeable
from stream.sketch.packed import PackedDigests

__all__ = ["DigestSet", "Mergeable", "PackedDigests", "from_bytes", "packed_from_bytes", "to_bytes"]
