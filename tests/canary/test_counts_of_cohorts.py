"""Counts of cohorts add up in any order and can be taken back; what is kept of them has bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.canary import cohorts as numbering
from stream.canary.cohorts import FORGOTTEN_S, MAX_COHORTS, OTHER, Cohort, CohortBook
from stream.canary.counts import PANE_BITS, Counts
from stream.canary.past import BLOCK_S, KEPT_S, Past
from stream.sketch.histogram import ONE, HistogramSet, squares_of

Event = tuple[int, int, float, int, int]
"""(cohort, pane, latency in ms, weight in millionths, bad)."""
EVENT = st.tuples(
    st.integers(0, 3),
    st.integers(100, 104),
    st.sampled_from([0.0, 1.0, 3.5, 40.0, 1e6]),
    st.sampled_from([ONE, 3 * ONE, 3_333_333]),
    st.integers(0, 1),
)
EVENTS = st.lists(EVENT, max_size=25)


def counted(events: list[Event]) -> Counts:
    """One column, 0, that counts every event."""
    if not events:
        return Counts.empty()
    cohort, pane, latency, weight, bad = map(np.array, zip(*events, strict=True))
    keys = cohort.astype(np.int64) << PANE_BITS | pane
    one = np.ones(len(events), np.int64)
    return Counts.summed(
        keys,
        np.column_stack([one, weight, squares_of(weight)]),
        keys,
        np.zeros(len(events), np.int64),
        np.column_stack([one, weight, bad, bad * weight]),
        HistogramSet.from_values(keys, latency.astype(np.float64), weight),
    )


def same(one: Counts, other: Counts) -> bool:
    mine, theirs = one.histograms, other.histograms
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b, names in (
            (one, other, ("keys", "sums", "cell_keys", "cell_columns", "cells")),
            (mine, theirs, ("keys", "count", "squares", "offsets", "buckets", "weights")),
        )
        for name in names
    )


@settings(deadline=None)
@given(EVENTS, EVENTS, EVENTS)
def test_the_order_of_adding_up_does_not_matter(a: list[Event], b: list[Event], c: list[Event]) -> None:
    whole = counted(a + b + c)
    assert same(Counts.merge([counted(c), counted(a), counted(b)]), whole)
    assert same(Counts.merge([Counts.merge([counted(b), counted(c)]), counted(a)]), whole)


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_a_chunk_that_grew_less_what_was_counted_of_it_is_what_came(a: list[Event], b: list[Event]) -> None:
    assert same(counted(a + b).minus(counted(a)), counted(b))


@settings(deadline=None)
@given(EVENTS.filter(bool), EVENTS)
def test_what_is_not_in_a_chunk_cannot_be_taken_from_it(a: list[Event], b: list[Event]) -> None:
    with pytest.raises(ValueError, match="less than"):
        counted(b).minus(counted(a + b + a))


@settings(deadline=None)
@given(EVENTS)
def test_panes_are_the_parts_of_the_whole(events: list[Event]) -> None:
    parts = []
    for pane, counts in counted(events).by_pane():
        assert (counts.keys < 4).all()
        parts.append(counts.remap(counts.keys << PANE_BITS | pane))
    assert same(Counts.merge(parts), counted(events))


@settings(deadline=None)
@given(EVENTS, st.integers(99, 106), st.integers(0, 6))
def test_what_is_too_late_or_too_far_ahead_is_left_out(events: list[Event], first: int, count: int) -> None:
    panes = range(first, first + count)
    kept = [event for event in events if event[1] in panes]
    assert same(counted(events).within(panes), counted(kept))


def cohort(number: int, version: str = "1") -> Cohort:
    return Cohort("shop", "payment", f"/{number}", version, "stable")


def test_endpoints_beyond_the_limit_are_one_and_then_versions_too() -> None:
    book = CohortBook([])
    for i in range(MAX_COHORTS):
        book.number(cohort(i))
    other = book.names[book.number(cohort(MAX_COHORTS))]
    assert (other.endpoint, other.version) == (OTHER, "1")
    for i in range(2 * MAX_COHORTS):
        book.number(cohort(MAX_COHORTS, f"v{i}"))
    last = book.names[book.number(cohort(MAX_COHORTS, "yet another"))]
    assert (last.endpoint, last.version, last.track) == (OTHER, OTHER, "stable")
    assert len(book.names) <= 2 * MAX_COHORTS + 1
    assert book.names[book.number(cohort(3))] == cohort(3)


def test_all_services_of_a_shard_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "MAX_OF_ALL", 10)
    book = CohortBook([])
    for i in range(40):
        book.number(Cohort("shop", f"s{i % 4}", f"/{i}", f"v{i}", "stable"))
    assert len(book.names) <= 10 + 4


def test_a_cohort_that_is_not_heard_of_for_long_gives_its_number_to_another() -> None:
    book = CohortBook([])
    old, kept, new = (book.number(cohort(i)) for i in range(3))
    book.heard([old, kept], 100)
    book.heard([new], 100 + FORGOTTEN_S // 10)
    book.forget(1010 + FORGOTTEN_S + 10, {kept})
    assert set(book.names) == {kept, new}
    assert book.number(cohort(77)) == old


def test_the_past_is_an_hour_in_blocks_and_tells_what_was_before_a_pane() -> None:
    """Panes of ten minutes become one part when the next ten minutes begin."""
    past, first, panes = Past(), 6_000_000, 3 * KEPT_S // 10
    stored: dict[tuple[int, int], Counts] = {}
    for i in range(panes):
        pane = counted([(0, first + i, 5.0, ONE, 0)])
        past.add(first + i, pane.remap(pane.keys >> PANE_BITS))
        stored |= {place: part for place, part in past.changes() if part is not None}
        stored = {place: part for place, part in stored.items() if place in past.parts}
        assert len(past.parts) <= KEPT_S // BLOCK_S + 1 + BLOCK_S // 10
    assert stored.keys() == past.parts.keys()
    before = past.before(first + panes)
    assert KEPT_S // 10 <= before.sums[0, 0] <= (KEPT_S + BLOCK_S) // 10
    assert past.before(first).sums.sum() == 0
