"""Quantile sketches."""

from stream.sketch.codec import from_bytes, to_bytes
from stream.sketch.digest_set import DigestSet

__all__ = ["DigestSet", "from_bytes", "to_bytes"]
