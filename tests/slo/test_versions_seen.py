"""Which versions a rollback names: the newest by smallest ts; those long unseen are forgotten."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.slo.versions import MAX_VERSIONS, Versions

MEMORY_S = 3610  # on the grid of 60 s
NAMES = ("a", "b", "c", "d")
START_S = 1_790_000_000 // 3600 * 3600


class Story:
    """Every event there was; a version without one in the window is struck out of it."""

    def __init__(self) -> None:
        self.events: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """version → (ts, end of its pane)."""

    def forget(self, tick_s: int) -> None:
        start_s = (tick_s - MEMORY_S) // 60 * 60
        for version in [v for v, seen in self.events.items() if all(end <= start_s for _, end in seen)]:
            del self.events[version]

    def newest(self) -> list[str | None]:
        order = sorted(self.events, key=lambda v: (min(ts for ts, _ in self.events[v]), v))
        return [*reversed(order), None, None][:2]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 1, 2, 100, 355, 360, 361, 362, 367, 368]),  # panes until the next event
            st.sampled_from(NAMES),
            st.lists(st.tuples(st.sampled_from([1, 200, 359, 360, 361, 366]), st.integers(0, 2)), max_size=3),
            st.integers(0, 2),  # equal times are common
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_the_two_newest_are_those_of_the_events_that_are_not_forgotten(
    steps: list[tuple[int, str, list[tuple[int, int]], int, bool]],
) -> None:
    """Time passes tick by tick; a version is forgotten at the tick that finds its window empty.

    a ───x──────────────(3610 s)──┤ forgotten     x starts anew, with its own ts
    """
    versions, story, tick_s = Versions(MEMORY_S), Story(), START_S
    for panes, name, late, ms, ask in steps:
        for _ in range(panes - 1):
            tick_s += 10
            story.forget(tick_s)
        tick_s += 10
        pane = tick_s // 10 - 1
        if not late:
            versions.observe(name, pane * 10_000 + ms, pane, tick_s - 10)
            story.events[name].append((pane * 10_000 + ms, tick_s))
        else:
            story.forget(tick_s)
        for age, ms in late:  # they come after the tick was decided, and are seen from the next one on
            versions.observe(name, (pane - age) * 10_000 + ms, pane - age, tick_s)
            story.events[name].append(((pane - age) * 10_000 + ms, tick_s - 10 * age))
        tick_s += 10 * bool(late)
        story.forget(tick_s)
        if ask:
            assert list(versions.newest(tick_s)) == story.newest()
    story.forget(tick_s)
    assert list(versions.newest(tick_s)) == story.newest()


@pytest.mark.parametrize(("memory_s", "last_tick_s"), [(3600, 3600), (3610, 3660), (21_610, 21_900)])
def test_a_version_is_forgotten_with_the_grid_of_the_longest_window(memory_s: int, last_tick_s: int) -> None:
    #  seen in [0, 10): the window [floor(T − W, g), T) covers it as long as its start is below 10
    for tick_s, known in ((last_tick_s, "v1"), (last_tick_s + 10, None)):
        versions = Versions(memory_s)
        versions.observe("v1", 3, 0, 0)
        assert versions.newest(tick_s)[0] == known, tick_s


def test_the_newest_is_the_one_that_began_last_not_the_one_seen_last() -> None:
    versions = Versions(3600)
    versions.observe("v2", 20_000, 2, 20)
    versions.observe("v1", 10_000, 1, 20)  # late
    versions.observe("v1", 30_000, 3, 30)
    assert versions.newest(40) == ("v2", "v1")
    versions.observe("v0", 20_000, 2, 40)  # as old as v2: ties go by name
    assert versions.newest(50) == ("v2", "v0")
    versions.observe("v2", 5_000, 0, 50)  # it began earlier than was known
    assert versions.newest(60) == ("v0", "v1")


@pytest.mark.parametrize("seed", range(5))
def test_at_most_256_are_kept_the_newest_ones(seed: int) -> None:
    names = [f"v{i}" for i in range(300)]
    first_ms = {name: 10_000 + i // 2 for i, name in enumerate(names)}
    random.Random(seed).shuffle(names)
    versions = Versions(3600)
    for name in names:
        versions.observe(name, first_ms[name], 1, 10)
    kept = sorted(names, key=lambda v: (first_ms[v], v))[-MAX_VERSIONS:]
    assert versions.newest(20) == (kept[-1], kept[-2])
    assert set(versions.seen) == set(kept)


def test_what_is_kept_does_not_depend_on_the_order_of_a_panes_sightings() -> None:
    #  pane 0: 256 versions    pane 1: the oldest of them again, and one more
    kept = []
    for order in (("v000", 10_100), ("w", 10_200)), (("w", 10_200), ("v000", 10_100)):
        versions = Versions(3600)
        for i in range(MAX_VERSIONS):
            versions.observe(f"v{i:03}", i, 0, 0)
        versions.settle(10)
        for name, first_ms in order:
            versions.observe(name, first_ms, 1, 10)
        kept.append((versions.newest(20), set(versions.seen)))
    assert kept[0] == kept[1]
