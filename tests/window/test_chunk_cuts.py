"""Where a chunk ends is decided by its own records alone, however they were delivered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window import chunk as limits
from stream.window.chunk import Chunk
from stream.wire.frame import Frame, Interner

PANE_MS = 10_000
INTERNER = Interner()


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp_ms: int
    event: tuple[int, int] | None
    """(series, ts); None: a record that was refused."""


NAME_BYTES = 16
"""Of each series."""

Cut = tuple[int, int, list[tuple[int, int]]]
"""(start, end, events) of a closed chunk."""


def frame_of(records: list[Record]) -> Frame:
    good = [(i, r.event) for i, r in enumerate(records) if r.event is not None]
    return Frame(
        ts_ms=np.array([event[1] for _, event in good], np.int64),
        series=np.array([event[0] for _, event in good], np.int32),
        outcome=np.zeros(len(good), np.int32),
        latency_ms=np.full(len(good), np.nan),
        weight=np.full(len(good), 1_000_000, np.int64),
        row=np.array([i for i, _ in good], np.int64),
        interner=INTERNER,
        mark=marks_of(np.array([event[0] for _, event in good], np.int64)),
    )


def marks_of(series: np.ndarray) -> np.ndarray:
    """As different as hashes are, with a name of one unit for each series."""
    return series * np.int64(0x2545F4914F6CDD1D) << 12 | 1


def events_of(frame: Frame) -> list[tuple[int, int]]:
    return list(zip(frame.series.tolist(), frame.ts_ms.tolist(), strict=True))


def cuts_read_in(batches: list[tuple[int, int, list[Record]]]) -> tuple[list[Cut], Cut]:
    """The closed chunks and the open one; a batch is (begin, end, records)."""
    chunk, cuts = Chunk(batches[0][0]), []
    for begin, end, records in batches:
        while True:
            offsets = np.array([r.offset for r in records], np.int64)
            times = np.array([r.timestamp_ms for r in records], np.int64)
            taken = chunk.extend(offsets, times, frame_of(records), begin, end)
            if not chunk.closed:
                assert taken == len(records)
                break
            cuts.append((chunk.start, chunk.end, events_of(chunk.frame(Frame.empty(INTERNER)))))
            begin, records, chunk = chunk.end, records[taken:], Chunk(chunk.end)
    return cuts, (chunk.start, chunk.end, events_of(chunk.frame(Frame.empty(INTERNER))))


def cuts_record_by_record(records: list[Record], start: int) -> Iterator[Cut]:
    """The rule as it is written down, one record at a time."""
    taken: list[Record] = []
    for record in records:
        taken.append(record)
        entries = {(r.event[0], r.event[1] // PANE_MS) for r in taken if r.event is not None}
        if (
            len(taken) == limits.MAX_RECORDS
            or abs(record.timestamp_ms - taken[0].timestamp_ms) >= limits.MAX_AGE_MS
            or len(entries) == limits.MAX_ENTRIES
            or len({series for series, _ in entries}) * NAME_BYTES >= limits.MAX_NAME_BYTES
            or passes_a_tick(taken)
        ):
            yield start, record.offset + 1, [r.event for r in taken if r.event is not None]
            start, taken = record.offset + 1, []


def passes_a_tick(taken: list[Record]) -> bool:
    """Whether the last record is in a later tick than all of the chunk's head."""
    head = [r.event[1] for r in taken[: limits.HEAD_RECORDS] if r.event is not None]
    last = taken[-1].event
    if len(taken) <= limits.HEAD_RECORDS or not head or last is None:
        return False
    tick, head_tick = ((ts - limits.TICK_DELAY_MS) // PANE_MS for ts in (last[1], max(head)))
    return tick > head_tick


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """With gaps in the offsets, clocks that step back, and refused records."""
    records, offset, now = [], draw(st.integers(0, 5)), 1_000
    for gap, step, event in draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 1, 1, 2, 5]),
                st.sampled_from([0, 1, 30, 50, 99, 100, -20]),
                st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3 * PANE_MS)),
            ),
            max_size=60,
        )
    ):
        offset, now = offset + gap, now + step
        records.append(Record(offset, now, event))
    return records


def delivered(
    records: list[Record], places: list[int], with_gap: list[bool]
) -> list[tuple[int, int, list[Record]]]:
    """The log cut into batches before ``places``.

    records   r r . . r | . r r        a gap (.) before a batch belongs to it, or to the one before it
    """
    edges = [0, *sorted(min(p, len(records)) for p in places), len(records)]
    batches, begin = [], 0
    for (first, last), gap in zip(pairwise(edges), with_gap, strict=False):
        end = begin
        if last and last > first:
            end = records[last].offset if gap and last < len(records) else records[last - 1].offset + 1
        batches.append((begin, end, records[first:last]))
        begin = end
    return batches


@settings(max_examples=400, deadline=None)
@given(
    log=logs(),
    places=st.lists(st.integers(0, 60), max_size=12),
    with_gap=st.lists(st.booleans(), min_size=13, max_size=13),
    most_records=st.integers(1, 25),
    most_entries=st.integers(1, 12),
    head=st.integers(1, 12),
)
def test_any_batching_of_the_same_records_gives_the_same_cuts(
    log: list[Record],
    places: list[int],
    with_gap: list[bool],
    most_records: int,
    most_entries: int,
    head: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_RECORDS", most_records)
        patch.setattr(limits, "MAX_AGE_MS", 100)
        patch.setattr(limits, "MAX_ENTRIES", most_entries)
        patch.setattr(limits, "HEAD_RECORDS", head)
        cuts, opened = cuts_read_in(delivered(log, places, with_gap))
        expected = list(cuts_record_by_record(log, 0))
    assert cuts == expected
    start = expected[-1][1] if expected else 0
    rest = [r for r in log if r.offset >= start]
    assert opened[0] == start
    assert opened[2] == [r.event for r in rest if r.event is not None]
    assert opened[1] == (log[-1].offset + 1 if rest else start)


def log_of(count: int, *, step_ms: int = 0, series: int = 0, every_pane: bool = False) -> list[Record]:
    """With ``every_pane`` event time goes backwards, a pane a record: no tick is passed."""
    return [
        Record(i, 5_000 + i * step_ms, (series, (count - i) * PANE_MS if every_pane else 0))
        for i in range(count)
    ]


@pytest.mark.parametrize("size", [1_000, 49_999, 50_000, 50_001, 120_000])
def test_a_chunk_ends_with_its_fifty_thousandth_record(size: int) -> None:
    log = log_of(120_000)
    batches = [(a, min(a + size, 120_000), log[a : a + size]) for a in range(0, 120_000, size)]
    cuts, opened = cuts_read_in(batches)
    assert [cut[:2] for cut in cuts] == [(0, 50_000), (50_000, 100_000)]
    assert opened[:2] == (100_000, 120_000)


def test_a_chunk_ends_with_the_first_record_ten_seconds_after_its_first() -> None:
    #  Kafka's timestamps 5.000 s, 5.001 s … 14.999 s | 15.000 s is the last one of the chunk
    cuts, _ = cuts_read_in([(0, 25_000, log_of(25_000, step_ms=1))])
    assert [cut[:2] for cut in cuts] == [(0, 10_001), (10_001, 20_002)]


@pytest.mark.parametrize("size", [3_999, 4_000, 4_001, 10_000])
def test_a_long_chunk_ends_where_event_time_passes_a_tick_and_a_short_one_does_not(size: int) -> None:
    # ts     0 … 14.995 | 15.000 …                the tick at 10 s, lateness added, is passed at 15 s
    # record 0 …  2,999 |  3,000 … 4,999 | 5,000  the first time among the head, which shows how far time is
    log = [Record(i, 0, (0, i * 5)) for i in range(10_000)]
    batches = [(a, min(a + size, 10_000), log[a : a + size]) for a in range(0, 10_000, size)]
    cuts, _ = cuts_read_in(batches)
    assert [cut[:2] for cut in cuts] == [(0, 5_001)]  # passes the tick at 20 s


def test_a_record_that_is_late_does_not_end_the_next_chunk_at_the_tick_that_ended_the_last() -> None:
    # ts  10.0 … 14.9  15.0 | 14.9  15.0 14.9  15.0 …   producers whose clocks differ, about the tick at 10 s
    head = [Record(i, 0, (0, 10_000 + i)) for i in range(4_500)]
    around = [Record(4_500 + i, 0, (0, 15_000 - 100 * (i % 2))) for i in range(9_000)]
    cuts, opened = cuts_read_in([(0, 13_500, head + around)])
    assert [cut[:2] for cut in cuts] == [(0, 4_501)]
    assert opened[:2] == (4_501, 13_500)


@pytest.mark.parametrize("size", [999, 16_383, 16_384, 16_385, 40_000])
def test_a_chunk_ends_with_the_record_that_brings_entry_number_16384(size: int) -> None:
    log = log_of(40_000, every_pane=True)
    batches = [(a, min(a + size, 40_000), log[a : a + size]) for a in range(0, 40_000, size)]
    cuts, _ = cuts_read_in(batches)
    assert [cut[:2] for cut in cuts] == [(0, 16_384), (16_384, 32_768)]


def test_repeats_of_an_entry_and_refused_records_bring_no_entry() -> None:
    # refused, pane 0, pane 0, refused, pane 1, pane 1 … up to 16,383 panes: one short of the limit
    log = [Record(i, 0, (0, (16_382 - i // 3) * PANE_MS) if i % 3 else None) for i in range(3 * 16_383)]
    size = len(log)
    cuts, opened = cuts_read_in([(0, size, log)])
    assert cuts == []
    assert opened[:2] == (0, size)
    log += [Record(size, 0, (0, 0)), Record(size + 1, 0, (1, 0)), Record(size + 2, 0, (1, 0))]
    cuts, opened = cuts_read_in([(0, 100, log[:100]), (100, size + 3, log[100:])])
    assert [cut[:2] for cut in cuts] == [(0, size + 2)]
    assert opened[:2] == (size + 2, size + 3)


def test_series_of_one_pane_and_panes_of_one_series_are_told_apart() -> None:
    # 128 series × 128 panes, the last pane that there is among them: 16,384 entries, no code meets another
    last_pane = 253_402_300_799_999 // PANE_MS
    panes = [*range(127), last_pane]
    log = [Record(i, 0, (1 << 20 | i // 128, panes[i % 128] * PANE_MS)) for i in range(16_384)]
    cuts, _ = cuts_read_in([(0, 16_384, log)])
    assert [cut[:2] for cut in cuts] == [(0, 16_384)]
    short, _ = cuts_read_in([(0, 16_383, log[:-1])])
    assert short == []


def test_a_range_without_records_moves_the_end_and_ends_nothing() -> None:
    cuts, opened = cuts_read_in([(0, 40, []), (40, 42, [Record(41, 0, None)]), (42, 90, [])])
    assert cuts == []
    assert opened == (0, 90, [])


def test_a_hole_between_two_deliveries_is_a_fault_of_ours() -> None:
    chunk = Chunk(10)
    with pytest.raises(AssertionError, match="a hole before 12"):
        chunk.extend(np.array([12]), np.array([0]), frame_of([Record(12, 0, None)]), 12, 13)
