"""Whole numbers added up exactly: int64 while all of them are certain to fit, Python's own integers beyond.

A request that stands for a million others weighs 10¹² millionths, and its square is of 1.6·10¹³ sixteenths:
sums of ten million of them do not fit int64. They are rare, so everybody else pays a look at the sizes only.
All sums may be taken in any order, and taken back; floats are made of them, and never added up instead.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[Any]
"""Of int64, or of Python's integers where one of them may not fit."""
Floats = NDArray[np.float64]

_SAFE = float(1 << 62)
"""Sums of absolute values below this fit, whatever the roundings on the way to them."""


def is_wide(values: Whole) -> bool:
    return values.dtype == object


def narrowed(values: Whole) -> Whole:
    """As int64 where that holds them all."""
    if is_wide(values) and all(-_SAFE < x < _SAFE for x in values.ravel()):
        return values.astype(np.int64)
    return values


def floats(values: Whole) -> Floats:
    """Each rounded once."""
    return np.asarray(values, np.float64)


def _fit(*several: Whole) -> bool:
    """Whether any sum of any of them is certain to fit."""
    if any(is_wide(values) for values in several):
        return False
    if sum(_largest(values) * values.size for values in several) < _SAFE:
        return True
    return sum(float(np.abs(values).sum(dtype=np.float64)) for values in several) < _SAFE


def _largest(values: Whole) -> int:
    return max(int(values.max()), -int(values.min())) if values.size else 0


def runs(values: Whole, starts: NDArray[np.intp]) -> Whole:
    """Sums along the first axis of the runs that begin at ``starts``."""
    if _fit(values):
        return np.asarray(np.add.reduceat(values, starts, axis=0))
    return narrowed(np.add.reduceat(values.astype(object), starts, axis=0))


def added(one: Whole, other: Whole) -> Whole:
    """One by one."""
    if _fit(one, other):
        return np.asarray(one + other)
    return narrowed(one.astype(object) + other.astype(object))


def times(values: Whole, factor: int) -> Whole:
    if not is_wide(values) and float(np.abs(values).max(initial=0)) * abs(factor) < _SAFE:
        return np.asarray(values * factor)
    return narrowed(values.astype(object) * factor)


def placed(shape: tuple[int, ...], places: Any, values: Whole) -> Whole:
    """Zeros with each value added at its place."""
    fits = _fit(values)
    sums = np.zeros(shape, np.int64 if fits else object)
    np.add.at(sums, places, values if fits else values.astype(object))
    return sums if fits else narrowed(sums)


def summed(values: Whole, axis: int) -> Whole:
    if _fit(values):
        return np.asarray(values.sum(axis=axis))
    return narrowed(np.asarray(values.astype(object).sum(axis=axis), object))


def running(values: Whole) -> Whole:
    """0, then the running sums."""
    if _fit(values):
        return np.concatenate(([0], np.cumsum(values)))
    return np.concatenate((np.array([0], object), np.cumsum(values.astype(object))))


def least_from(sums: Whole, limits: Whole, more: Floats) -> NDArray[np.intp]:
    """Places of the first of the ascending ``sums`` that are at least ``limits + more``."""
    if not is_wide(sums):
        return np.asarray(np.searchsorted(sums, limits + _within(np.ceil(more)), "left"))
    return np.asarray(np.searchsorted(sums, limits + _each(ceil, more), "left"))


def first_beyond(sums: Whole, limits: Whole, more: Floats) -> NDArray[np.intp]:
    """Places of the first of the ascending ``sums`` that are above ``limits + more``."""
    if not is_wide(sums):
        return np.asarray(np.searchsorted(sums, limits + _within(np.floor(more)), "right"))
    return np.asarray(np.searchsorted(sums, limits + _each(floor, more), "right"))


def _within(numbers: Floats) -> NDArray[np.int64]:
    """As int64: floats would lose the ones of sums above 2⁵³. None of the sums is beyond 2⁶²."""
    return np.clip(numbers, -_SAFE, _SAFE).astype(np.int64)


def _each(to_int: Callable[[float], int], numbers: Floats) -> Whole:
    return np.array([to_int(x) for x in numbers.tolist()], object)
