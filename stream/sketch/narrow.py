"""Columns of numbers in few bytes, exactly: what digests at rest and on the wire are made of.

Latencies mostly have at most three decimals, and weights are mostly small whole numbers. So a column takes
the cheapest of a few forms; what that form cannot say to the last bit stands beside it as a whole float64.
Nothing is rounded here: when a digest is packed makes no difference to any quantile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FORMS = (("<u1", 1), ("<u2", 1), ("<u2", 10), ("<u4", 1000), ("<f8", 1))
"""(bytes, scale), cheapest first: whole numbers, tenths, words, and floats as they are."""
_WORDS = 3
_DECIMAL = np.uint32(1 << 31)
"""A word is a float32, whose sign is never set, or with this bit a number of thousandths."""
_MISS_BYTES = 12
_FEW = 12
_INTS = ("<u1", "<u2", "<u4", "<i8")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Finite numbers ≥ 0, never −0.0."""

    form: int
    """Index into the forms."""
    held: NDArray[np.generic]
    missed: NDArray[np.uint32]
    """Ascending places of what the form cannot hold, and in ``exact`` what stands there."""
    exact: Floats

    @classmethod
    def of(cls, numbers: Floats) -> Column:
        best: Column | None = None
        for form in _promising(numbers):
            held = _held(numbers, form)
            missed = np.flatnonzero(_said(held, form) != numbers)
            column = cls(form, held, missed.astype(np.uint32), numbers[missed])
            if best is None or column.nbytes < best.nbytes:
                best = column
            if not len(missed):
                break
        assert best is not None
        return best

    @classmethod
    def plain(cls, numbers: Floats) -> Column:
        """Floats as they are, where nothing else is to be expected."""
        return cls(len(_FORMS) - 1, numbers.copy(), np.empty(0, np.uint32), np.empty(0))

    @property
    def nbytes(self) -> int:
        return self.held.nbytes + _MISS_BYTES * len(self.missed)

    def numbers(self, first: int, last: int) -> Floats:
        """Those at the places [first, last)."""
        said = _said(self.held[first:last], self.form)
        if len(self.missed):
            a, b = np.searchsorted(self.missed, (first, last))
            said[self.missed[a:b].astype(np.int64) - first] = self.exact[a:b]
        return said

    def at(self, places: Ints) -> Floats:
        """Those at ascending places."""
        said = _said(self.held[places], self.form)
        if len(self.missed) and len(places):
            found = np.minimum(np.searchsorted(places, self.missed), len(places) - 1)
            here = places[found] == self.missed
            said[found[here]] = self.exact[here]
        return said

    def to_bytes(self) -> bytes:
        head = np.array([self.form, len(self.missed)], "<u4")
        return b"".join(
            part.tobytes() for part in (head, self.held, self.missed.astype("<u4"), self.exact.astype("<f8"))
        )


def _promising(numbers: Floats) -> list[int]:
    """Forms that hold most of a few of the numbers, and floats as they are: each takes time to try on all."""
    few = numbers[:: len(numbers) // _FEW + 1]
    promising = []
    for form, (kind, scale) in enumerate(_FORMS[:-1]):
        most = (np.iinfo(kind).max >> (form == _WORDS)) / scale
        fits = [x <= most and round(x * scale) / scale == x for x in few.tolist()]
        if 2 * sum(fits) >= len(fits):
            promising.append(form)
    with np.errstate(over="ignore"):
        singles = np.count_nonzero(few.astype(np.float32) == few)
    if _WORDS not in promising and 2 * singles >= len(few):
        promising.append(_WORDS)
    return [*promising, len(_FORMS) - 1]


def _held(numbers: Floats, form: int) -> NDArray[np.generic]:
    kind, scale = _FORMS[form]
    if form == len(_FORMS) - 1:
        return numbers.copy()  # which may be a view of much more
    # What overflows is found out when it is read back.
    with np.errstate(over="ignore"):
        most = np.iinfo(kind).max >> (form == _WORDS)
        scaled = np.minimum(np.rint(numbers * scale), most).astype(kind)
        if form != _WORDS:
            return scaled
        single = numbers.astype("<f4")
    return np.where(single == numbers, single.view("<u4"), scaled | _DECIMAL).astype("<u4")


def _said(held: NDArray[np.generic], form: int) -> Floats:
    """float64 of its own."""
    scale = _FORMS[form][1]
    if form != _WORDS:
        said = held.astype(np.float64)
        return said / scale if scale > 1 else said
    words = held.astype(np.uint32)
    decimal = words >= _DECIMAL
    said = words.view(np.float32).astype(np.float64)
    said[decimal] = (words[decimal] ^ _DECIMAL) / scale
    return said


def narrow_ints(numbers: Ints) -> NDArray[np.generic]:
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    for kind in _INTS[:-1]:
        if low >= 0 and high <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers.astype(_INTS[-1])


def ints_to_bytes(held: NDArray[np.generic]) -> bytes:
    return np.array([_INTS.index(held.dtype.newbyteorder("<").str.replace("|", "<"))], "<u4").tobytes() + (
        held.tobytes()
    )


class Reader:
    """Columns one after the other in bytes, as views of them. Raises ValueError where they are spoilt."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self.place = place

    def _take(self, kind: str, length: int) -> NDArray[np.generic]:
        start = self.place
        self.place += np.dtype(kind).itemsize * length
        if self.place > len(self.data):
            raise ValueError(f"{len(self.data)} bytes are too few for these digests")
        return np.frombuffer(self.data, kind, length, start)

    def ints(self, length: int) -> NDArray[np.generic]:
        form = int(self._take("<u4", 1)[0])
        if form >= len(_INTS):
            raise ValueError(f"digests with a column of form {form}")
        return self._take(_INTS[form], length)

    def column(self, length: int) -> Column:
        form, misses = self._take("<u4", 2).astype(np.int64).tolist()
        if form >= len(_FORMS) or misses > length:
            raise ValueError(f"digests with a column of form {form} and {misses} exceptions")
        held = self._take(_FORMS[form][0], length)
        missed = self._take("<u4", misses).astype(np.uint32)
        if misses and (int(missed[-1]) >= length or not (missed[1:] > missed[:-1]).all()):
            raise ValueError("digests with exceptions out of place")
        return Column(form, held, missed, self._take("<f8", misses).astype(np.float64))
