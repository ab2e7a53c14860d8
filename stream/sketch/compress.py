"""Where one cluster ends and the next begins: the scale function of the t-digest.

Dunning, Ertl, "Computing extremely accurate quantiles using t-digests" (2019). A scale function k(q) puts the
ranks q with k ≤ k(q) < k+1 into cluster k. Around and above the median it is k1 = asin(2q − 1)/w, whose
clusters weigh w·√(q·(1−q)) of the whole; from SWITCH on it is k2 = ln(q/(1−q))/δ, whose clusters weigh
δ·q·(1−q): each is the finer one where it is used. What is published are the median and the upper quantiles;
so below COARSE k = −2·ln(1−q)/δ + const. spends a few clusters on all the rest. Clusters are found by binning
ranks, for all digests in one pass.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CENTRE_WIDTH = 0.0063
"""w: the weight of a cluster between COARSE and SWITCH, in units of √(q·(1−q))."""
TAIL_WIDTH = 0.04
"""δ: the weight of a cluster above SWITCH, in units of q·(1−q)."""
SWITCH = 0.5 + 0.5 * math.sqrt(1 - 4 * (CENTRE_WIDTH / TAIL_WIDTH) ** 2)
"""The rank at which both scales have equally heavy clusters."""
COARSE = 0.4
"""Ranks below are not published."""
EXACT = 64
"""A digest of no more distinct values than this keeps them all."""
ROUNDING = 1 / 32
"""Of a cluster's spread: by so much its mean may move to become a float32, which takes half the room."""


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


def is_atom(
    q: NDArray[np.float64], whole: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Centroids heavier than any cluster gets: many equal values, never merged with their neighbours.

    ``q``: the rank of their middle, in [0, 1]; ``whole``: the weight of their digest.
    """
    q = np.clip(q, 0, 1)
    centre = CENTRE_WIDTH * np.sqrt(q * (1 - q))
    tail = TAIL_WIDTH * (1 - q) * np.maximum(q, 0.5)
    widest = np.where(q < COARSE, tail, np.minimum(centre, tail))
    heavy: NDArray[np.bool_] = weights > 2 * widest * whole
    return heavy


def scale(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """k(q), ascending; ``q`` in [0, 1)."""
    above = np.maximum(1 - q, np.finfo(float).tiny)
    low = -2 * np.log(np.maximum(above, 1 - COARSE) / (1 - COARSE)) / TAIL_WIDTH
    centre = np.arcsin(2 * np.clip(q, COARSE, SWITCH) - 1) / CENTRE_WIDTH
    tail = np.log(np.maximum(q, SWITCH) / np.minimum(above, 1 - SWITCH) * (1 / SWITCH - 1)) / TAIL_WIDTH
    k: NDArray[np.float64] = low + centre + tail
    return k


def cluster_starts(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[n]: which centroids, in ascending order within their segment, begin a cluster.

    The least and the greatest stay alone, and so do atoms and all of a digest small enough to be exact.
    """
    sizes = np.diff(offsets)
    if (sizes <= EXACT).all():
        return np.ones(len(weights), np.bool_)
    lower, upper, whole = ranks(offsets, weights)
    middle = (lower + upper) / (2 * whole)
    cluster = np.floor(scale(middle))
    heavy = is_atom(middle, whole, weights)
    starts = np.ones(len(weights), np.bool_)
    np.not_equal(cluster[1:], cluster[:-1], out=starts[1:])
    starts |= heavy
    starts[1:] |= heavy[:-1]
    starts |= np.repeat(sizes <= EXACT, sizes)
    starts[offsets[:-1]] = True
    starts[offsets[:-1][sizes > 1] + 1] = True
    starts[offsets[1:] - 1] = True
    return starts


def rounded(
    means: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Means of clusters of values from ``low`` to ``high``, as float32 where that is fine enough.

    Single values, and many equal ones, stay what they are: a rank may hang on each of their bits, and
    latencies are mostly short decimals, which need little room anyway (``narrow.py``).
    """
    with np.errstate(over="ignore"):
        single = means.astype(np.float32).astype(np.float64)
    fine = (np.abs(single - means) <= ROUNDING * (high - low)) & (single >= low) & (single <= high)
    return np.where(fine, single, means)
