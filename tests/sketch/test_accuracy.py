"""Accuracy against an exact oracle: distributions × sizes × ways of merging, beside fastdigest.

The rank error of a quantile is how far its rank in the data is from what was asked for; a value that
occurs many times has a whole interval of ranks. It is judged in units of q·(1 − q), after the allowance of
one value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastdigest import TDigest
from numpy.typing import NDArray

from stream.sketch import DigestSet, PackedDigests, to_bytes

QS = (0.5, 0.9, 0.95, 0.99, 0.999)
BOUND = 0.05
"""Of the contract, in units of q·(1 − q)."""

Values = NDArray[np.float64]
Rng = np.random.Generator

DISTRIBUTIONS: dict[str, Callable[[Rng, int], Values]] = {
    "uniform": lambda r, n: r.random(n),
    "lognormal": lambda r, n: r.lognormal(3, 1, n),
    "pareto": lambda r, n: r.pareto(1.5, n) + 1,
    "exponential": lambda r, n: r.exponential(10, n),
    "gamma": lambda r, n: r.gamma(0.5, 20, n),
    "integer ms": lambda r, n: np.floor(r.lognormal(3, 0.5, n)),
    "bimodal": lambda r, n: np.abs(np.where(r.random(n) < 0.5, r.normal(100, 1, n), r.normal(1000, 1, n))),
    "gap at p99": lambda r, n: np.where(r.random(n) < 0.99, r.normal(100, 1, n), r.normal(10_000, 9, n)),
    "atom of 30 %": lambda r, n: np.where(r.random(n) < 0.3, 50.0, r.lognormal(4, 1, n)),
    "constant": lambda r, n: np.full(n, 7.0),
    "ascending": lambda r, n: np.sort(r.lognormal(3, 1, n)),
    "descending": lambda r, n: np.sort(r.lognormal(3, 1, n))[::-1].copy(),
}
SIZES = (1, 2, 10, 100, 1_000, 10_000, 100_000)
MILLION = 1_000_000


def digest(values: Values) -> DigestSet:
    return DigestSet.from_values(np.zeros(len(values), np.int64), values)


def merged(parts: list[Values]) -> DigestSet:
    return DigestSet.merge([digest(part) for part in parts if len(part)])


def at_once(values: Values) -> DigestSet:
    return digest(values)


def left_fold(values: Values) -> DigestSet:
    parts = np.array_split(values, 12)
    result = DigestSet.empty()
    for part in parts:
        result = DigestSet.merge([result, digest(part)]) if len(part) else result
    return result


def tree(values: Values) -> DigestSet:
    level = [digest(part) for part in np.array_split(values, 16) if len(part)]
    while len(level) > 1:
        level = [DigestSet.merge(level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0]


def as_the_product(values: Values) -> DigestSet:
    """Chunks → minutes → a run of ten that grows minute by minute → fifty, with two of twenty → an hour;
    at rest all of it is packed."""
    minutes = [packed(merged(np.array_split(m, 3))) for m in np.array_split(values, 60) if len(m)]
    left, halves, runs = minutes[:4], (minutes[4:24], minutes[24:44]), (minutes[44:54], minutes[54:])
    first, last = DigestSet.empty(), DigestSet.empty()
    for minute in runs[0]:
        first = packed(DigestSet.merge([first, minute]))
    for minute in runs[1]:
        last = packed(DigestSet.merge([last, minute]))
    middle = packed(DigestSet.merge([*(packed(DigestSet.merge(half)) for half in halves), first]))
    return DigestSet.merge([*left, middle, last])


def packed(digests: DigestSet) -> DigestSet:
    return PackedDigests.pack(digests).unpacked()


def shuffled(values: Values) -> DigestSet:
    return as_the_product(np.random.default_rng(5).permutation(values))


MERGES = {f.__name__: f for f in (at_once, left_fold, tree, as_the_product, shuffled)}


def rank_error(ascending: Values, found: float, q: float) -> float:
    """Beyond one value's worth, in units of q·(1 − q)."""
    n = len(ascending)
    slack = 1e-9 * abs(found)
    low = np.searchsorted(ascending, found - slack, "left") / n
    high = np.searchsorted(ascending, found + slack, "right") / n
    return max(0.0, float(max(low - q, q - high, 0.0)) - 1 / n) / (q * (1 - q))


def worst(values: Values, quantiles: NDArray[np.float64]) -> dict[float, float]:
    ascending = np.sort(values)
    return {q: rank_error(ascending, float(v), q) for q, v in zip(QS, quantiles, strict=True)}


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_rank_errors_stay_within_the_contract(name: str, merge: str) -> None:
    rng = np.random.default_rng(17)
    for size in SIZES:
        values = np.abs(DISTRIBUTIONS[name](rng, size))
        errors = worst(values, MERGES[merge](values).quantiles(QS)[0])
        assert max(errors.values()) <= BOUND, (size, errors)


def fastdigest_of(values: Values) -> TDigest:
    parts = [part for part in np.array_split(values, 60) if len(part)]
    fast = TDigest.from_values(parts[0], max_centroids=500)
    for part in parts[1:]:
        fast += TDigest.from_values(part, max_centroids=500)
    return fast


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_not_worse_than_fastdigest_for_fewer_bytes(name: str) -> None:
    """Both merged from 60 panes. How far a quantile that falls into a gap is off depends on where a cluster
    happens to end; so the error at each quantile is the mean over sizes and eight draws of the data."""
    sizes = [100, 1_000, 10_000, 100_000] * 8 + [MILLION]
    ours, theirs = dict.fromkeys(QS, 0.0), dict.fromkeys(QS, 0.0)
    for seed, size in enumerate(sizes):
        values = np.abs(DISTRIBUTIONS[name](np.random.default_rng(seed), size))
        mine, fast = as_the_product(values), fastdigest_of(values)
        found = worst(values, mine.quantiles(QS)[0])
        found_by_fast = worst(values, np.array([fast.quantile(q) for q in QS]))
        for q in QS:
            ours[q] += found[q] / len(sizes)
            theirs[q] += found_by_fast[q] / len(sizes)
        if size == MILLION and name != "constant":
            assert len(to_bytes(mine)) < len(fast.to_bytes())
    for q in (0.5, 0.95, 0.99, 0.999):
        assert ours[q] <= theirs[q] + BOUND / 50, (q, ours, theirs)
