"""Where one cluster ends and the next begins: the scale function of the t-digest.

Dunning, Ertl, "Computing extremely accurate quantiles using t-digests" (2019), k2: cluster k holds the ranks
q with k ≤ ln(q/(1−q))/δ < k+1, so that a cluster near q weighs δ·q·(1−q) of the whole. What is published are
the median and the upper quantiles; so below the median the scale goes on as 2·ln(1/(1−q)), which spends a
few clusters on the whole lower half. Clusters are found by binning ranks, for all digests in one pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLUSTER_WIDTH = 0.04
"""δ: the weight of a cluster, in units of q·(1−q)."""
EXACT = 32
"""A digest of no more distinct values than this keeps them all."""


def ranks(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Per centroid: rank of its lower edge and of its upper edge, and its digest's whole weight.

    ``offsets`` int64[k+1], each segment at least one long; ``weights`` float64[n]. Ranks are in weight units.
    """
    sizes = np.diff(offsets)
    ends = np.cumsum(weights)
    starts = ends - weights
    base = np.repeat(starts[offsets[:-1]], sizes)
    whole = np.repeat(ends[offsets[1:] - 1] - starts[offsets[:-1]], sizes)
    return starts - base, ends - base, whole


def is_atom(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Centroids heavier than any cluster gets: many equal values, never merged with their neighbours."""
    lower, upper, whole = ranks(offsets, weights)
    q = (lower + upper) / (2 * whole)
    heavy: NDArray[np.bool_] = weights > 2 * CLUSTER_WIDTH * whole * (1 - q) * np.maximum(q, 0.5)
    return heavy


def cluster_starts(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[n]: which centroids, in ascending order within their segment, begin a cluster.

    The least and the greatest stay alone, and so do atoms and all of a digest small enough to be exact.
    """
    sizes = np.diff(offsets)
    lower, upper, whole = ranks(offsets, weights)
    above = np.maximum((whole - (lower + upper) / 2) / whole, np.finfo(float).tiny)
    scale = np.log(np.where(above > 0.5, 0.25 / (above * above), (1 - above) / above)) / CLUSTER_WIDTH
    heavy = is_atom(offsets, weights)
    starts = np.ones(len(weights), np.bool_)
    np.not_equal(np.floor(scale[1:]), np.floor(scale[:-1]), out=starts[1:])
    starts |= heavy
    starts[1:] |= heavy[:-1]
    starts |= np.repeat(sizes <= EXACT, sizes)
    starts[offsets[:-1]] = True
    starts[offsets[:-1][sizes > 1] + 1] = True
    starts[offsets[1:] - 1] = True
    return starts
