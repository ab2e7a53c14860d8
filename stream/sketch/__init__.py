"""Quantile sketches: t-digests that show percentiles, log histograms that compare tracks."""

from stream.sketch.codec import from_bytes, packed_from_bytes, to_bytes
from stream.sketch.digest_set import DigestSet, Mergeable
from stream.sketch.histogram import HistogramSet, LogHistogram
from stream.sketch.histogram_codec import histograms_from_bytes, histograms_to_bytes
from stream.sketch.packed import PackedDigests

__all__ = [
    "DigestSet",
    "HistogramSet",
    "LogHistogram",
    "Mergeable",
    "PackedDigests",
    "from_bytes",
    "histograms_from_bytes",
    "histograms_to_bytes",
    "packed_from_bytes",
    "to_bytes",
]
