"""Counts by series, coarser the older they are, still sum exactly what every window covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window.history import Cells, History
from stream.wire.columns import pack, unpack

HOUR_S, DAY_S = 3600, 86_400
PAIRS = np.arange(4)
WINDOWS = [10, 300, HOUR_S, HOUR_S + 10, 5400, 6 * HOUR_S, 6 * HOUR_S + 10, DAY_S, 3 * DAY_S, 5 * DAY_S]


def start_of(tick_s: int, window_s: int) -> int:
    grid = (
        10 if window_s <= HOUR_S else 60 if window_s <= 6 * HOUR_S else 300 if window_s <= 3 * DAY_S else 3600
    )
    return (tick_s - window_s) // grid * grid


def cells(pair: int, weight: int, bad_weight: int) -> Cells:
    return Cells(np.array([pair]), np.array([weight]), np.array([bad_weight]))


Added = tuple[int, int, int, int]
"""(pane, pair, weight, bad weight)."""


def added_up(added: list[Added], tick_s: int, window_s: int) -> tuple[list[int], list[int]]:
    weight, bad = [0] * len(PAIRS), [0] * len(PAIRS)
    for pane, pair, w, b in added:
        if start_of(tick_s, window_s) <= pane * 10 < tick_s:
            weight[pair] += w
            bad[pair] += b
    return weight, bad


@settings(max_examples=120, deadline=None)
@given(data=st.data(), longest_s=st.sampled_from(WINDOWS[2:]))
def test_every_window_sums_what_was_added_to_it_however_old_it_grew(
    data: st.DataObject, longest_s: int
) -> None:
    """3600 s    300 s     60 s     10 s
    ├───┼───┼──┬──┬──┬─┬─┬─┬─┬─┬┬┬┬┬┬┬┬┤ T
          3 d      6 h     1 h            panes that grow old are merged into the next coarser ones
    """
    history, added = History(longest_s), []
    tick_s = 1_700_000_000 // 3600 * 3600 + data.draw(st.integers(0, 360)) * 10
    for _ in range(data.draw(st.integers(1, 14))):
        tick_s += data.draw(st.sampled_from([10, 10, 50, 60, 3600, 3660, 7 * HOUR_S, 2 * DAY_S, longest_s]))
        tick_s += data.draw(st.sampled_from([0, -tick_s % 60, -tick_s % 3600]))
        history.move_to(tick_s)
        for _ in range(data.draw(st.integers(0, 4))):
            age = data.draw(
                st.sampled_from([-3, -1, 0, 1, longest_s // 10])
                | st.integers(352, 368)  # about an hour
                | st.integers(2128, 2192)  # about six
                | st.integers(25_550, 26_282)  # about three days
                | st.integers(0, longest_s // 10 + 400)
            )
            pair, weight = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 10**12))
            one = (tick_s // 10 - 1 - age, pair, weight, data.draw(st.sampled_from([0, weight // 2, weight])))
            history.add(one[0], cells(*one[1:]))
            if one[0] * 10 >= start_of(tick_s, longest_s):
                added.append(one)
        for window_s in WINDOWS:
            if window_s <= longest_s:
                assert history.totals(PAIRS, tick_s, window_s) == added_up(added, tick_s, window_s), window_s


def test_panes_are_merged_as_they_grow_old_and_forgotten_in_the_end() -> None:
    history = History(5 * DAY_S)
    history.move_to(10)
    for pane in range(360):  # an hour of panes
        history.add(pane, cells(0, 1, 0))
    counts = []
    for tick_s in (3600, 2 * HOUR_S + 120, 8 * HOUR_S, 4 * DAY_S + 2 * HOUR_S, 6 * DAY_S + 2 * HOUR_S):
        history.move_to(tick_s)
        counts.append(len(history.places()))
    assert counts == [360, 60, 12, 1, 0]
    assert history.pairs() == set()


def test_counts_that_are_put_back_are_those_that_were_taken_out() -> None:
    history, again = History(DAY_S), History(DAY_S)
    for one in (history, again):
        one.move_to(100_000 * 60)
    for age, pair in ((1, 0), (1, 3), (400, 2), (5_000, 1), (1, 0)):
        history.add(100_000 * 6 - age, cells(pair, 7 + age, age))
    for place in history.places():
        found = history.get(place)
        assert found is not None
        again.restore(place, found)
    for window_s in WINDOWS[:8]:
        tick_s = 100_000 * 60
        assert again.totals(PAIRS, tick_s, window_s) == history.totals(PAIRS, tick_s, window_s)
    assert again.pairs() == {0, 1, 2, 3}


def test_all_that_changed_is_known_to_have_changed() -> None:
    history = History(DAY_S)
    history.move_to(10 * HOUR_S)
    history.dirty.clear()
    history.add(10 * 360 - 1, cells(0, 1, 0))
    history.add(8 * 360, cells(0, 1, 0))
    assert history.dirty == {(10, 10 * HOUR_S - 10), (60, 8 * HOUR_S)}
    history.dirty.clear()
    history.move_to(12 * HOUR_S)
    assert history.dirty == {(10, 10 * HOUR_S - 10), (60, 10 * HOUR_S - 60)}
    history.dirty.clear()
    history.move_to(3 * DAY_S)
    assert {place for place in history.dirty if history.get(place) is None} >= {(60, 10 * HOUR_S - 60)}
    assert history.places() == []


@pytest.mark.parametrize("adds", [1, 16, 17, 100])
def test_however_often_a_pane_is_added_to_it_holds_the_sum(adds: int) -> None:
    history = History(HOUR_S)
    history.move_to(60)
    for i in range(adds):
        history.add(5, cells(i % 4, 10, 1))
    assert sum(history.totals(PAIRS, 60, 60)[0]) == 10 * adds
    assert sum(history.totals(PAIRS, 60, 60)[1]) == adds


@pytest.mark.parametrize("weight", [10**12, 10**12 + 1])
def test_ten_million_of_the_heaviest_are_exact_are_stored_and_can_be_taken_back(weight: int) -> None:
    """In whole requests and in millionths; 9.2 million of them are what 64 bits hold."""
    history, tick_s = History(DAY_S), 1_700_000_000 // 3600 * 3600
    history.move_to(tick_s)
    chunk, count = 50_000, 0
    for i in range(600):
        history.add(tick_s // 10 - 1 - i % 2, cells(1, chunk * weight, chunk // 5 * weight))
        count += chunk
    assert history.totals(PAIRS, tick_s, HOUR_S) == (
        [0, count * weight, 0, 0],
        [0, count // 5 * weight, 0, 0],
    )
    for place in history.places():
        held = history.get(place)
        assert held is not None
        stored = [unpack(pack(column)) for column in (held.pair, held.weight, held.bad_weight)]
        history.restore(place, Cells(*stored, held.unit))
    for i in range(600):
        history.add(tick_s // 10 - 1 - i % 2, cells(1, -chunk * weight, -chunk // 5 * weight))
    history.add(tick_s // 10 - 1, cells(1, weight, 7))
    assert history.totals(PAIRS, tick_s, HOUR_S) == ([0, weight, 0, 0], [0, 7, 0, 0])
