"""Simulated rollouts: many at once, pane by pane, requests of both arms at each endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.latencies import BUCKETS, Latencies
from stream.sketch.buckets import PER_OCTAVE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PANES_A_MINUTE = 6
_SWING = 3 * PER_OCTAVE // 8
"""Buckets by which latencies swing in waves: a factor of 1.3."""
MINUTES = 60


@dataclass(frozen=True)
class Endpoint:
    """What one endpoint does in one arm: its part of the arm's traffic, its latencies, its errors."""

    latencies: Latencies
    errors: float = 0.01
    part: float = 1.0


@dataclass(frozen=True)
class Bursts:
    """Panes in which everything goes wrong."""

    chance: float
    errors: float | None = None
    """Rate of errors in such a pane."""
    slower: int = 0
    """By so many buckets."""
    common: bool = False
    """Both arms in the same panes; otherwise each by itself."""


@dataclass(frozen=True)
class World:
    """How a service behaves for an hour, with a canary beside it."""

    baseline: tuple[Endpoint, ...]
    canary: tuple[Endpoint, ...]
    per_minute: float = 1000
    share: float = 0.05
    """Of the canary."""
    waves: bool = False
    """Traffic and latencies that swing by a half over the hour, for both arms."""
    bursts: Bursts | None = None

    @property
    def endpoints(self) -> int:
        return len(self.baseline)


@dataclass(frozen=True)
class Counts:
    """One arm in one pane: [rollouts, endpoints(, buckets)]."""

    requests: Ints
    errors: Ints
    latencies: NDArray[np.int32]

    def add(self, more: Counts) -> None:
        """In place: copies of so many buckets would take most of the time."""
        for mine, its in (
            (self.requests, more.requests),
            (self.errors, more.errors),
            (self.latencies, more.latencies),
        ):
            np.add(mine, its, out=mine)

    def clear(self) -> None:
        for mine in (self.requests, self.errors, self.latencies):
            mine.fill(0)

    @classmethod
    def none(cls, rollouts: int, endpoints: int) -> Counts:
        shape = (rollouts, endpoints)
        latencies = np.zeros((*shape, len(BUCKETS)), np.int32)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), latencies)


def panes(world: World, rollouts: int, rng: np.random.Generator) -> Iterator[tuple[Counts, Counts]]:
    """(canary, baseline) of each pane of the hour."""
    total = MINUTES * PANES_A_MINUTE
    for pane in range(total):
        wave = 1 + 0.5 * np.sin(2 * np.pi * pane / total) if world.waves else 1.0
        shift = round(_SWING * np.sin(4 * np.pi * pane / total)) if world.waves else 0
        struck = _struck(world.bursts, rollouts, rng)
        each = world.per_minute / PANES_A_MINUTE * wave
        yield (
            _arm(world.canary, each * world.share, shift, world.bursts, struck[0], rng),
            _arm(world.baseline, each * (1 - world.share), shift, world.bursts, struck[1], rng),
        )


def _struck(bursts: Bursts | None, rollouts: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[2, rollouts] which arms this pane is bad for."""
    if bursts is None:
        return np.zeros((2, rollouts), np.bool_)
    if bursts.common:
        return np.broadcast_to(rng.random(rollouts) < bursts.chance, (2, rollouts))
    return rng.random((2, rollouts)) < bursts.chance


def _arm(
    endpoints: tuple[Endpoint, ...],
    requests: float,
    shift: int,
    bursts: Bursts | None,
    struck: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Counts:
    parts = np.array([endpoint.part for endpoint in endpoints])
    n = rng.poisson(requests * parts / parts.sum(), (len(struck), len(endpoints)))
    rates = np.broadcast_to([endpoint.errors for endpoint in endpoints], n.shape)
    if bursts is not None and bursts.errors is not None:
        rates = np.where(struck[:, None], bursts.errors, rates)
    latencies = np.empty((*n.shape, len(BUCKETS)), np.int32)
    for i, endpoint in enumerate(endpoints):
        latencies[:, i] = _latencies(endpoint.latencies.moved(shift), n[:, i], bursts, struck, rng)
    return Counts(n, rng.binomial(n, rates), latencies)


def _latencies(
    usual: Latencies, n: Ints, bursts: Bursts | None, struck: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int32]:
    if bursts is None or not bursts.slower or not struck.any():
        return usual.draw(rng, n)
    return usual.draw(rng, np.where(struck, 0, n)) + usual.moved(bursts.slower).draw(
        rng, np.where(struck, n, 0)
    )
