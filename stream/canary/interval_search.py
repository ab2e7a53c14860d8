"""Where an interval of ratios ends: the nearest whole shift that is refuted, for many rows at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sketch.buckets import PER_OCTAVE

Ints = NDArray[np.int64]

WIDEST_SHIFT = 10 * PER_OCTAVE
"""Ratios beyond 2^±10 are reported as unbounded."""
UNKNOWN_SHIFT = 4 * WIDEST_SHIFT
"""No earlier look knows the end."""
ROUNDING = 1e-6
"""Of a bound on what can be said, in nats."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question asked of some rows, by their places among these."""

    rows: Ints
    ask: Callable[[Ints, Ints], NDArray[np.bool_]]

    def __call__(self, which: Ints, shift: Ints) -> NDArray[np.bool_]:
        return self.ask(self.rows[which], shift)


def nearest_refuted(
    start: Ints, refuted: Callable[[Ints, Ints], NDArray[np.bool_]], near: Ints | None = None
) -> Ints:
    """By row the largest shift below ``start`` that is refuted, as all below it are; −WIDEST_SHIFT: none is.

    Steps from ``near``, or else from the start, double until the answer lies between two: it is far cheaper
    to ask for shifts near what was observed.
    """
    good, bad = np.full(len(start), -WIDEST_SHIFT), start.copy()
    down = np.ones(len(start), np.bool_)
    if near is not None:
        known = np.flatnonzero((near > -WIDEST_SHIFT) & (near < start))
        out = refuted(known, near[known])
        bad[known[~out]] = near[known[~out]]
        good[known[out]] = near[known[out]]
        down[known[out]] = False
        _step_up(known[out], good, bad, start, refuted)
    step, left = 1, np.flatnonzero(down)
    origin = bad.copy()
    while len(left):
        at = np.maximum(origin[left] - step, -WIDEST_SHIFT)
        out = refuted(left, at)
        good[left[out]], bad[left[~out]] = at[out], at[~out]
        left = left[~out & (at > -WIDEST_SHIFT)]
        step *= 2
    left = np.flatnonzero(bad - good > 1)
    while len(left):
        middle = (good[left] + bad[left]) // 2
        out = refuted(left, middle)
        good[left[out]], bad[left[~out]] = middle[out], middle[~out]
        left = left[bad[left] - good[left] > 1]
    return good


def _step_up(
    left: Ints, good: Ints, bad: Ints, start: Ints, refuted: Callable[[Ints, Ints], NDArray[np.bool_]]
) -> None:
    """From shifts that are refuted, in steps that double, to the first that is not, or to the start."""
    step, origin = 1, good.copy()
    while len(left):
        at = origin[left] + step
        left, at = left[at < start[left]], at[at < start[left]]
        out = refuted(left, at)
        good[left[out]], bad[left[~out]] = at[out], at[~out]
        left = left[out]
        step *= 2
