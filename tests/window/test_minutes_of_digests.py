"""Latency digests by minute: open chunks replace what they sent before, folded ones stay."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.sketch import DigestSet
from stream.window.minutes import KEPT, Minutes
from stream.wire.tally import MINUTE_BITS

Value = tuple[int, int, float]
"""(minute, endpoint, latency)."""

FIRST = 30_000_000


def digests(values: list[Value]) -> DigestSet:
    keys = np.array([endpoint << MINUTE_BITS | minute for minute, endpoint, _ in values], np.int64)
    return DigestSet.from_values(keys, np.array([v for *_, v in values], np.float64))


def one_value(endpoint: int, value: float) -> DigestSet:
    """Of one minute: the key is the endpoint alone."""
    return DigestSet.from_values(np.array([endpoint]), np.array([value]))


def summary(found: DigestSet) -> dict[int, tuple[int, float, float, float]]:
    """endpoint → (count, smallest, largest, sum)."""
    columns = (found.count, found.low, found.high, found.total)
    return dict(zip(found.keys.tolist(), zip(*(c.tolist() for c in columns), strict=True), strict=True))


def merged(minutes: Minutes, end: int, length: int) -> DigestSet:
    return DigestSet.merge(minutes.window(end, length))


def added_up(values: list[Value], end: int, length: int) -> dict[int, tuple[int, float, float, float]]:
    by_endpoint: dict[int, list[float]] = defaultdict(list)
    for minute, endpoint, value in values:
        if end - length <= minute < end:
            by_endpoint[endpoint].append(value)
    return {e: (len(v), min(v), max(v), float(sum(v))) for e, v in by_endpoint.items()}


VALUES = st.lists(
    st.tuples(st.integers(-5, 70), st.integers(0, 2), st.integers(0, 1000).map(float)), min_size=1, max_size=8
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(FIRST, FIRST + 9),
    st.lists(
        st.tuples(
            st.sampled_from(["open", "open", "grow", "fold", "window", "window", "move"]),
            st.integers(0, 2),
            VALUES,
            st.integers(1, 13),
        ),
        max_size=40,
    ),
)
def test_a_window_holds_every_folded_value_and_the_newest_of_every_open_chunk(
    now: int,
    steps: list[tuple[str, int, list[Value], int]],
) -> None:
    """minutes   … ┬─┬─┬─┬─┬─┬─┬─┬─┬─┬ …   ten of them are a block that is merged once
    source 0 open       ├───┤ replaced by ├─────┤, folded when the next chunk opens
    """
    minutes = Minutes()
    folded: list[Value] = []
    opened: dict[int, list[Value]] = {}
    for what, source, values, number in steps:
        values = [(now - age, endpoint, value) for age, endpoint, value in values]
        kept = [v for v in values if v[0] >= now - KEPT]
        match what:
            case "open":
                minutes.fold(source)
                folded += [v for v in opened.pop(source, []) if v[0] >= now - KEPT]
                minutes.open(source, digests(kept))
                opened[source] = kept
            case "grow" if source in opened:
                opened[source] = opened[source] + kept
                minutes.open(source, digests(opened[source]))
            case "fold":
                minutes.fold(source)
                folded += [v for v in opened.pop(source, []) if v[0] >= now - KEPT]
            case "move":
                now += number
                minutes.move_to(now)
                folded = [v for v in folded if v[0] >= now - KEPT]
            case "window":
                end = now + number % 3
                for length in (1, 5, 60):
                    if end - length < now - KEPT:
                        continue
                    everything = folded + [v for one in opened.values() for v in one]
                    got = summary(merged(minutes, end, length))
                    assert got == added_up(everything, end, length), (end, length)
    assert minutes.endpoints() >= {e for one in opened.values() for _, e, _ in one}
    assert set(minutes.folded()) == {m for m, *_ in folded}


def test_a_minute_is_kept_for_an_hour_and_no_longer() -> None:
    minutes = Minutes()
    minutes.add(FIRST, one_value(1, 5.0))
    for later, kept in ((KEPT - 1, True), (KEPT, True), (KEPT + 1, False)):
        minutes.move_to(FIRST + later)
        assert (minutes.get(FIRST) is not None) == kept
    assert FIRST in minutes.dirty
    minutes.add(FIRST, one_value(1, 5.0))
    assert minutes.get(FIRST) is None, "what is too old is not taken"


def test_a_block_that_was_merged_once_takes_in_what_comes_late() -> None:
    minutes = Minutes()
    end = FIRST // 10 * 10 + 60
    early, late = end - 55, end - 54
    minutes.add(early, one_value(1, 5.0))
    assert summary(merged(minutes, end, 60)) == {1: (1, 5.0, 5.0, 5.0)}
    minutes.add(late, one_value(1, 7.0))
    assert summary(merged(minutes, end, 60)) == {1: (2, 5.0, 7.0, 12.0)}
    minutes.open(0, digests([(late, 1, 9.0)]))
    assert summary(merged(minutes, end, 60)) == {1: (3, 5.0, 9.0, 21.0)}
    minutes.open(0, digests([(late, 1, 9.0), (early, 1, 1.0)]))
    assert summary(merged(minutes, end, 60)) == {1: (4, 1.0, 9.0, 22.0)}
    minutes.open(0, digests([(end - 5, 2, 3.0)]))  # of another block: the first one loses what it had
    assert summary(merged(minutes, end, 60)) == {1: (2, 5.0, 7.0, 12.0), 2: (1, 3.0, 3.0, 3.0)}
    minutes.fold(0)
    assert summary(merged(minutes, end, 60)) == {1: (2, 5.0, 7.0, 12.0), 2: (1, 3.0, 3.0, 3.0)}
