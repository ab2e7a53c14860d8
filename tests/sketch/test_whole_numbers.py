"""Sums of whole numbers: what Python's own integers say, wherever int64 ends."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.sketch import whole
from stream.wire.columns import pack, unpack

NUMBER = st.one_of(
    st.integers(-10, 10),
    st.integers(-(1 << 62) + 1, (1 << 62) - 1),
    st.sampled_from([(1 << 62) - 1, 1 - (1 << 62), 1 << 62, -(1 << 62), 1 << 90, -(1 << 90)]),
)
NUMBERS = st.lists(NUMBER, min_size=1, max_size=12)


def of(numbers: list[int]) -> whole.Whole:
    return whole.narrowed(np.array(numbers, object))


@given(NUMBERS, st.data())
def test_sums_are_exact(numbers: list[int], data: st.DataObject) -> None:
    values, n = of(numbers), len(numbers)
    starts = sorted(data.draw(st.sets(st.integers(0, n - 1))) | {0})
    bounds = list(pairwise([*starts, n]))
    assert whole.runs(values, np.array(starts)).tolist() == [sum(numbers[a:b]) for a, b in bounds]
    assert whole.running(values).tolist() == [0, *accumulate(numbers)]
    assert whole.summed(np.array([values, values]), 0).tolist() == [2 * x for x in numbers]
    assert int(whole.summed(values, 0)) == sum(numbers)
    others = data.draw(st.lists(NUMBER, min_size=n, max_size=n))
    assert whole.added(values, of(others)).tolist() == [a + b for a, b in zip(numbers, others, strict=True)]
    assert whole.times(values, 10**6).tolist() == [x * 10**6 for x in numbers]
    places = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    expected = [sum(x for x, p in zip(numbers, places, strict=True) if p == place) for place in range(4)]
    assert whole.placed((4,), np.array(places), values).tolist() == expected


@given(NUMBERS)
def test_what_fits_is_narrow_and_every_column_comes_back(numbers: list[int]) -> None:
    values = of(numbers)
    assert whole.is_wide(values) == any(abs(x) >= 1 << 62 for x in numbers)
    back = unpack(pack(values))
    assert (back.dtype, back.tolist()) == (values.dtype, numbers)
    assert whole.floats(values).tolist() == [float(x) for x in numbers]
    taken = whole.added(whole.added(values, np.array([1 << 62] * len(numbers), object)), -values)
    assert taken.tolist() == [1 << 62] * len(numbers)


@given(st.lists(st.integers(0, 1 << 63), min_size=1, max_size=12), st.data())
def test_places_in_running_sums_are_exact(numbers: list[int], data: st.DataObject) -> None:
    sums = whole.running(of(numbers))
    exact = [0, *accumulate(numbers)]
    at = data.draw(st.integers(0, len(numbers)))
    more = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.5]))
    found = (
        whole.least_from(sums, sums[[at]], np.array([more])),
        whole.first_beyond(sums, sums[[at]], np.array([more])),
    )
    assert found[0].tolist() == [next((i for i, x in enumerate(exact) if x - exact[at] >= more), len(exact))]
    assert found[1].tolist() == [next((i for i, x in enumerate(exact) if x - exact[at] > more), len(exact))]


def test_half_a_unit_counts_beside_sums_that_floats_hold_to_the_unit() -> None:
    sums = whole.running(of([0, 1 << 52]))
    assert whole.least_from(sums, sums[[2]], np.array([0.5])).tolist() == [3]
    assert whole.first_beyond(
        whole.running(of([1 << 53, 1])), np.array([1 << 53]), np.array([0.5])
    ).tolist() == [2]
