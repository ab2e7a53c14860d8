"""Which versions a rollback names: what serves now, and what served before it and was not taken back."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.slo import versions as versions_module
from stream.slo.versions import MAX_VERSIONS, Versions

SERVICE = ("shop", "payment")
NAMES = ("a", "b", "c", "d", "e")
START_S = 1_790_000_000 // 3600 * 3600
DAY_S, HOUR_S = 86_400, 3600


class Story:
    """All that was seen and named, and the rule read off it anew whenever it is asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.seen: dict[str, dict[int, int]] = defaultdict(dict)
        """version → tick → events; without what is forgotten."""
        self.served: list[int] = []
        """Ticks at which any version was seen."""
        self.named: list[tuple[int, str]] = []

    def own_time(self, from_s: int, to_s: int) -> int:
        between = [t for t in self.served if from_s <= t <= to_s]
        return sum(min(b - a, 300) for a, b in pairwise(between))

    def runs(self, version: str) -> list[int]:
        ticks = sorted(self.seen[version])
        begins = [t for s, t in pairwise(ticks) if self.own_time(s, t) >= HOUR_S]
        return ticks[:1] + begins

    def is_condemned(self, version: str, tick_s: int) -> bool:
        for named_s, name in self.named:
            over = [run for run in self.runs(version) if named_s < run <= tick_s]
            over += [t for t in self.seen[version] if named_s + DAY_S <= t <= tick_s]
            if name == version and named_s < tick_s and min(self.seen[version]) <= named_s and not over:
                return True
        return False

    def serving(self, tick_s: int) -> tuple[str | None, str | None]:
        events = {
            v: sum(n for t, n in ticks.items() if tick_s - HOUR_S < t <= tick_s)
            for v, ticks in self.seen.items()
        }
        candidates = [v for v, n in events.items() if n >= 10] or [v for v, n in events.items() if n]
        if not candidates:
            return None, None
        began = {v: self.runs(v)[-1] for v in self.seen}
        version = max(candidates, key=lambda v: (began[v], v))
        before = [v for v in self.seen if began[v] < began[version] and not self.is_condemned(v, tick_s)]
        return version, max(before, key=lambda v: (max(self.seen[v]), began[v], v), default=None)

    def forget(self) -> None:
        while len(self.seen) > self.most:
            del self.seen[min(self.seen, key=lambda v: (max(self.seen[v]), self.runs(v)[-1], v))]


GAPS = [1, 1, 1, 2, 5, 29, 30, 31, 60, 330, 359, 360, 361, 720, 3000, 8639, 8640, 8641]
"""In panes: around 300 s, an hour and a day."""


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(GAPS),
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from([1, 3, 9, 10, 11]), max_size=3),
            st.sets(st.sampled_from([*NAMES, "nobody"]), max_size=1),
        ),
        max_size=40,
    ),
    st.sampled_from([2, 3, 256]),
)
def test_what_is_named_is_what_the_rule_says_of_the_whole_story(
    steps: list[tuple[int, dict[str, int], set[str]]], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions_module, "MAX_VERSIONS", most)
        versions, story, tick_s = Versions([SERVICE]), Story(most), START_S
        for panes, events, named in steps:
            tick_s += 10 * panes
            if events:
                story.served.append(tick_s)
                for version, n in events.items():
                    story.seen[version][tick_s] = n
            versions.move_to(tick_s, {SERVICE: events} if events else {})
            assert versions.serving(SERVICE) == story.serving(tick_s)
            for version in sorted(story.seen):
                assert versions.is_condemned(SERVICE, version) == story.is_condemned(version, tick_s)
            for version in named:
                story.named.append((tick_s, version))
                versions.condemn(SERVICE, version, tick_s)
            versions.settle()
            story.forget()
            assert set(versions.seen[SERVICE]) == set(story.seen)


class Told:
    """Versions of one service, tick by tick."""

    def __init__(self) -> None:
        self.versions, self.tick_s = Versions([SERVICE]), START_S

    def at(self, after_s: int, *seen: str, events: int = 10) -> tuple[str | None, str | None]:
        """What is named so many seconds later, at a tick at which these are seen."""
        self.tick_s += after_s
        self.versions.move_to(self.tick_s, {SERVICE: dict.fromkeys(seen, events)} if seen else {})
        return self.versions.serving(SERVICE)

    def settle(self) -> None:
        self.versions.settle()

    def condemn(self, version: str) -> None:
        self.versions.condemn(SERVICE, version, self.tick_s)


def test_nobody_is_named_while_nobody_serves() -> None:
    told = Told()
    assert told.at(10) == (None, None)
    assert told.at(10, "1") == ("1", None)
    assert told.at(3590) == ("1", None)  # its pane begins right an hour before
    assert told.at(10) == (None, None)


@pytest.mark.parametrize(("gap_s", "named"), [(3590, ("2", "1")), (3600, ("1", "2"))])
def test_a_version_unseen_for_an_hour_begins_anew(gap_s: int, named: tuple[str, str]) -> None:
    #  1 ── 2 2 2 … 2 ── 1: one exactly 3,600 s earlier is outside
    told = Told()
    told.at(10, "1")
    for _ in range(gap_s // 10 - 1):
        told.at(10, "2")
    assert told.at(10, "1") == named


@pytest.mark.parametrize("silence_s", [300, 310, 36_000])
@pytest.mark.parametrize(("silences", "named"), [(1, ("2", "1")), (11, ("2", "1")), (12, ("1", "2"))])
def test_a_night_of_silence_keeps_the_order(silence_s: int, silences: int, named: tuple[str, str]) -> None:
    """Silences of the whole service count as 300 s at most; twelve of them are an hour."""
    told = Told()
    told.at(10, "1")
    told.at(10, "2")
    for _ in range(silences - 1):
        told.at(silence_s, "2")
    assert told.at(silence_s, "1", "2") == named


@pytest.mark.parametrize(("events", "named"), [(9, ("1", None)), (10, ("2", "1"))])
def test_a_handful_of_requests_is_no_candidate_beside_one_that_serves(
    events: int, named: tuple[str, str | None]
) -> None:
    told = Told()
    told.at(10, "1")
    assert told.at(10, "2", events=events) == named
    assert Told().at(10, "3", events=1) == ("3", None)


def test_ties_go_by_the_run_then_by_name() -> None:
    told = Told()
    told.at(10, "1", "2")
    assert told.at(10, "a", "b") == ("b", "2")  # a began with b, and not before it
    assert told.at(10, "1", "b") == ("b", "1")


def test_what_was_taken_back_is_no_way_back() -> None:
    told = Told()
    told.at(10, "1")
    told.at(10, "2")
    assert told.at(10, "3") == ("3", "2")
    told.condemn("2")
    assert told.at(10, "3") == ("3", "1")
    told.condemn("1")
    assert told.at(10, "3") == ("3", None)


def test_what_people_kept_for_a_day_is_condemned_no_more() -> None:
    told = Told()
    told.at(10, "1")
    told.at(10, "2")
    told.condemn("1")
    for _ in range(8639):
        assert told.at(10, "1", "2") == ("2", None)
    assert told.at(10, "1", "2") == ("2", "1")


def test_a_new_run_ends_what_was_held_against_the_last_one() -> None:
    told = Told()
    told.at(10, "1")
    told.at(10, "2")
    told.condemn("2")
    for _ in range(360):
        told.at(10, "1")
    assert told.at(10, "2") == ("2", "1")
    assert told.at(10, "3") == ("3", "2")


@pytest.mark.parametrize("seed", range(3))
def test_at_most_256_are_kept_those_seen_last(seed: int) -> None:
    rng, told = random.Random(seed), Told()
    seen = [[f"v{rng.randrange(400)}" for _ in range(40)] for _ in range(30)]
    order: dict[str, tuple[int, int, str]] = {}
    for names in seen:
        told.at(10, *names)
        for name in names:
            order[name] = told.tick_s, order.get(name, (0, told.tick_s))[1], name
        told.settle()
        order = dict(sorted(order.items(), key=lambda one: one[1])[-MAX_VERSIONS:])
        assert set(told.versions.seen[SERVICE]) == set(order)


def test_a_version_for_each_request_is_no_more_to_remember_than_the_most_versions() -> None:
    told = Told()
    for tick in range(5):
        told.at(10, *(f"v{tick}-{i}" for i in range(1_000)))
        told.settle()
    assert [len(sightings) for _, sightings in told.versions.hour] == [MAX_VERSIONS] * 5


def test_what_is_forgotten_has_not_been_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events of the last hour count for nothing when it comes back, and nothing is held against it."""
    monkeypatch.setattr(versions_module, "MAX_VERSIONS", 1)
    told = Told()
    told.at(10, "1", events=9)
    told.condemn("1")
    told.at(10, "2", events=10)
    told.settle()
    assert told.at(10, "1", events=9) == ("2", None)
    assert not told.versions.is_condemned(SERVICE, "1")
    for _ in range(360):
        told.at(10, "1", events=1)
        told.settle()
    assert told.versions.seen[SERVICE]["1"].events == 360
