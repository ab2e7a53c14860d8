"""Rolling and calendar sums against the plain list of everything that was ever added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window.limbs import BAD, EVENTS, MILLION, WIDTH, limbs, total, total_bad, totals
from stream.window.sums import PeriodSums, RollingSums

ROWS = 3
Added = tuple[int, int, tuple[int, int, int, int]]
"""(pane, row, (events, weight, bad, bad weight))."""

#  window     grid
#  10 s       10 s    the smallest
#  50 s       10 s
#  1 h        10 s
#  1 h 10 s   60 s    not a whole number of its grid
#  90 min     60 s
#  6 h 20 s   300 s
#  3 d 10 s   3600 s
WINDOWS = [10, 50, 3600, 3610, 5400, 21_620, 259_210]
GRID = {10: 10, 50: 10, 3600: 10, 3610: 60, 5400: 60, 21_620: 300, 259_210: 3600}

WEIGHTS = st.sampled_from([1, 999_999, MILLION, 3_333_333, 10**12])
COUNTS = st.tuples(st.integers(1, 9), WEIGHTS, st.integers(0, 9), WEIGHTS).map(
    lambda c: (c[0], c[0] * c[1], min(c[0], c[2]), min(c[0], c[2]) * c[3])
)


def add(sums: RollingSums | PeriodSums, one: Added) -> None:
    pane, row, (events, weight, bad, bad_weight) = one
    columns = (np.array([n], np.int64) for n in (events, weight, bad, bad_weight))
    sums.add(pane, np.array([row]), limbs(*columns))


def exact(sums: RollingSums | PeriodSums) -> list[tuple[int, int, int, int]]:
    return [(int(r[EVENTS]), total(r), int(r[BAD]), total_bad(r)) for r in sums.sums]


def added_up(added: list[Added], start_s: int) -> list[tuple[int, ...]]:
    rows = [[0, 0, 0, 0] for _ in range(ROWS)]
    for pane, row, counts in added:
        if pane * 10 >= start_s:
            for i in range(4):
                rows[row][i] += counts[i]
    return [tuple(row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), window_s=st.sampled_from(WINDOWS))
def test_a_rolling_sum_holds_exactly_what_its_window_covers(data: st.DataObject, window_s: int) -> None:
    """Moves of any length, panes added in time and late, rows in any order.

    floor(T − W, g)              T
    ┌──────┬──────┬──────┬────┐
      late panes find theirs   the pane that ends at T
    """
    grid = GRID[window_s]
    sums = RollingSums(window_s, np.zeros((ROWS, WIDTH), np.int64))
    tick_s = data.draw(st.integers(0, 3 * grid // 10)) * 10 + 1_700_000_000 // 3600 * 3600
    added: list[Added] = []
    for _ in range(data.draw(st.integers(1, 25))):
        jump = data.draw(
            st.sampled_from([10, 10, 10, grid, 60, window_s, window_s // 10 // 2 * 10, 3 * window_s])
        )
        tick_s += max(10, jump // 10 * 10)
        sums.move_to(tick_s)
        start_s = (tick_s - window_s) // grid * grid
        for _ in range(data.draw(st.integers(0, 4))):
            age = data.draw(
                st.sampled_from([0, 0, 1, window_s // 10 - 1, window_s // 10, (tick_s - start_s) // 10 - 1])
                | st.integers(0, 2 * window_s // 10)
            )
            one = (tick_s // 10 - 1 - age, data.draw(st.integers(0, ROWS - 1)), data.draw(COUNTS))
            add(sums, one)
            added.append(one)
        assert exact(sums) == added_up(added, start_s)
        assert sums.start_s == start_s


def test_a_late_pane_just_inside_the_window_counts_and_the_one_before_it_does_not() -> None:
    #  W = 3610 s, g = 60 s, T = 7330 s: [floor(3720, 60), T) = [3720, 7330)
    for tick_s, first in ((7330, 3720), (7380, 3720), (7390, 3780)):
        sums = RollingSums(3610, np.zeros((1, WIDTH), np.int64))
        sums.move_to(tick_s)
        add(sums, (first // 10 - 1, 0, (1, MILLION, 0, 0)))
        assert exact(sums) == [(0, 0, 0, 0)]
        add(sums, (first // 10, 0, (1, MILLION, 0, 0)))
        assert exact(sums) == [(1, MILLION, 0, 0)]


def test_a_pane_leaves_at_the_tick_at_which_no_grid_line_holds_it() -> None:
    #  W = 3 d 10 s, g = 1 h: the pane [0, 10) is covered until T − W passes the first hour
    sums = RollingSums(259_210, np.zeros((1, WIDTH), np.int64))
    sums.move_to(10)
    add(sums, (0, 0, (1, MILLION, 0, 0)))
    for tick_s, held in ((259_210, 1), (259_210 + 3590, 1), (259_210 + 3600, 0)):
        sums.move_to(tick_s)
        assert exact(sums)[0][0] == held, tick_s


@pytest.mark.parametrize("window_s", [50, 259_210])
def test_sums_beyond_64_bits_are_exact_and_leave_nothing_behind(window_s: int) -> None:
    sums = RollingSums(window_s, np.zeros((1, WIDTH), np.int64))
    sums.move_to(1_000_000)
    weights = [10**18 + 999_999, 9 * 10**18 + 1, 9_223_372_036_854_775_807, 123_456_789_012_345_678]
    for weight in weights:
        add(sums, (99_999, 0, (1, weight, 1, weight - 7)))
    assert sum(weights) > 2**63
    assert exact(sums) == [(4, sum(weights), 4, sum(weights) - 28)]
    sums.move_to(1_000_000 + window_s + 7200)
    assert exact(sums) == [(0, 0, 0, 0)]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_limbs_give_back_the_number(weights: list[int]) -> None:
    column = np.array(weights, np.int64)
    rows = limbs(np.ones(len(weights), np.int64), column, np.zeros(len(weights), np.int64), column)
    assert [total(row) for row in rows] == weights
    assert [total_bad(row) for row in rows] == weights


LIMBS = st.sampled_from([0, 1, 999_999, 4 * 10**12, 4 * 10**12 + 1, 4 * 10**18, 2**63 - 1])


@given(st.lists(st.tuples(*[LIMBS] * WIDTH), max_size=4))
def test_totals_of_many_rows_are_those_of_each(rows: list[tuple[int, ...]]) -> None:
    sums = np.array(rows, np.int64).reshape(-1, WIDTH)
    bad, count = totals(sums)
    assert bad.tolist() == [total_bad(row) for row in sums]
    assert count.tolist() == [total(row) for row in sums]


@given(
    st.integers(0, 10**6),
    st.integers(1, 200),
    st.dictionaries(st.integers(0, 300), st.tuples(st.integers(0, 2), COUNTS), max_size=20),
)
def test_the_ring_gives_each_grid_pane_as_it_was_added(
    first: int, panes: int, added: dict[int, tuple[int, tuple[int, int, int, int]]]
) -> None:
    sums = RollingSums(panes * 10, np.zeros((ROWS, WIDTH), np.int64))
    tick_s = (first + 400) * 10
    sums.move_to(tick_s)
    for age, (row, counts) in added.items():
        add(sums, (tick_s // 10 - 1 - age, row, counts))
    for age in range(301):
        pane = sums.get(tick_s - 10 - age * 10)
        if age >= panes:
            assert pane is None
            continue
        assert pane is not None
        got = {
            (row, int(p[EVENTS]), total(p), int(p[BAD]), total_bad(p))
            for row, p in enumerate(pane)
            if p.any()
        }
        assert got == ({(added[age][0], *added[age][1])} if age in added else set())


def periods(tick_s: int) -> tuple[int, int]:
    """(start, end] of periods of a hundred seconds; a tick on an end belongs to the one that ends."""
    start_s = (tick_s - 1) // 100 * 100
    return start_s, start_s + 100


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([10, 10, 10, 20, 90, 100, 250]),
            st.lists(st.tuples(st.integers(0, 14), st.integers(0, 2), COUNTS), max_size=3),
        ),
        max_size=30,
    )
)
def test_a_period_sum_holds_the_period_up_to_the_tick_and_the_tick_on_its_end_is_its_last(
    steps: list[tuple[int, list[tuple[int, int, tuple[int, int, int, int]]]]],
) -> None:
    """(start                                   end]
    0   10 … ticks of the period …   90   100 | 110: the next one starts at nothing
    """
    sums = PeriodSums(periods, np.zeros((ROWS, WIDTH), np.int64))
    tick_s, added = 1_000, []
    for jump, late in steps:
        tick_s += jump
        sums.move_to(tick_s)
        for age, row, counts in late:
            one = (tick_s // 10 - 1 - age, row, counts)
            add(sums, one)
            added.append(one)
        start_s = (-(-tick_s // 100) - 1) * 100
        assert exact(sums) == added_up(added, start_s), tick_s
        assert (sums.start_s, sums.end_s) == (start_s, start_s + 100)


def test_nothing_is_counted_before_time_began() -> None:
    for sums in (
        RollingSums(50, np.zeros((1, WIDTH), np.int64)),
        PeriodSums(periods, np.zeros((1, WIDTH), np.int64)),
    ):
        add(sums, (5, 0, (1, MILLION, 0, 0)))
        assert exact(sums) == [(0, 0, 0, 0)]
