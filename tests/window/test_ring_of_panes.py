"""A ring's panes, held small or in full, are the sums of what was added."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window.limbs import MILLION, WIDTH, limbs
from stream.window.ring import Ring

PANES, ROWS = 3, 2
COUNT = st.sampled_from([0, 1, 7, 2**30, 2**31 - 1])
WEIGHT = st.sampled_from([MILLION, MILLION, MILLION, 1, 2_500_000, 10**12])
ADDING = st.tuples(
    st.integers(0, PANES - 1), st.integers(0, ROWS - 1), COUNT, WEIGHT, st.sampled_from([1, -1])
)
TAKING = st.integers(0, PANES - 1)


@settings(max_examples=300, deadline=None)
@given(st.lists(ADDING | TAKING, max_size=25))
def test_a_pane_is_the_sum_of_what_was_added_since_it_was_taken(steps: list[object]) -> None:
    """Plain counts, sampled ones, corrections of either, and sums of more than 31 bits, in any order."""
    ring, expected = Ring(PANES, ROWS), np.zeros((PANES, ROWS, WIDTH), np.int64)
    for step in steps:
        if isinstance(step, int):
            taken = ring.take(step)
            assert np.array_equal(np.zeros((ROWS, WIDTH)) if taken is None else taken, expected[step])
            expected[step] = 0
        else:
            place, row, count, weight, sign = step  # type: ignore[misc]
            one = [
                np.array([n], np.int64) for n in (count, count * min(weight, 10**9), count, count * MILLION)
            ]
            counts = sign * limbs(*one)
            ring.add(place, np.array([row]), counts)
            expected[place, row] += counts[0]
    for place in range(PANES):
        assert np.array_equal(ring.get(place), expected[place])


def test_what_left_the_ring_leaves_it_small_again() -> None:
    ring, sampled = Ring(1, 1), limbs(*(np.array([n], np.int64) for n in (1, 5, 0, 0)))
    ring.add(0, np.array([0]), sampled)
    assert ring._full
    ring.clear()
    assert not ring._full
    assert ring.take(0) is None
