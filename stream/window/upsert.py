"""Upsert, then fold: what a partial does to the open contribution of its source partition.

Chunks of a source partition follow one another without a gap, and a partial is cumulative within its chunk:
offsets alone tell a newer sending from a repeat, a zombie's or the next chunk's (docs/design.md). The rules
are total: every pair of spans has exactly one verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Span:
    """The records of one source partition that a partial covers: [start, end) within an epoch.

    A larger epoch means that the partition's offsets began anew (first start, topic made again).
    """

    epoch: int
    start: int
    end: int
    final: bool = False
    """The chunk ends here; it does not grow."""


class Verdict(Enum):
    OPEN = auto()
    """A chunk that is new where nothing is open."""
    REPLACE = auto()
    """The same chunk has grown: this takes the place of the open contribution."""
    FOLD = auto()
    """A later chunk: the open contribution is what its chunk came to."""
    IGNORE = auto()
    """A repeat or a zombie's: everything in it is counted already."""
    OVERLAP = auto()
    """Two cuttings of the same records: impossible unless the chunk rule was broken. A bug."""


def judge(stored: Span | None, incoming: Span) -> Verdict:
    """What to do with an incoming partial, given the newest span of its source partition."""
    if stored is None:
        return Verdict.OPEN
    if incoming.epoch < stored.epoch:
        return Verdict.IGNORE
    if incoming.epoch > stored.epoch or incoming.start >= stored.end:
        return Verdict.OPEN if stored.final else Verdict.FOLD
    if incoming.end <= stored.end:
        return Verdict.IGNORE
    if incoming.start == stored.start and not stored.final:
        return Verdict.REPLACE
    return Verdict.OVERLAP
