"""Dual-write comparisons: when they begin, what they say, and what survives."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import faults
from stream.canary.shadow import MAX_VERSIONS, Shadow, ShadowRecord
from stream.canary.verdict import Verdict
from stream.model.comparison import Comparison
from stream.wire.state import decode, encode

LIMIT_PCT = "0.5"
COMPARISON = Comparison("shop", "ledger", "ledger", Decimal(LIMIT_PCT), shortest_s=120, longest_s=1200)


class Play:
    def __init__(self, comparison: Comparison = COMPARISON) -> None:
        self.shadow = Shadow(comparison)
        self.tick_s = 0
        self.records: list[dict[str, Any]] = []

    def on(
        self, panes: int, requests: int = 0, mismatches: int = 0, version: str = "2", frozen: bool = False
    ) -> Play:
        for _ in range(panes):
            if requests:
                self.shadow.count(version, requests, mismatches, float(requests), float(mismatches))
            self.tick_s += 10
            self.records += [signal.value for signal in self.shadow.at(self.tick_s, frozen)]
        return self

    @property
    def verdicts(self) -> list[tuple[str, bool]]:
        return [(one["verdict"], one["final"]) for one in self.records]


def test_nothing_is_said_before_the_first_request() -> None:
    game = Play().on(100)
    assert game.records == []
    assert game.shadow.judge(1000).verdict is Verdict.NODATA


def test_a_path_without_mismatches_passes_and_that_is_the_last_word() -> None:
    game = Play().on(200, 500)
    *before, last = game.records
    assert {one["verdict"] for one in before} == {"inconclusive"}
    assert (last["verdict"], last["recommendation"], last["final"]) == ("pass", "promote", True)
    assert last["interval_pct"][1] < float(LIMIT_PCT)
    assert last["requests"] == 500 * len(range(0, game.tick_s, 10)[: last["looks"]])


def test_it_does_not_pass_before_its_shortest_time() -> None:
    game = Play().on(11, 50_000)
    assert game.verdicts == [("inconclusive", False)]
    assert game.on(1, 50_000).verdicts[-1] == ("pass", True)


def test_too_many_mismatches_fail_at_once_and_nothing_is_rolled_back() -> None:
    game = Play().on(4, 1000, 20)
    (last,) = game.records
    assert (last["verdict"], last["recommendation"]) == ("fail", "pause")
    assert last["evaluated_at"] == "1970-01-01T00:00:30.000Z"
    assert "2 % mismatches" in last["reason"]
    assert "more than the 0.5 % that are allowed" in last["reason"]


def test_one_bad_pane_is_no_rate() -> None:
    game = Play().on(2, 1000).on(1, 1000, 1000).on(3, 1000)
    assert game.verdicts == [("inconclusive", False)]


def test_around_the_limit_it_is_inconclusive_to_the_end() -> None:
    game = Play().on(130, 400, 2)
    assert game.verdicts[-1] == ("inconclusive", True)
    assert game.records[-1]["recommendation"] == "pause"
    assert len(game.records) == 20


def test_too_few_requests_never_pass_silently() -> None:
    game = Play().on(121, 8)
    assert game.verdicts[-1] == ("inconclusive", True)
    assert "960 requests: 1,000 are needed" in game.records[-1]["reason"]


def test_a_pass_of_a_frozen_service_is_a_pause() -> None:
    last = Play().on(20, 50_000, frozen=True).records[-1]
    assert (last["verdict"], last["recommendation"]) == ("pass", "pause")
    assert "frozen" in last["reason"]


def test_a_version_that_was_not_compared_before_begins_anew() -> None:
    # version  2 2 2 2 3 3 3      2 is not counted beside 3
    game = Play().on(4, 1000, 20)
    game.shadow.count("2", 1000, 20, 1000.0, 20.0)
    game.on(6, 1000, version="3")
    last = game.records[-1]
    assert (last["version"], last["mismatches"]) == ("3", 0)
    assert last["started_at"] == "1970-01-01T00:00:40.000Z"


def test_an_old_version_that_lingers_is_left_out() -> None:
    game = Play().on(3, 100).on(3, 100, version="3")
    assert game.shadow.state.requests == 300
    game.on(3, 100)
    assert game.shadow.state.requests == 300


@pytest.mark.parametrize(("silent", "anew"), [(60, False), (61, True)])
def test_it_begins_anew_after_more_than_ten_minutes_of_silence(silent: int, anew: bool) -> None:
    game = Play().on(3, 100).on(silent - 1).on(1, 100)
    assert game.shadow.state.requests == (100 if anew else 400)


def test_after_the_last_word_nothing_more_is_said_of_a_version() -> None:
    game = Play().on(4, 1000, 20)
    assert game.on(60, 1000).verdicts == [("fail", True)]


def test_sampled_requests_count_for_what_they_are_worth() -> None:
    game = Play()
    game.shadow.count("2", 1000, 10, 500.0, 5.0)
    game.on(6)
    assert (game.records[0]["requests"], game.records[0]["effective_n"]) == (1000, 500.0)
    assert game.records[0]["mismatch_pct"] == pytest.approx(1)


def test_versions_that_are_remembered_are_bounded() -> None:
    game = Play()
    for version in range(3 * MAX_VERSIONS):
        game.on(1, 10, version=str(version))
    assert len(game.shadow.state.versions) == MAX_VERSIONS


PANES = st.lists(
    st.lists(st.tuples(st.sampled_from(["", "2", "3"]), st.integers(0, 3000), st.integers(0, 5)), max_size=3),
    max_size=60,
)


@settings(deadline=None)
@given(PANES, st.integers(0, 59), st.randoms(use_true_random=False))
def test_it_goes_on_after_a_restore_in_any_order_of_counts_and_its_records_are_as_published(
    panes: list[list[tuple[str, int, int]]], at: int, random: Any
) -> None:
    through, restored = Shadow(COMPARISON), Shadow(COMPARISON)
    for pane, counts in enumerate(panes):
        for shadow in (through, restored):
            for version, requests, mismatches in random.sample(counts, len(counts)):
                bad = min(mismatches, requests)
                shadow.count(version, requests, bad, float(requests), float(bad))
        if pane == at:
            restored = Shadow(COMPARISON, decode(ShadowRecord, encode(restored.state)))
        said = [list(shadow.at(10 * pane + 10)) for shadow in (through, restored)]
        assert said[0] == said[1]
        assert restored.state == through.state
        for signal in said[0]:
            assert faults("shadow-verdicts", signal.value) == []
