"""Where reading goes on when Kafka has forgotten the group's offsets: a place that all have heard of."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.slo.reached import Memory, Resumption, memory, resumptions
from stream.window.upsert import Span, Verdict, judge

CUTS = [0, 4, 6, 11, 12, 20]
"""Chunks are cut here, by whoever reads."""


def test_there_is_nothing_to_remember_without_state() -> None:
    assert memory({}) is None
    assert resumptions([]) == {}
    assert resumptions([None, None]) == {}


def test_a_service_partition_that_has_heard_nothing_yet_lets_nobody_resume() -> None:
    told = Memory({0: (1, 6, 50)}, {0: 1}, {0: [(1, 6)]})
    assert resumptions([told, None]) == {0: None}
    assert resumptions([told, Memory()]) == {0: None}


def test_the_end_that_every_partition_has_heard_of_is_taken() -> None:
    #   chunks [0,4) [4,6) [6,11) …   the first partition has the end of the second chunk, the other not yet
    ahead = Memory({0: (1, 6, 50)}, {0: 7}, {0: [(1, 6)]})
    behind = Memory({0: (1, 5, 40)}, {0: 8}, {0: [(1, 4)]})
    assert resumptions([ahead, behind]) == {0: Resumption(1, 4, 5, 40, read_end=6, term=8, rule=2)}


def test_a_new_epoch_that_not_all_have_heard_of_begins_anew() -> None:
    new = Memory({0: (2, 6, 50)}, {0: 1}, {0: [(2, 6)]})
    old = Memory({0: (1, 9, 40)}, {0: 1}, {0: [(1, 9)]})
    assert resumptions([new, old]) == {0: None}


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_reading_on_there_counts_every_record_once(heard: list[int]) -> None:
    """Each partition has counted up to where it heard; what is sent again is ignored, or replaces."""
    memories = []
    for end in heard:
        start = max(cut for cut in CUTS if cut < end)
        memories.append(Memory({0: (1, end, 0)}, {0: 1}, {0: [(1, end if end in CUTS else start)]}))
    found = resumptions(memories).get(0)
    assert found is not None or not set(CUTS) & set(range(1, min(heard) + 1))
    for end in heard if found is not None else ():
        start = max(cut for cut in CUTS if cut < end)
        stored: Span | None = Span(1, start, end, end in CUTS)
        counted = set(range(end))
        for first, last in pairwise(CUTS):
            if first < found.offset:
                continue
            verdict = judge(stored, incoming := Span(1, first, last, final=True))
            assert verdict is not Verdict.OVERLAP
            if verdict is not Verdict.IGNORE:
                assert verdict is Verdict.REPLACE or not counted & set(range(first, last))
                counted |= set(range(first, last))
                stored = incoming
        assert counted == set(range(CUTS[-1]))
