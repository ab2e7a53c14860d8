"""Where windows begin: the grids of 10 s, 60 s, 300 s and 3600 s (contract, section 3)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.clock import window_start

from stream.window.panes import grid_s, round_up_to_pane_s, tick_at_or_before, window_start_s

HOUR_S, DAY_S = 3600, 86_400


@pytest.mark.parametrize(
    ("window_s", "grid"),
    [
        (10, 10),
        (HOUR_S, 10),
        (HOUR_S + 10, 60),
        (6 * HOUR_S, 60),
        (6 * HOUR_S + 10, 300),
        (3 * DAY_S, 300),
        (3 * DAY_S + 10, 3600),
        (30 * DAY_S, 3600),
        (400 * DAY_S, 3600),
    ],
)
def test_a_window_begins_on_the_grid_of_its_length(window_s: int, grid: int) -> None:
    assert grid_s(window_s) == grid


@given(st.integers(-(10**6), 26 * 10**9), st.integers(1, 40 * DAY_S // 10))
def test_a_window_covers_its_length_and_less_than_a_grid_more(tick: int, panes: int) -> None:
    tick_s, window_s = tick * 10, panes * 10
    start_s = window_start_s(tick_s, window_s)
    assert start_s % grid_s(window_s) == 0
    assert 0 <= tick_s - window_s - start_s < grid_s(window_s)
    assert start_s * 1000 == window_start(tick_s * 1000, window_s * 1000)


@given(st.integers(-(10**12), 3 * 10**14))
def test_a_watermark_lets_decide_up_to_the_last_pane_end_at_or_before_it(watermark_ms: int) -> None:
    tick_s = tick_at_or_before(watermark_ms)
    assert tick_s % 10 == 0
    assert tick_s * 1000 <= watermark_ms < (tick_s + 10) * 1000


@given(st.integers(0, 10**9))
def test_lengths_are_rounded_up_to_whole_panes_and_to_one_at_least(length_ms: int) -> None:
    panes = max(1, -(Fraction(-length_ms, 10_000).__floor__()))
    assert round_up_to_pane_s(length_ms) == panes * 10
