"""A frame: decoded events as columns, and the numbering of their series."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

SeriesKey = tuple[str, str, str, str, str, str]
"""(namespace, service, endpoint, method, version, track); an absent version is the empty string."""

Fold = Callable[[SeriesKey], SeriesKey | None]

ABSENT: SeriesKey = ("default", "", "", "", "", "stable")
"""What an absent part of a series key counts as."""


_packer = msgspec.msgpack.Encoder()
_series = msgspec.msgpack.Decoder(SeriesKey)


def pack_series(key: SeriesKey) -> bytes:
    """A key as one value, to be sent and looked up in place of six."""
    return _packer.encode(key)


def unpack_series(packed: bytes) -> SeriesKey:
    """What :func:`pack_series` was given. Raises ValueError on other bytes."""
    try:
        key: SeriesKey = _series.decode(packed)
        return key
    except msgspec.DecodeError as error:
        raise ValueError(f"not a series: {error}") from error


_UNIT_BYTES = 16
_SIZE_BITS = 12


def mark_of(packed: bytes) -> int:
    """A series by its name alone, in 64 bits: 52 of a hash, and the size of the name. No numbering is in it:
    chunks are cut by marks (``window/chunk.py``)."""
    digest = int.from_bytes(blake2b(packed, digest_size=8).digest(), "little", signed=True)
    units = min(-(-len(packed) // _UNIT_BYTES), (1 << _SIZE_BITS) - 1)
    return digest >> _SIZE_BITS << _SIZE_BITS | units


def name_bytes(marks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes of the names, rounded up."""
    return (marks & ((1 << _SIZE_BITS) - 1)) * _UNIT_BYTES


class _Ids(dict[SeriesKey, int]):
    """Numbers a key at its first look-up, so that the look-up of a known one costs nothing extra.

    Parts that are None (an explicit null) are read as absent; such a key is not remembered itself.
    """

    def __init__(self, interner: Interner) -> None:
        super().__init__()
        self._interner = interner

    def __missing__(self, key: tuple[str | None, ...]) -> int:
        if None in key:
            return self[tuple(a if k is None else k for k, a in zip(key, ABSENT, strict=True))]  # type: ignore[index]
        if (folded := self._interner.folded(key)) is not None:  # type: ignore[arg-type]
            return self[folded]
        number = len(self._interner.keys)
        self[key] = number  # type: ignore[index]
        self._interner.keys.append(key)  # type: ignore[arg-type]
        return number


class Interner:
    """Numbers series from 0 in the order in which they appear; ``keys[ids[key]] == key``.

    It only grows: its owner bounds it by starting a new one. With ``max_series`` of them, further ones are
    numbered as what ``fold`` makes of them, unless that is None or themselves.
    """

    def __init__(self, max_series: float = math.inf, fold: Fold | None = None) -> None:
        self.keys: list[SeriesKey] = []
        self.ids: dict[SeriesKey, int] = _Ids(self)
        self.said: object = None
        """The decoder's memory of what events say."""
        self.fold_count = 0
        """Look-ups of series that were folded."""
        self._max_series = max_series
        self._fold = fold
        self._packed: list[bytes] = []
        self._marks = array("q")

    def __len__(self) -> int:
        return len(self.keys)

    def folded(self, key: SeriesKey) -> SeriesKey | None:
        """What a key is to be numbered as, which is counted; None: as itself, because it is known or because
        there is room."""
        if self._fold is None or len(self.keys) < self._max_series or key in self.ids:
            return None
        folded = self._fold(key)
        if folded is None or folded == key:
            return None
        self.fold_count += 1
        return folded

    def packed(self, ids: Iterable[int]) -> list[bytes]:
        """The keys as :func:`pack_series` gives them, each made once."""
        self._pack()
        packed = self._packed
        return [packed[i] for i in ids]

    def marks(self, ids: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.int64]:
        """What :func:`mark_of` gives for the keys, each made once."""
        self._pack()
        self._marks.extend(map(mark_of, self._packed[len(self._marks) :]))
        return np.frombuffer(self._marks, np.int64)[ids]

    def _pack(self) -> None:
        self._packed += map(pack_series, self.keys[len(self._packed) :])

    def id_of(self, key: SeriesKey) -> int:
        """The key's number; a new key gets the next one."""
        return self.ids[key]


_Which = slice | NDArray[np.bool_] | NDArray[np.integer]


@dataclass(slots=True)
class Frame:
    """Events as columns of equal length, in the order in which they were read."""

    ts_ms: NDArray[np.int64]
    """Event time, epoch milliseconds."""
    series: NDArray[np.int32]
    """Numbers of the interner."""
    outcome: NDArray[np.int32]
    """Codes of ``stream.model.outcome``."""
    latency_ms: NDArray[np.float64]
    """NaN where absent."""
    weight: NDArray[np.int64]
    """Millionths: 1,000,000 for an event that was not sampled."""
    row: NDArray[np.int64]
    """Place of the record in the batch that was decoded."""
    interner: Interner
    mark: NDArray[np.int64] | None = None
    """Of the series that each record names, where some are numbered as what they were folded to; None: those
    of ``series``."""

    def __len__(self) -> int:
        return len(self.ts_ms)

    @property
    def marks(self) -> NDArray[np.int64]:
        """Of the series that each record names."""
        return self.interner.marks(self.series) if self.mark is None else self.mark

    def slice(self, start: int, stop: int) -> Frame:
        """Events [start, stop), as views."""
        return self._pick(slice(start, stop))

    def take(self, which: NDArray[np.bool_] | NDArray[np.integer]) -> Frame:
        """The events of a mask, or of an array of indices in its order, as copies."""
        return self._pick(which)

    def _pick(self, which: _Which) -> Frame:
        return Frame(
            ts_ms=self.ts_ms[which],
            series=self.series[which],
            outcome=self.outcome[which],
            latency_ms=self.latency_ms[which],
            weight=self.weight[which],
            row=self.row[which],
            interner=self.interner,
            mark=None if self.mark is None else self.mark[which],
        )

    @classmethod
    def empty(cls, interner: Interner) -> Frame:
        return cls(
            ts_ms=np.empty(0, np.int64),
            series=np.empty(0, np.int32),
            outcome=np.empty(0, np.int32),
            latency_ms=np.empty(0, np.float64),
            weight=np.empty(0, np.int64),
            row=np.empty(0, np.int64),
            interner=interner,
        )

    @classmethod
    def concat(cls, frames: Sequence[Frame]) -> Frame:
        """One frame after the other; at least one, all of the same interner. Rows stay what they were."""
        interner = frames[0].interner
        assert all(frame.interner is interner for frame in frames), "series are numbered by one interner"
        return cls(
            ts_ms=np.concatenate([frame.ts_ms for frame in frames]),
            series=np.concatenate([frame.series for frame in frames]),
            outcome=np.concatenate([frame.outcome for frame in frames]),
            latency_ms=np.concatenate([frame.latency_ms for frame in frames]),
            weight=np.concatenate([frame.weight for frame in frames]),
            row=np.concatenate([frame.row for frame in frames]),
            interner=interner,
            mark=None
            if all(frame.mark is None for frame in frames)
            else np.concatenate([frame.marks for frame in frames]),
        )
