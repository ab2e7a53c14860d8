"""One-minute latency digests per endpoint, and their merges over longer windows.

Folded digests are kept by minute; those of open chunks stay apart, by source, until they are folded, for a
digest cannot be taken back out of a merge. Ten-minute blocks are merged once and reused.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from stream.sketch import DigestSet
from stream.wire.tally import MINUTE_BITS

KEPT = 60
"""Minutes that the longest published window covers."""
BLOCK = 10


class Minutes:
    """Digest sets by minute (minutes since the epoch); keys are endpoints, numbered by the caller."""

    def __init__(self) -> None:
        self.dirty: set[int] = set()
        self._folded: dict[int, list[DigestSet]] = {}
        self._open: dict[int, dict[int, DigestSet]] = {}
        """source → minute → digests of the source's open chunk."""
        self._blocks: dict[int, DigestSet] = {}
        self._oldest = -(2**62)

    def open(self, source: int, digests: DigestSet) -> None:
        """Replace what the source's open chunk contributes; keys are endpoint << MINUTE_BITS | minute."""
        for minute in self._open.get(source, ()):
            self._blocks.pop(minute // BLOCK, None)
        self._open[source] = dict(by_minute(digests))
        for minute in self._open[source]:
            self._blocks.pop(minute // BLOCK, None)

    def fold(self, source: int) -> None:
        """The source's open chunk is final."""
        for minute, digests in self._open.pop(source, {}).items():
            self.add(minute, digests)

    def add(self, minute: int, digests: DigestSet) -> None:
        if minute < self._oldest or not len(digests.keys):
            return
        parts = self._folded.setdefault(minute, [])
        parts.append(digests)
        if len(parts) > BLOCK:
            self._folded[minute] = [DigestSet.merge(parts)]
        self.dirty.add(minute)
        self._blocks.pop(minute // BLOCK, None)

    def window(self, end: int, length: int) -> DigestSet:
        """Digests by endpoint over the minutes [end − length, end)."""
        parts: list[DigestSet] = []
        minute = end - length
        while minute < end:
            if minute % BLOCK == 0 and minute + BLOCK <= end:
                parts += self._block(minute // BLOCK)
                minute += BLOCK
            else:
                parts += self._minute(minute)
                minute += 1
        return DigestSet.merge(parts)

    def _block(self, block: int) -> list[DigestSet]:
        if block not in self._blocks:
            minutes = range(block * BLOCK, (block + 1) * BLOCK)
            self._blocks[block] = DigestSet.merge([d for m in minutes for d in self._minute(m)])
        return [self._blocks[block]]

    def _minute(self, minute: int) -> list[DigestSet]:
        parts = self._folded.get(minute, [])
        if len(parts) > 1:
            parts[:] = [DigestSet.merge(parts)]
        return parts + [opened[minute] for opened in self._open.values() if minute in opened]

    def move_to(self, minute: int) -> None:
        """Forget what no window ending at this minute or later covers."""
        self._oldest = minute - KEPT
        for old in [m for m in self._folded if m < self._oldest]:
            del self._folded[old]
            self.dirty.add(old)
        for block in [b for b in self._blocks if (b + 1) * BLOCK <= self._oldest]:
            del self._blocks[block]

    def endpoints(self) -> set[int]:
        """Every endpoint that some digest belongs to."""
        opened = (digests for by_minute in self._open.values() for digests in by_minute.values())
        folded = (digests for parts in self._folded.values() for digests in parts)
        blocks = self._blocks.values()
        held = [digests.keys for digests in chain(opened, folded, blocks)]
        return set(np.unique(np.concatenate(held)).tolist()) if held else set()

    def folded(self) -> list[int]:
        """Minutes that hold folded digests."""
        return list(self._folded)

    def get(self, minute: int) -> DigestSet | None:
        """The folded digests of a minute, merged; None when there are none."""
        parts = self._folded.get(minute)
        if not parts:
            return None
        if len(parts) > 1:
            parts[:] = [DigestSet.merge(parts)]
        return parts[0]


def by_minute(digests: DigestSet) -> Iterable[tuple[int, DigestSet]]:
    """Split a set keyed by endpoint and minute into one set keyed by endpoint for each minute."""
    minutes = digests.keys & ((1 << MINUTE_BITS) - 1)
    for minute in np.unique(minutes):
        one = digests.select(minutes == minute)
        yield int(minute), one.remap(one.keys >> MINUTE_BITS)
