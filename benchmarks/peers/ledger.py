"""What a job has said so far, beside what is true; and when it had said it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.peers.load import Cells
from benchmarks.peers.peer import Emission


@dataclass(frozen=True, slots=True)
class Step:
    """From ``at_s`` on (by the clock) nothing was said any more about panes up to ``end_ms``."""

    end_ms: int
    at_s: float
    events: int
    """How many events there are up to ``end_ms``."""


class Ledger:
    """The newest statement about each cell counts, as in a compacted topic.

    ``cumulative``: cells are totals since the beginning, so that the last minute's are the whole.
    """

    def __init__(self, expected: Cells, cumulative: bool = False) -> None:
        self._expected = expected
        self._cumulative = cumulative
        self._last_ms = max(end_ms for _, end_ms in expected)
        self._final: Mapping[tuple[str, int], tuple[int, int]] = {
            key: counts for key, counts in expected.items() if self._is_final(key)
        }
        self._said: Cells = {}
        self._at_s: dict[int, float] = {}
        self._missing = len(expected)
        """Cells that are not what they should be."""
        self.records = 0
        self.first_at_s: float | None = None

    def add(self, emission: Emission, at_s: float) -> None:
        key, counts = (emission.scope, emission.end_ms), (emission.count, emission.errors)
        expected = self._expected.get(key)
        self._missing += (self._said.get(key) == expected) - (counts == expected) if expected else 0
        self._said[key] = counts
        self._at_s[emission.end_ms] = at_s
        self.records += 1
        self.first_at_s = self.first_at_s or at_s

    @property
    def expected(self) -> int:
        return sum(count for count, _ in self._final.values())

    @property
    def counted(self) -> int:
        """Events that the newest statements hold in all."""
        return sum(counts[0] for key, counts in self._said.items() if self._is_final(key))

    def _is_final(self, key: tuple[str, int]) -> bool:
        return not self._cumulative or key[1] == self._last_ms

    @property
    def errors(self) -> int:
        return sum(counts[1] for key, counts in self._said.items() if self._is_final(key))

    @property
    def lost(self) -> int:
        """Events too few, over the cells that have too few."""
        return sum(max(0, count - self._said.get(key, (0, 0))[0]) for key, (count, _) in self._final.items())

    @property
    def doubled(self) -> int:
        """Events too many, over the cells that have too many."""
        return self.counted - self.expected + self.lost

    @property
    def complete(self) -> bool:
        """Whether everything was said as it should be, nothing too much."""
        return self._missing == 0

    def reached(self, share: float) -> bool:
        """Whether statements have come about that share of event time."""
        first_ms = min(end_ms for _, end_ms in self._expected)
        return any(end_ms - first_ms >= share * (self._last_ms - first_ms) for end_ms in self._at_s)

    def steps(self) -> list[Step]:
        """Event time against the clock. A pane is done when it and those before it were last spoken of."""
        events: dict[int, int] = defaultdict(int)
        for (_, end_ms), (count, _) in self._expected.items():
            events[end_ms] += count
        steps: list[Step] = []
        total, at_s = 0, 0.0
        for end_ms in sorted(events):
            total = events[end_ms] if self._cumulative else total + events[end_ms]
            if end_ms not in self._at_s:
                continue
            at_s = max(at_s, self._at_s[end_ms])
            steps.append(Step(end_ms, at_s, total))
        return steps
