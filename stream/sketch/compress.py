from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
CLUSTER_WIDTH = 0.05
EXACT = 32
HEAVY = 0.75
DITHER = True

def cluster_starts(offsets, weights, shift):
    """bool[n]"""
    sizes = np.diff(offsets)
    ends = np.cumsum(weights)
    total_ends = ends[offsets[1:] - 1]
    bases = np.concatenate(([0.0], total_ends[:-1]))
    totals = total_ends - bases
    half=0.5*weights
    upper = (np.repeat(total_ends, sizes) - ends + half) 
    W=np.repeat(totals, sizes)
    upper/=W
    q = 1.0 - upper   # TODO precision
    below = q < 0.5
    k = np.log(np.where(below, 0.25/(upper*upper), q/upper))
    k /= CLUSTER_WIDTH
    k += np.repeat(shift, sizes)
    bins = np.floor(k)
    heavy = weights > (HEAVY*CLUSTER_WIDTH) * W * upper * np.maximum(q, 0.5)
    starts = np.ones(weights.size, bool)
    np.not_equal(bins[1:], bins[:-1], out=starts[1:])
    starts |= heavy
    starts[1:] |= heavy[:-1]
    starts |= np.repeat(sizes <= EXACT, sizes)
    starts[offsets[:-1]] = True
    starts[offsets[:-1][sizes>1]+1] = True
    starts[offsets[1:]-1] = True
    return starts
