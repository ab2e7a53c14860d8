"""Distributions of latencies as shares of buckets: drawing from them is drawing requests, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from math import erf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from stream.sketch.buckets import PER_OCTAVE, buckets_of, upper_edges

Floats = NDArray[np.float64]

LOWEST = -2 * PER_OCTAVE
"""A quarter of a millisecond and less."""
HIGHEST = 14 * PER_OCTAVE
"""Above 16 seconds."""
PARTS = 1 << 18
_MANY = 1000
"""Requests of a row: from here on it is quicker to draw buckets than requests."""
BUCKETS = np.arange(LOWEST, HIGHEST + 1)

Below = Callable[[Floats], Floats]
"""Share of the latencies ≤ x ms."""


def lognormal(median_ms: float, sigma: float) -> Below:
    def below(x: Floats) -> Floats:
        z = (np.log(np.maximum(x, 1e-300)) - log(median_ms)) / (sigma * sqrt(2))
        return np.array([0.5 * (1 + erf(v)) for v in z])

    return below


def pareto(least_ms: float, shape: float) -> Below:
    return lambda x: np.where(x > least_ms, 1 - (least_ms / np.maximum(x, least_ms)) ** shape, 0.0)


def mixed(*parts: tuple[float, Below]) -> Below:
    return lambda x: np.asarray(sum(share * below(x) for share, below in parts))


def whole_ms(below: Below) -> Below:
    """Rounded up to milliseconds, as some servers log them."""
    return lambda x: below(np.floor(x))


def constant(ms: float) -> Below:
    return lambda x: (x >= ms).astype(np.float64)


def slower(below: Below, factor: float) -> Below:
    return lambda x: below(x / factor)


def stretched(below: Below, factor: float, start: float, full: float) -> Below:
    """Quantiles up to ``start`` as they were, from ``full`` on larger by ``factor``."""
    fine = np.exp2(np.linspace(-4, 20, 24 * 200))
    part = np.clip((below(fine) - start) / (full - start), 0, 1)
    moved = fine * factor**part
    return lambda x: below(np.exp2(np.interp(np.log2(np.maximum(x, 1e-9)), np.log2(moved), np.log2(fine))))


@dataclass(frozen=True, eq=False)
class Latencies:
    """Shares of BUCKETS, in whole parts of ``PARTS``; the first and last hold all that is below and above."""

    parts: NDArray[np.int64]

    @classmethod
    def of(cls, below: Below) -> Latencies:
        sums = below(upper_edges(BUCKETS))
        sums[-1] = 1.0
        return cls(np.maximum(np.diff(np.rint(sums * PARTS).astype(np.int64), prepend=0), 0))

    @property
    def shares(self) -> Floats:
        return self.parts / PARTS

    def moved(self, shift: int) -> Latencies:
        """Slower by so many buckets."""
        return _moved(self, shift) if shift else self

    def draw(self, rng: np.random.Generator, n: NDArray[np.int64]) -> NDArray[np.int32]:
        """[len(n), BUCKETS] counts of n requests each."""
        if n.mean() > _MANY:
            return rng.multinomial(n, self.shares).astype(np.int32)
        rows = np.repeat(np.arange(len(n)) * len(BUCKETS), n)
        rows += self._bucket_of_part[rng.integers(PARTS, size=len(rows), dtype=np.uint32)]
        counts = np.bincount(rows, minlength=len(n) * len(BUCKETS))
        return counts.astype(np.int32).reshape(len(n), -1)

    @cached_property
    def _bucket_of_part(self) -> NDArray[np.int16]:
        return np.repeat(np.arange(len(BUCKETS), dtype=np.int16), self.parts)


@lru_cache(maxsize=128)
def _moved(latencies: Latencies, shift: int) -> Latencies:
    parts = np.zeros_like(latencies.parts)
    np.add.at(parts, np.clip(np.arange(len(parts)) + shift, 0, len(parts) - 1), latencies.parts)
    return Latencies(parts)


@cache
def known() -> dict[str, Below]:
    """Those of the study, by name."""
    usual = lognormal(40, 0.6)
    return {
        "lognormal": usual,
        "Pareto 1.5": pareto(10, 1.5),
        "bimodal": mixed((0.85, lognormal(20, 0.3)), (0.15, lognormal(300, 0.3))),
        "whole ms": whole_ms(lognormal(4, 0.5)),
        "ties": mixed((0.4, constant(10)), (0.3, constant(50)), (0.3, lognormal(30, 0.8))),
        "slow endpoint": lognormal(400, 0.6),
    }


def bucket_index(ms: float) -> int:
    return int(np.clip(buckets_of(np.array([ms]))[0], LOWEST, HIGHEST)) - LOWEST
