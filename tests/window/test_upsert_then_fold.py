"""Upsert, then fold: the table of verdicts, and that it counts every event once, whatever is sent again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window.upsert import Span, Verdict, judge

SPANS = [
    Span(e, a, b, final) for e, a, b, final in product(range(3), range(6), range(7), (False, True)) if a < b
]


def read_slowly(stored: Span, incoming: Span) -> Verdict:
    """The table in words: which records does either side hold."""
    later = Verdict.OPEN if stored.final else Verdict.FOLD
    if incoming.epoch > stored.epoch:
        return later  # offsets began anew
    if incoming.epoch < stored.epoch:
        return Verdict.IGNORE  # a zombie of before
    mine, theirs = (set(range(s.start, s.end)) for s in (stored, incoming))
    if max(theirs) <= max(mine):
        return Verdict.IGNORE  # nothing new in it
    if not mine & theirs:
        return later
    grown = min(mine) == min(theirs) and not stored.final
    return Verdict.REPLACE if grown else Verdict.OVERLAP


def test_every_pair_of_spans_has_the_verdict_of_the_records_it_holds() -> None:
    for stored, incoming in product(SPANS, SPANS):
        assert judge(stored, incoming) is read_slowly(stored, incoming), (stored, incoming)


def test_the_first_span_of_a_source_opens() -> None:
    assert all(judge(None, span) is Verdict.OPEN for span in SPANS)


def test_taking_a_span_again_is_always_a_repeat() -> None:
    for stored, incoming in product([None, *SPANS], SPANS):
        if judge(stored, incoming) in (Verdict.OPEN, Verdict.REPLACE, Verdict.FOLD):
            assert judge(incoming, incoming) is Verdict.IGNORE
            assert stored is None or judge(incoming, stored) is Verdict.IGNORE


# The protocol: readers of one source partition, and the log of what they send.
#
#   source   [ 0 1 2 3 | 4 5 | 6 7 8 9 10 | 11 …      chunks: whoever reads them cuts here
#   sends    [0,2) [0,3) [0,4)! [4,5) [4,6)! …         cumulative; ! is a chunk's end, then it is committed
#   a second reader begins at the last commit and sends the same again, with flushes at other places


@dataclass
class Source:
    cuts: list[int]
    """Ends of the chunks, ascending."""
    committed: int = 0
    log: list[Span] = field(default_factory=list)

    def chunk_end(self, offset: int) -> int:
        return next(cut for cut in self.cuts if cut > offset)


@dataclass
class Reader:
    """Knows where its chunk began and how far it has read; dies or lingers as the test likes."""

    source: Source
    start: int
    end: int

    def read(self, count: int) -> None:
        """Read on and flush; chunk ends on the way are sent and committed first."""
        for _ in range(count):
            if self.end >= self.source.cuts[-1]:
                return
            self.end += 1
            if self.end == self.source.chunk_end(self.start):
                self.flush()
                self.source.committed = max(self.source.committed, self.end)
                self.start = self.end
        self.flush()

    def flush(self) -> None:
        if self.end > self.start:
            final = self.end == self.source.chunk_end(self.start)
            self.source.log.append(Span(0, self.start, self.end, final))


def fold(log: list[Span]) -> Counter[int]:
    """What stage two counts: folded chunks and the open one, each a set of offsets."""
    counted: Counter[int] = Counter()
    stored: Span | None = None
    for span in log:
        verdict = judge(stored, span)
        assert verdict is not Verdict.OVERLAP, (stored, span)
        if verdict is Verdict.REPLACE:
            assert stored is not None
            counted.subtract(range(stored.start, stored.end))
        if verdict is not Verdict.IGNORE:
            counted.update(range(span.start, span.end))
            stored = span
    return +counted


@settings(max_examples=600, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8), data=st.data())
def test_any_interleaving_of_readers_zombies_and_repeats_counts_each_record_once(
    sizes: list[int], data: st.DataObject
) -> None:
    source = Source([sum(sizes[: i + 1]) for i in range(len(sizes))])
    readers = [Reader(source, 0, 0)]
    steps = st.lists(
        st.tuples(st.sampled_from(["read", "read", "join", "again"]), st.integers(0, 99)), max_size=40
    )
    for what, number in data.draw(steps):
        if what == "read":
            readers[number % len(readers)].read(number % 7)
        elif what == "join":
            readers.append(Reader(source, source.committed, source.committed))
        elif source.log:
            source.log.append(source.log[number % len(source.log)])
        reached = max((span.end for span in source.log), default=0)
        assert fold(source.log) == Counter(range(reached))
    Reader(source, source.committed, source.committed).read(10**6)
    assert fold(source.log) == Counter(range(source.cuts[-1]))


def test_a_chunk_sent_before_the_last_one_is_acknowledged_would_be_lost_when_it_overtakes() -> None:
    """Why the rule is needed: the property above is not one of every log."""
    overtaken = [Span(0, 0, 2), Span(0, 4, 6), Span(0, 0, 4)]  # [0,4) was sent first and arrived last
    assert fold(overtaken) == Counter([0, 1, 4, 5])


@settings(max_examples=200, deadline=None)
@given(
    old=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4),
    zombies=st.lists(st.integers(0, 3)),
)
def test_a_newer_epoch_folds_the_old_one_and_nothing_of_the_old_one_counts_after_it(
    old: list[tuple[int, int]], zombies: list[int]
) -> None:
    stored = Span(1, old[0][0], old[0][0] + old[0][1])
    first = Span(2, 0, 3)
    assert judge(stored, first) is Verdict.FOLD
    for zombie in zombies:
        start, length = old[zombie % len(old)]
        assert judge(first, Span(1, start, start + length + 100)) is Verdict.IGNORE
