"""Stage two of one service partition: tallies in, event time forward, signals out.

The state as of a tick T holds every event before T that had arrived; T is decided once the watermark is at
or past it (contract, section 3). Ticks at which nothing can happen are skipped, however many they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from stream.errors import InvariantError
from stream.model.deploy import DeployEvent
from stream.model.objective import PANE_S
from stream.slo.catalog import Catalog
from stream.slo.contribution import Contribution, VersionInPane, contribution, version_events
from stream.slo.evaluator import Evaluator
from stream.slo.extension import Extension
from stream.slo.ledger import Ledger
from stream.slo.percentiles import Percentiles, most_endpoints
from stream.slo.places import Places
from stream.window.panes import HOUR_S, MINUTE_S, PANE_MS, tick_at_or_before
from stream.window.upsert import Span, Verdict, judge
from stream.wire.cohorts import Cohorts
from stream.wire.signal import Signal
from stream.wire.tally import Tally

MAX_AHEAD_MS = HOUR_S * 1000
"""A pane that begins later than this after the broker's stamp on a partial is too far ahead."""
LAST_PANE = 253_402_300_799_999 // PANE_MS


class Shard:
    """All that is known of the services of one partition."""

    def __init__(self, catalog: Catalog, max_series: int, extensions: Sequence[Extension] = ()) -> None:
        self.catalog = catalog
        self.extensions = tuple(extensions)
        self.ledger = Ledger(catalog, max_series)
        self.evaluator = Evaluator(self.ledger)
        self._places = Places(self.ledger.registry)
        self.percentiles = Percentiles(most_endpoints(max_series))
        self.spans: dict[int, Span] = {}
        """By source partition: what its newest contribution covers."""
        self.open: dict[int, Contribution] = {}
        self.oldest_minute: dict[int, int] = {}
        """By source: minutes of its open contribution before this one came too late for percentiles. Set when
        the chunk is first heard of: what came in time stays, however late it is when the chunk grows."""
        self.newest_minute: dict[int, int] = {}
        """By source: minutes of its open contribution after this one were too far ahead for percentiles, and
        stay so while the chunk grows: a digest cannot be taken apart."""
        self._coming: list[int] = []
        """Heap of panes that hold an event and wait for their tick."""
        self._comes: set[int] = set()
        """The same."""
        self._newest_s: int | None = None
        """End of the newest pane that had its tick and holds an event."""

    def observe(
        self,
        source: int,
        span: Span,
        tally: Tally,
        watermark_ms: int | None,
        cohorts: Cohorts | None = None,
        *,
        written_ms: int | None = None,
    ) -> Verdict:
        """Count a partial; ``cohorts`` is what it holds for canary analyses. ``watermark_ms`` is event time
        as it was decided before the partial came, ``written_ms`` the broker's stamp on it; None: there is no
        clock. Of what it holds beyond the one before, what is too late or too far ahead is dropped (contract,
        section 3).

        Raises InvariantError when the span overlaps another cutting of the same records.
        """
        verdict = judge(self.spans.get(source), span)
        if verdict is Verdict.IGNORE:
            return verdict
        if verdict is Verdict.OVERLAP:
            raise InvariantError(f"source {source}: {span} overlaps {self.spans[source]}")
        if verdict is Verdict.FOLD:
            self.percentiles.fold(source)
            del self.open[source]
        new = contribution(tally, self.ledger.registry, self._places)
        old = self.open.get(source)
        if cohorts is not None:
            new.versions |= self._versions_of_unmeasured(cohorts)
        kept = self._kept(watermark_ms, written_ms)
        self.ledger.observe(new, old, kept)
        if verdict is not Verdict.REPLACE:
            self.oldest_minute[source] = kept.start * PANE_S // MINUTE_S
            self.newest_minute.pop(source, None)
        self._leave_out_what_is_ahead(source, new, kept)
        self._open_digests(source, tally)
        for extension in self.extensions:
            grown = verdict is Verdict.REPLACE
            extension.observe(source, cohorts, grown, span.final, kept, self.ledger.decided_s)
        self.spans[source], self.open[source] = span, new
        if span.final:
            self.percentiles.fold(source)
            del self.open[source]
        for pane in {pane for pane, _ in new.events} | (set() if cohorts is None else cohorts.panes()):
            if pane in kept:
                self._note(pane)
        return verdict

    def _kept(self, watermark_ms: int | None, written_ms: int | None) -> range:
        """The panes whose events are not dropped."""
        first = 0 if watermark_ms is None else self.catalog.too_late_before_s(watermark_ms) // PANE_S
        last = LAST_PANE if written_ms is None else (written_ms + MAX_AHEAD_MS) // PANE_MS
        return range(max(0, first), last + 1)

    def _leave_out_what_is_ahead(self, source: int, new: Contribution, kept: range) -> None:
        ahead = [pane for pane, _ in new.events if pane >= kept.stop]
        if ahead:
            minute = min(ahead) * PANE_S // MINUTE_S - 1
            self.newest_minute[source] = min(minute, self.newest_minute.get(source, minute))

    def _note(self, pane: int) -> None:
        end_s, decided_s = (pane + 1) * PANE_S, self.ledger.decided_s
        if decided_s is None or end_s > decided_s:
            if pane not in self._comes:
                self._comes.add(pane)
                heappush(self._coming, pane)
        elif self._newest_s is None or end_s > self._newest_s:
            self._newest_s = end_s

    def announce(self, event: DeployEvent) -> None:
        """A release of one of the services goes on."""
        self.ledger.rolled_back.add(event, self.ledger.decided_s)
        for extension in self.extensions:
            extension.announce(event)

    @property
    def is_waiting(self) -> bool:
        """Whether there are events that wait for their tick."""
        return bool(self._coming)

    def resume(self, decided_s: int | None, newest_s: int | None, coming: list[int]) -> None:
        """Take up event time where a snapshot left it."""
        self.ledger.decided_s, self._newest_s = decided_s, newest_s
        self._coming, self._comes = sorted(coming), set(coming)

    @property
    def event_time(self) -> tuple[int | None, int | None, list[int]]:
        """What :meth:`resume` takes."""
        return self.ledger.decided_s, self._newest_s, sorted(self._coming)

    def reopen(self, source: int, span: Span, tally: Tally, cohorts: Cohorts | None = None) -> None:
        """Take up an open contribution that the counts already hold."""
        self.spans[source] = span
        self.open[source] = new = contribution(tally, self.ledger.registry, self._places)
        if cohorts is not None:
            new.versions |= self._versions_of_unmeasured(cohorts)
        self._open_digests(source, tally)
        for extension in self.extensions:
            extension.reopen(source, cohorts)

    def _versions_of_unmeasured(self, cohorts: Cohorts) -> dict[VersionInPane, int]:
        """Of services that are analysed and have no SLO: the tally leaves them out."""
        services = self.catalog.unmeasured
        if not services:
            return {}
        found = version_events(cohorts.tally, self._places.of(cohorts.tally.series), self._places)
        return {seen: events for seen, events in found.items() if seen[:2] in services}

    def _open_digests(self, source: int, tally: Tally) -> None:
        oldest_minute = self.oldest_minute.get(source, 0)
        if self.ledger.decided_s is not None:
            oldest_minute = max(oldest_minute, (self.ledger.decided_s - HOUR_S) // MINUTE_S)
        self.percentiles.open(source, tally, oldest_minute, self.newest_minute.get(source))

    def advance(self, watermark_ms: int, enough: Callable[[], bool] | None = None) -> Iterator[Signal]:
        """Decide every tick that the watermark has reached, in order.

        ``enough`` is asked behind each tick; true: stop there. The next call decides the rest, and must come
        before anything is observed.
        """
        last_s = tick_at_or_before(watermark_ms)
        while (tick_s := self._next_tick(last_s)) is not None:
            yield from self._tick(tick_s)
            if enough is not None and enough():
                return
        if self.ledger.decided_s is None or self.ledger.decided_s < last_s:
            self.ledger.skip_to(last_s)

    def _tick(self, tick_s: int) -> Iterator[Signal]:
        while self._coming and (self._coming[0] + 1) * PANE_S <= tick_s:
            pane = heappop(self._coming)
            self._comes.discard(pane)
            self._newest_s = (pane + 1) * PANE_S
        self._take_back(tick_s - PANE_S)
        self.ledger.move_to(tick_s)
        named: list[Signal] = []
        for signal in self._decide(tick_s):
            if signal.topic == "deploy-rollbacks":
                named.append(signal)
            yield signal
        self._condemn(named, tick_s)
        self._take_back(tick_s)
        self.ledger.versions.settle()
        if tick_s % MINUTE_S == 0:
            yield from self.percentiles.at(tick_s)
        if tick_s % HOUR_S == 0:
            held = {int(pair) for one in self.open.values() for pair in one.pairs.id}
            self.ledger.registry.forget_all_but(self.ledger.history.pairs() | held)
            self._places.clear()

    def _decide(self, tick_s: int) -> Iterator[Signal]:
        yield from self.evaluator.evaluate(tick_s)
        for extension in self.extensions:
            yield from extension.at(tick_s, self.evaluator.policies.frozen, self.ledger.versions.is_condemned)

    def _condemn(self, rollbacks: Sequence[Signal], tick_s: int) -> None:
        """Of no consequence for decisions at the tick itself, whatever their order."""
        for signal in rollbacks:
            namespace, service, version = (signal.value[name] for name in ("namespace", "service", "version"))
            if version is not None:
                self.ledger.versions.condemn((str(namespace), str(service)), str(version), tick_s)

    def _take_back(self, tick_s: int) -> None:
        """What deploy events that count by this tick condemn."""
        for service, told in self.ledger.rolled_back.due(tick_s):
            named = (extension.version_of(service, told.deployment) for extension in self.extensions)
            version = told.version or next((one for one in named if one), None)
            if version is not None:
                self.ledger.versions.condemn(service, version, told.counts_s)

    def _next_tick(self, last_s: int) -> int | None:
        """The next tick up to ``last_s`` at which something may be due; None when there is none."""
        due = [(self._coming[0] + 1) * PANE_S] if self._coming else []
        decided_s = self.ledger.decided_s
        if decided_s is not None and self._newest_s is not None:
            if decided_s < self._newest_s + self._memory_s and not self._is_at_rest(decided_s):
                due.append(decided_s + PANE_S)
            if self.evaluator.policies.is_edited:
                due.append(decided_s + PANE_S)
            forgetting_s = self.evaluator.next_forgetting_s()
            if forgetting_s is not None:
                due.append(max(decided_s + PANE_S, forgetting_s))
        tick_s = min(due, default=None)
        return tick_s if tick_s is not None and tick_s <= last_s else None

    def _is_at_rest(self, decided_s: int) -> bool:
        """Whether nothing can happen before a pane that waits has its tick, or a row is forgotten: no window
        holds anything, and that was told. Looked at once an hour: a calendar's window may end long before
        the shard's memory does."""
        return (
            decided_s % HOUR_S == 0
            and not any(extension.is_busy for extension in self.extensions)
            and not any(minute * MINUTE_S < decided_s for minute in self.percentiles.minutes.folded())
            and self.ledger.is_empty_at(decided_s)
            and self.evaluator.is_at_rest
        )

    @property
    def _memory_s(self) -> int:
        """So long after its newest event a shard is empty: the longest window, the hour that percentiles
        and late slices look back, and the coarsest grids on top."""
        return self.catalog.longest_window_s + 3 * HOUR_S
