"""Stage two of one service partition as a state machine: messages in, signals and state out. No I/O.

The owner of the partition feeds every message in the order of its offsets, then decides what is due; at a
checkpoint it writes, in one transaction, the records of :meth:`Keeper.changes` and the signals since the one
before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from stream.errors import InvariantError
from stream.slo.catalog import Catalog
from stream.slo.extension import Extension
from stream.slo.shard import Shard
from stream.slo.snapshot import Changes, Snapshots, counting_keys, restore
from stream.window.clock import MAX_COMING, Clock, Reach, Source
from stream.window.panes import tick_at_or_before
from stream.window.upsert import Span, Verdict
from stream.wire.cohorts import Cohorts
from stream.wire.columns import pack
from stream.wire.notice import unpack_deploy
from stream.wire.partial import RULE, Message, Report, decode_message, unpack_chunk
from stream.wire.pieces import Pieces
from stream.wire.signal import Signal
from stream.wire.state import (
    VERSION,
    ShardRecord,
    SourceRecord,
    decode_shard,
    encode,
    key,
    parse_key,
)
from stream.wire.tally import Tally

_SHARD = key("shard")


class Keeper:
    """The shard of one partition with its clock, its open contributions and its place in the partials."""

    def __init__(
        self,
        catalog: Catalog,
        max_series: int,
        records: Mapping[bytes, bytes] | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        """Start from state records; from nothing without them. Raises ValueError if they cannot be read,
        FormatError if another version wrote them."""
        self.catalog = catalog
        self.max_series = max_series
        self.shard = Shard(catalog, max_series, extensions)
        self.clock = Clock()
        self.position = 0
        """Offset of the first message that was not applied."""
        self.sources: int | None = None
        """How many source partitions there are; None: not known yet, and event time stands."""
        self._fences: dict[int, int] = {}
        """By source: epochs before this one have ended."""
        self._rules: dict[int, int] = {}
        """By source: the rule by which its chunks are cut."""
        self._open: dict[int, bytes] = {}
        """By source: the message that is its open contribution."""
        self._pieces = Pieces()
        self._reopened: set[int] = set()
        """Sources whose open contribution changed since the last checkpoint."""
        self._stored: set[int] = set()
        """Sources whose open contribution is in the state."""
        self.leftovers: list[Signal] = []
        """What the state held and the SLO files no longer know has ended: to be published first."""
        self._rewrite = False
        self._rows = counting_keys(catalog)
        records = records or {}
        generation = self._restore(records) if _SHARD in records else 0
        self.snapshots = Snapshots(self.shard, records, generation)

    def _restore(self, records: Mapping[bytes, bytes]) -> int:
        """Returns the generation of the panes."""
        record = decode_shard(records[_SHARD])
        self.position = record.position
        self.clock.now_ms = record.watermark_ms
        self.clock.idle_as_of_ms, self.clock.rests_on_ms = record.idle_as_of_ms, record.rests_on_ms
        self._fences = dict(record.fences)
        for source in record.sources:
            self.clock.sources[source.number] = Source(
                Reach(*source.reach),
                source.watermark_ms,
                deque(source.coming, MAX_COMING),
                reached_ms=source.reached_ms,
                lateness_ms=source.lateness_ms,
            )
            self._rules[source.number] = source.rule
            self.shard.oldest_minute[source.number] = source.oldest_minute
            if source.newest_minute is not None:
                self.shard.newest_minute[source.number] = source.newest_minute
            if source.final is not None:
                self.shard.spans[source.number] = Span(*source.final, final=True)
        restored = restore(self.shard, record, records)
        self.leftovers, self._rewrite = restored.leftovers, restored.is_other
        for extension in self.shard.extensions:
            extension.restore(records, record.decided_s)
        for name, value in records.items():
            kind, place = parse_key(name)
            if kind == "open":
                self._reopen(int(place[0]), value)
            elif kind == "pieces":
                self._pieces.restore(int(place[0]), value)
        return record.generation

    def _reopen(self, source: int, data: bytes) -> None:
        message = decode_message(data)
        tally, cohorts = unpack_chunk(message)
        report = message.reports[0]
        span = Span(report.epoch, message.start, report.end)
        self.shard.reopen(source, span, tally, cohorts)
        self._open[source] = data
        self._stored.add(source)

    def apply(self, data: bytes, offset: int, written_ms: int) -> Verdict | None:
        """One message, as the broker stamped it; what came of its contents, None if it had none.

        Raises InvariantError when it is not a message of ours, or contradicts an earlier one; FormatError
        when a version wrote it that this one cannot read.
        """
        if offset < self.position:
            return None
        try:
            if (whole := self._pieces.take(data)) is None:
                self.position = offset + 1
                return None
            data, message = whole, decode_message(whole)
            chunk = unpack_chunk(message) if message.is_partial else None
            notices = [unpack_deploy(data) for data in message.notices]
        except ValueError as error:
            raise InvariantError(f"partial at offset {offset}: {error}") from error
        verdict = None
        reports = [r for r in message.reports if r.epoch >= self._fences.get(r.source, 0)]
        if chunk is not None:
            verdict = self._count(message, *chunk, data, written_ms) if reports else Verdict.IGNORE
        for report in reports:
            self._hear(report, message.rule, written_ms)
        for source, epoch in message.fences:
            self._fences[source] = max(epoch, self._fences.get(source, 0))
        for event in notices:
            self.shard.announce(event)
        if self.sources is not None:
            self._pass_time(self.sources)
        self.position = offset + 1
        return verdict

    def _count(
        self, message: Message, tally: Tally, cohorts: Cohorts | None, data: bytes, written_ms: int
    ) -> Verdict:
        report = message.reports[0]
        span = Span(report.epoch, message.start, report.end, message.final)
        verdict = self.shard.observe(
            report.source, span, tally, self.clock.now_ms, cohorts, written_ms=written_ms
        )
        if verdict is not Verdict.IGNORE:
            self._keep_open(report.source, None if span.final else data)
        return verdict

    def _keep_open(self, source: int, data: bytes | None) -> None:
        """``data`` is the source's open contribution now; None: it has none."""
        if data is None:
            self._open.pop(source, None)
        else:
            self._open[source] = data
        self._reopened.add(source)

    def _hear(self, report: Report, rule: int, written_ms: int) -> None:
        reach = Reach(report.epoch, report.end, report.term)
        self._rules[report.source] = rule
        self.clock.report(
            report.source, report.watermark_ms, reach, written_ms, report.idle_as_of_ms, report.lateness_ms
        )

    def _pass_time(self, sources: int) -> None:
        self.sources = sources
        self.clock.advance(range(sources), self.shard.is_waiting)

    def advance(self, sources: int) -> Iterator[Signal]:
        """Decide what the watermark allows; ``sources`` is the number of source partitions."""
        self._pass_time(sources)
        yield from self.rest()

    def rest(self, enough: Callable[[], bool] | None = None) -> Iterator[Signal]:
        """Decide up to event time as it is, or some of it: until ``enough``, which is asked behind each tick.

        There may be a checkpoint in the middle. It holds event time ahead of the last tick, and who takes it
        up goes on here, before another message is applied: so nobody can tell how often that was.
        """
        if self.has_rest and self.clock.now_ms is not None:
            yield from self.shard.advance(self.clock.now_ms, enough)

    @property
    def has_rest(self) -> bool:
        """Whether event time has reached ticks that are not decided."""
        now_ms, decided_s = self.clock.now_ms, self.shard.ledger.decided_s
        return now_ms is not None and (decided_s is None or tick_at_or_before(now_ms) > decided_s)

    @property
    def is_to_be_rewritten(self) -> bool:
        """Whether the rules are others than those of the state."""
        return self._rewrite

    def rewriting(self) -> Iterator[Changes]:
        """What of the state is to be written anew, in parts of which each can be committed by itself, right
        before :meth:`changes`: until then they count for nothing."""
        if self._rewrite:
            yield from self.snapshots.rewritten_panes()
            self._rewrite = False

    def changes(self) -> Changes:
        """State records that differ from those stored: to be written together with the signals so far."""
        changes: Changes = {}
        for part in self.rewriting():
            changes.update(part)
        changes.update(self.snapshots.changes())
        for extension in self.shard.extensions:
            changes.update(extension.changes())
        decided_s, newest_s, coming = self.shard.event_time
        changes[_SHARD] = encode(
            ShardRecord(
                version=VERSION,
                position=self.position,
                decided_s=decided_s,
                newest_s=newest_s,
                watermark_ms=self.clock.now_ms,
                coming=coming,
                rows=self._rows,
                sources=[
                    SourceRecord(
                        number,
                        (source.reach.epoch, source.reach.end, source.reach.term),
                        source.watermark_ms,
                        list(source.coming),
                        self.shard.oldest_minute.get(number, 0),
                        _final(self.shard.spans.get(number)),
                        source.reached_ms,
                        self._rules.get(number, RULE),
                        self.shard.newest_minute.get(number),
                        source.lateness_ms,
                    )
                    for number, source in sorted(self.clock.sources.items())
                ],
                idle_as_of_ms=self.clock.idle_as_of_ms,
                rests_on_ms=self.clock.rests_on_ms,
                first=pack(self.shard.ledger.first),
                newest=pack(self.shard.ledger.newest),
                generation=self.snapshots.generation,
                fences=sorted(self._fences.items()),
            )
        )
        changes.update(self._open_changes())
        changes.update((key("pieces", source), data) for source, data in self._pieces.changes())
        return changes

    def _open_changes(self) -> Changes:
        changed = {source: self._open.get(source) for source in self._reopened}
        self._reopened.clear()
        found = {s: data for s, data in changed.items() if data is not None or s in self._stored}
        self._stored = self._stored - found.keys() | {s for s, data in found.items() if data is not None}
        return {key("open", source): data for source, data in found.items()}

    @property
    def watermark_ms(self) -> int | None:
        return self.clock.now_ms


def _final(span: Span | None) -> tuple[int, int, int] | None:
    return (span.epoch, span.start, span.end) if span is not None and span.final else None
