"""From bytes to decisions, top to bottom, without Kafka: what replay, tests and the worker share.

Stage one (decode, tally) turns request events into counts per series and pane; stage two (``Shard``) sums
them over windows and decides. :class:`Feed` puts both together for events that come in one order, as in a
file. In a worker Kafka is between them: ``slo/intake.py`` is stage one of a source partition, and
``slo/keeper.py`` is stage two of a partition of services.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import numpy as np

from stream.canary.book import CanaryBook
from stream.canary.trial import ServiceSlo
from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.deploy import DeployEvent
from stream.model.objective import PANE_S, Objective
from stream.model.ruleset import Ruleset
from stream.slo.catalog import Catalog
from stream.slo.cohorts import cohorts
from stream.slo.lexicon import Lexicon
from stream.slo.shard import Shard
from stream.slo.sli import column_name
from stream.slo.strays import Strays
from stream.slo.tally import tally
from stream.window.panes import PANE_MS, tick_at_or_before
from stream.window.upsert import Span
from stream.wire.decode import decode
from stream.wire.frame import Frame
from stream.wire.reject import Reject
from stream.wire.signal import Signal

ALLOWED_LATENESS = timedelta(seconds=5)
MAX_SERIES = 100_000
MOST_AT_ONCE = 100_000
"""Events that are counted in one go: of so many, sums of weights and of their squares fit int64."""


def catalog_of(rules: Ruleset) -> Catalog:
    """All that the files say, as both stages look it up."""
    return Catalog(rules.objectives, 0, rules.analyses, rules.comparisons)


def canary_book(catalog: Catalog) -> CanaryBook:
    """The canary analyses and shadow comparisons of a shard, beside its SLOs."""
    slos: dict[tuple[str, str], list[ServiceSlo]] = {}
    for o in catalog.objectives:
        named = ServiceSlo(o.name, column_name(o.sli), float(o.target_pct))
        slos.setdefault((o.namespace, o.service), []).append(named)
    return CanaryBook(
        catalog.analyses, {s: of for s, of in slos.items() if catalog.is_analysed(*s)}, catalog.comparisons
    )


class Feed:
    """The whole job for one ordered stream of events: one source partition, one shard, no wall clock."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        allowed_lateness: timedelta = ALLOWED_LATENESS,
        max_series: int = MAX_SERIES,
        analyses: Sequence[Analysis] = (),
        comparisons: Sequence[Comparison] = (),
    ) -> None:
        catalog = Catalog(objectives, 0, analyses, comparisons)
        self.canaries = canary_book(catalog)
        self.shard = Shard(catalog, max_series, [self.canaries])
        self.lateness_ms = allowed_lateness // timedelta(milliseconds=1)
        self.largest_ms: int | None = None
        self.events = 0
        self.unmatched = 0
        """Events of services for which there is no rule."""
        self.strangers: dict[tuple[str, str], None] = {}
        """(namespace, service) of the first of them."""
        self._deploys: list[DeployEvent] = []
        """Those whose time has not come, by time."""
        self._lexicon = Lexicon(catalog, max_series=max_series)
        self.strays = Strays(self.lateness_ms)

    def decode(self, values: Sequence[bytes]) -> tuple[Frame, list[Reject]]:
        self._lexicon = self._lexicon.renewed()
        return decode(values, self._lexicon.interner, None)

    def watermark_ms(self, largest_ms: int | None) -> int | None:
        return None if largest_ms is None else largest_ms - self.lateness_ms

    def announce(self, event: DeployEvent) -> None:
        """A deploy event: it counts from its own time on, and those of one time in any order."""
        insort(self._deploys, event, key=lambda one: one.at_ms)

    def _advance(self, watermark_ms: int) -> Iterator[Signal]:
        while self._deploys and self._deploys[0].at_ms <= watermark_ms:
            self.shard.announce(self._deploys.pop(0))
        yield from self.shard.advance(watermark_ms)

    def push(self, frame: Frame, named: Callable[[int], str] = str) -> Iterator[Signal]:
        """Count events in their order, and decide each tick with exactly what had arrived by then. ``named``:
        the line of an event, by its place in what was decoded.

        An event whose pane was decided before it came counts only from the next tick on; so the frame is cut
        where such an event follows a tick that the frame itself brought about. Without disorder beyond the
        allowed lateness there is no such event, and the frame is counted in one go.
        """
        if not len(frame):
            return
        before = self._largest_before(frame)
        self.strays.look(frame.ts_ms, before, lambda i: named(int(frame.row[i])))
        decided = (before - self.lateness_ms) // PANE_MS
        late = np.flatnonzero(frame.ts_ms // PANE_MS < decided)
        start = 0
        while start < len(frame):
            cuts = late[(late > start) & (decided[late] > decided[start])]
            stop = min(int(cuts[0]) if len(cuts) else len(frame), start + MOST_AT_ONCE)
            yield from self._count(frame.slice(start, stop))
            start = stop

    def _largest_before(self, frame: Frame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The largest ts before each event; before the first of all, so small that nothing is decided."""
        largest = np.maximum.accumulate(frame.ts_ms)
        first = -(2**60) if self.largest_ms is None else self.largest_ms
        return np.concatenate(([first], np.maximum(largest[:-1], first)))

    def _count(self, frame: Frame) -> Iterator[Signal]:
        watermark_ms = self.watermark_ms(self.largest_ms)
        largest_ms = int(frame.ts_ms.max())
        span = Span(0, self.events, self.events + len(frame), final=True)
        self.events += len(frame)
        kept = self._without_too_late(frame, watermark_ms)
        counted, _ = tally(kept, self._lexicon.judge)
        self.unmatched += self._lexicon.judge.strange(kept).total()
        self.strangers.update(dict.fromkeys(self._lexicon.judge.strangers))
        judge = self._lexicon.cohort_judge
        compared = None if judge is None else cohorts(kept, judge)[0]
        self.shard.observe(0, span, counted, watermark_ms, compared)
        self.largest_ms = largest_ms if self.largest_ms is None else max(self.largest_ms, largest_ms)
        yield from self._advance(self.largest_ms - self.lateness_ms)

    def _without_too_late(self, frame: Frame, watermark_ms: int | None) -> Frame:
        """A shard drops whole panes and minutes; here each event is at hand (contract, section 3)."""
        if watermark_ms is None:
            return frame
        first_s = self.shard.catalog.too_late_before_s(watermark_ms)
        kept = frame.ts_ms // PANE_MS * PANE_S >= first_s
        if kept.all():
            return frame
        self.shard.ledger.late.too_late += len(frame) - int(kept.sum())
        return frame.take(kept)

    def finish(self) -> Iterator[Signal]:
        """After the last event: everything due up to the first tick past it."""
        if self.largest_ms is not None:
            end_ms = (self.largest_ms // PANE_MS + 1) * PANE_MS
            assert tick_at_or_before(end_ms) * 1000 == end_ms
            yield from self._advance(end_ms)
