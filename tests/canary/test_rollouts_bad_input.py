"""What is wrong with what tells of a rollout, and what then happens: the rows of docs/canary.md."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canary.timelines import SILENT_PANES, WARMUP_S, Play, analysis, never, play, told
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.canary.announcements import MAX_APPLIED, MAX_WAITING
from stream.canary.book import CanaryBook
from stream.canary.course import MAX_FAULTS, MAX_HISTORY
from stream.canary.rollout import Rollout
from stream.canary.rollout_state import Phase, RolloutRecord
from stream.canary.sightings import MAX_HEARD
from stream.canary.verdict import Verdict
from stream.model.analysis import Baseline
from stream.model.deploy import DeployEvent, DeployState
from stream.wire.state import decode, encode


def faults(game: Play) -> str:
    return "\n".join(game.rollout.faults)


def test_a_stage_that_goes_backwards_is_told_and_judged_anew_at_its_share() -> None:
    # told    5 %  25 %  5 %
    # canary  bbbbbbbbbbbbbb
    game = play(
        told("started", 10, "5"),
        told("stage", 40, "25"),
        told("stage", 80, "5"),
        stages=(5, 25),
        stable="a" * 8,
        canary="b" * 8,
    )
    stage = game.rollout.running
    assert stage is not None
    assert (stage.percent, stage.since_s, stage.first_s) == (5.0, 80, None)
    assert faults(game) == "stage of d1 goes back from 25 % to 5 %: it is judged anew"
    game.on(stable="a", canary="b")
    assert game.rollout.running is not None
    assert game.rollout.running.counts_from_s(WARMUP_S) == 80 + WARMUP_S


def test_a_repeat_changes_nothing_before_its_tick_nor_after() -> None:
    start, stage = told("started", 10, "5"), told("stage", 40, "25")
    once = play(start, stage, stages=(5, 25), stable="a" * 8, canary="b" * 8).rollout
    game = play(start, start, stage, stages=(5, 25), stable="a" * 6, canary="b" * 6)
    assert not game.rollout.announce(stage)
    assert not game.rollout.announce(start)
    assert game.on(stable="aa", canary="bb").rollout.record() == once.record()
    assert once.faults == []


def test_a_second_start_of_a_deployment_is_told_and_ignored() -> None:
    game = play(told("started", 10, "5"), told("started", 40, "25"), stages=(5, 25), stable="a" * 5)
    assert faults(game) == "started of d1 for a second time: ignored"
    assert game.rollout.stage is not None
    assert (game.rollout.stage.percent, game.rollout.stage.since_s) == (5.0, 10)


@pytest.mark.parametrize("state", ["started", "stage", "promoted"])
def test_a_deployment_that_is_over_does_not_begin_again(state: str) -> None:
    game = play(
        told("started", 10, "5"), told("finished", 20), told(state, 30, "25"), stages=(5, 25), stable="aaaa"
    )
    assert faults(game) == f"{state} of d1 comes after its end: ignored"
    assert game.rollout.phase is Phase.FINISHED


def test_the_end_of_a_superseded_deployment_is_no_news() -> None:
    other = told("started", 20, "5", "d2", "c", "b")
    game = play(told("started", 10, "5"), other, told("finished", 30), stages=(5, 25), stable="aaaa")
    assert (game.rollout.deployment, game.rollout.phase, faults(game)) == ("d2", Phase.RUNNING, "")


def test_a_start_that_is_older_than_the_deployment_under_way_is_told_and_ignored() -> None:
    # told    d2, of 40 s; then d1, of 20 s
    game = play(told("started", 40, "5", "d2", "c", "b"), stages=(5, 25), stable="aaaa")
    game.rollout.announce(told("started", 20, "5"))
    game.on(stable="a")
    assert faults(game) == "started of d1 is older than d2: ignored"
    assert game.rollout.deployment == "d2"


def test_the_end_of_a_deployment_that_nobody_has_started_is_told_and_ignored() -> None:
    game = play(told("promoted", 10), stable="aa")
    assert faults(game) == "promoted of d1, which is not under way: ignored"
    assert game.rollout.phase is Phase.WAITING


def test_a_stage_of_a_deployment_whose_start_was_not_told_begins_it() -> None:
    game = play(told("stage", 10, "25"), stages=(5, 25), stable="aa")
    assert faults(game) == "stage of d1, whose start was not told"
    assert game.rollout.running is not None
    assert game.rollout.running.percent == 25.0


def test_a_start_that_is_told_after_its_stage_fills_in_what_it_knows() -> None:
    game = play(told("stage", 20, "25", version=None, previous=None), stages=(5, 25), stable="aa")
    game.rollout.announce(told("started", 10, "5"))
    game.on(stable="a")
    assert (game.rollout.version, game.rollout.previous_version) == ("b", "a")
    assert game.rollout.running is not None
    assert game.rollout.running.percent == 25.0


@pytest.mark.parametrize(("behind_s", "is_told"), [(59, False), (61, True)])
def test_clocks_of_producers_that_are_apart_are_told_from_a_minute_on(behind_s: int, is_told: bool) -> None:
    # told     100 s: started    then, of 100 − behind: stage 25 %
    game = play(told("started", 100, "5"), stages=(5, 25), stable="a" * 10)
    game.rollout.announce(told("stage", 100 - behind_s, "25"))
    game.on(stable="a")
    assert ("are clocks apart?" in faults(game)) == is_told
    assert game.rollout.running is not None
    assert (game.rollout.running.percent, game.rollout.running.since_s) == (25.0, 110)


def test_an_event_of_the_future_waits_for_its_time() -> None:
    game = play(told("started", 300, "5"), stages=(5, 25), stable="a" * 29)
    assert game.rollout.phase is Phase.WAITING
    assert game.on(stable="a").rollout.phase is Phase.RUNNING


def test_a_canary_with_the_version_of_the_baseline_goes_by_its_track() -> None:
    # stable  aaaa
    # canary  aaaa    the same code, with another configuration
    game = play(told("started", 10, "5", version="a"), stages=(5, 25), stable="aaaa", canary="aaaa")
    assert faults(game) == "canary and baseline both have version a: they go by their tracks alone"
    stage = game.rollout.running
    assert stage is not None
    assert stage.takes("canary", "a")
    assert not stage.takes("stable", "a")
    assert stage.compares_with("stable", "a", Baseline.STABLE)


def test_a_canary_with_a_version_that_long_serves_goes_by_its_track() -> None:
    served = "a" * 70
    game = play(told("started", 690, "5", version="a", previous=None), stages=(5, 25), stable=served)
    assert faults(game) == "canary and baseline both have version a: they go by their tracks alone"


def test_a_canary_of_another_version_than_was_told_is_judged_by_its_track_after_the_warm_up() -> None:
    # told    b
    # canary  cccc
    game = play(told("started", 10, "5"), stages=(5, 25), stable="aa", canary="cc")
    assert game.rollout.running is not None
    assert not game.rollout.running.takes("canary", "c")
    game.on(stable="a", canary="c")
    assert "the track canary has version c, and not b as was told" in faults(game)
    stage = game.rollout.running
    assert stage is not None
    assert stage.takes("canary", "c")
    assert stage.alpha_share == 0.45, "nothing was looked at before, and nothing is spent"


def test_a_version_that_appears_during_a_deployment_that_does_not_name_it_is_told() -> None:
    game = play(told("started", 10, "5"), stages=(5, 25), stable="aaaaac", canary="bbbbbb")
    assert faults(game) == "version c appeared, which no deploy event told of"
    assert game.rollout.deployment == "d1"


def test_a_stage_event_with_another_version_is_told() -> None:
    events = told("started", 10, "5"), told("stage", 20, "25", version="c")
    game = play(*events, stages=(5, 25), stable="aaa")
    assert "stage of d1 names version c, not b: ignored" in faults(game)
    assert game.rollout.version == "b"


def test_versions_that_appear_at_once_are_judged_together() -> None:
    game = play(stable="aaa", canary="...")
    game.rollout.sight("canary", "b")
    game.on(stable="a", canary="c")
    assert faults(game) == "versions b, c appeared at once: they are judged together"
    assert game.rollout.running is not None
    assert game.rollout.running.takes("canary", "b")
    assert game.rollout.running.takes("canary", "c")


def test_a_baseline_that_never_appears_is_told_and_the_stage_goes_on() -> None:
    # stable  ............
    # canary  bbbbbbbbbbbb
    game = play(told("started", 10, "5"), stages=(5, 25), canary="b" * (SILENT_PANES + 2))
    assert faults(game) == "no baseline (baseline or stable) has had requests since 1970-01-01T00:00:10.000Z"
    assert game.rollout.running is not None


def test_a_canary_that_falls_silent_in_the_middle_is_told_once_for_each_silence() -> None:
    # canary  bbbbb.............bb.............
    long = SILENT_PANES + 3
    quiet = "a" * (5 + long), "b" * 5 + "." * long
    game = play(told("started", 10, "5"), stages=(5, 25), stable=quiet[0], canary=quiet[1])
    assert faults(game) == "the canary has had no requests since 1970-01-01T00:00:50.000Z"
    assert game.rollout.running is not None
    game.on(stable=quiet[0], canary=quiet[1])
    assert len(game.rollout.faults) == 2


def test_a_baseline_that_falls_silent_in_the_middle_is_told() -> None:
    long = SILENT_PANES + 3
    game = play(
        told("started", 10, "5"), stages=(5, 25), stable="a" * 5 + "." * long, canary="b" * (5 + long)
    )
    assert faults(game) == "no baseline (baseline or stable) has had requests since 1970-01-01T00:00:50.000Z"


def test_a_stage_at_the_share_that_it_has_goes_on() -> None:
    game = play(told("started", 10, "5"), told("stage", 40, "5"), stages=(5, 25), stable="aaaa")
    assert faults(game) == "stage of d1 is at 5 % already: ignored"
    assert game.rollout.running is not None
    assert game.rollout.running.since_s == 10


def test_a_track_outside_the_list_is_a_fault_of_ours() -> None:
    # The decoder refuses such an event (tests/wire): none comes here.
    with pytest.raises(AssertionError):
        Rollout(analysis()).sight("blue", "a")


def test_a_deploy_event_of_a_service_that_nothing_analyses_is_passed_over() -> None:
    book = CanaryBook([analysis(5, 25)], {})
    assert not book.announce(replace(told("started", 10, "5"), service="ledger"))
    assert not book.announce(replace(told("started", 10, "5"), namespace="other"))
    assert list(book.at(10, (), never)) == []
    assert book.announce(told("started", 10, "5"))
    assert [signal.value["deployment"] for signal in book.at(20, (), never)] == ["d1"]


def test_all_that_grows_with_what_comes_in_is_bounded() -> None:
    events = [told("stage", 10 + i, str(1 + i % 90), f"d{i // 7}") for i in range(3 * MAX_WAITING)]
    rollout = Rollout(analysis())
    for event in events:
        rollout.announce(event)
    assert Rollout.of(analysis(), rollout.record()).record() == rollout.record()
    assert len(rollout.record().waiting) == MAX_WAITING
    game = Play(Rollout.of(analysis(), rollout.record())).on(stable="a")
    assert f"more than {MAX_WAITING:,} deploy events wait" in faults(game)
    while game.tick_s < MAX_WAITING + 100:
        for version in range(20):
            game.rollout.sight("stable", f"{game.tick_s}.{version}")
        game.on(stable="a", canary="b")
        if game.rollout.running is not None and game.tick_s % 30 == 0:
            game.rollout.conclude(Verdict.PASS, game.tick_s)
    record = game.rollout.record()
    assert (len(record.applied), len(record.heard)) == (MAX_APPLIED, MAX_HEARD)
    assert len(record.faults) <= MAX_FAULTS
    assert len(record.history) <= MAX_HISTORY
    assert len(encode(record)) < 64 * 1024


# --- whatever comes ----------------------------------------------------------------------------------------


@st.composite
def events_of_a_service(draw: st.DrawFn) -> DeployEvent:
    state = draw(st.sampled_from(list(DeployState)))
    share = st.sampled_from(["5", "25", "50", "100"])
    return told(
        state.value,
        draw(st.integers(0, 200)),
        draw(share if state is DeployState.STAGE else st.none() | share),
        draw(st.sampled_from(["d1", "d2"])),
        draw(st.sampled_from([None, "a", "b", "c"])),
        draw(st.sampled_from([None, "a"])),
    )


EVENTS = st.lists(events_of_a_service(), max_size=8)
LINES = st.lists(st.tuples(st.sampled_from("..-ab"), st.sampled_from("..-bc")), min_size=1, max_size=40)
VERDICTS = st.dictionaries(st.integers(0, 39), st.sampled_from(list(Verdict)), max_size=4)


def step(game: Play, pane: tuple[str, str], verdict: Verdict | None) -> None:
    game.on(stable=pane[0], canary=pane[1])
    if verdict is not None and game.rollout.running is not None:
        game.rollout.conclude(verdict, game.tick_s)


@settings(deadline=None, max_examples=300)
@given(EVENTS, LINES, VERDICTS, st.data())
def test_the_order_and_number_of_announcements_before_their_tick_do_not_matter(events, lines, verdicts, data):  # type: ignore[no-untyped-def]
    told_once = Play(Rollout(analysis(5, 25, 50)))
    for event in events:
        told_once.rollout.announce(event)
    # The other one hears of each event at any tick up to its own, in any order, once or more often.
    other = Play(Rollout(analysis(5, 25, 50)))
    coming: dict[int, list] = {}  # type: ignore[type-arg]
    for event in data.draw(st.permutations(events + events[: data.draw(st.integers(0, 3))])):
        last_pane = max(0, -(-event.at_ms // 10_000) - 1)
        coming.setdefault(data.draw(st.integers(0, last_pane)), []).append(event)
    for pane, line in enumerate(lines):
        for event in coming.get(pane, ()):
            other.rollout.announce(event)
        step(told_once, line, verdicts.get(pane))
        step(other, line, verdicts.get(pane))
    for pane in [pane for pane in coming if pane >= len(lines)]:
        for event in coming[pane]:
            other.rollout.announce(event)
    assert other.rollout.record() == told_once.rollout.record()


@settings(deadline=None, max_examples=300)
@given(EVENTS, LINES, VERDICTS, st.integers(0, 39))
def test_a_rollout_goes_on_after_a_restore_as_if_there_had_been_none(events, lines, verdicts, at):  # type: ignore[no-untyped-def]
    through, restored = Play(Rollout(analysis(5, 25, 50))), Play(Rollout(analysis(5, 25, 50)))
    for event in events:
        through.rollout.announce(event)
        restored.rollout.announce(event)
    for pane, line in enumerate(lines):
        if pane == at:
            restored.rollout.sight("canary", "b")
            through.rollout.sight("canary", "b")
            record = decode(RolloutRecord, encode(restored.rollout.record()))
            assert record == restored.rollout.record()
            restored.rollout = Rollout.of(analysis(5, 25, 50), record)
        step(through, line, verdicts.get(pane))
        step(restored, line, verdicts.get(pane))
        assert restored.rollout.record() == through.rollout.record()


@settings(deadline=None, max_examples=300)
@given(EVENTS, LINES, VERDICTS)
def test_whatever_comes_the_stage_under_way_makes_sense(events, lines, verdicts):  # type: ignore[no-untyped-def]
    game = Play(Rollout(analysis(5, 25, 50)))
    for event in events:
        game.rollout.announce(event)
    serial, spent = 0, {}
    for pane, line in enumerate(lines):
        step(game, line, verdicts.get(pane))
        stage = game.rollout.running
        if stage is None:
            continue
        assert game.rollout.phase in (Phase.RUNNING, Phase.PROMOTED)
        assert stage.serial >= serial
        if stage.serial != serial:
            assert game.tick_s - 10 in (stage.since_s - 10, stage.since_s, stage.first_s), "none in the past"
        assert stage.percent is None or 0 < stage.percent <= 100
        assert stage.first_s is None or stage.since_s <= stage.first_s < game.tick_s
        serial = stage.serial
        spent.setdefault(game.rollout.deployment, {})[stage.since_s] = stage.alpha_share
    assert all(sum(shares.values()) <= 1 + 1e-12 for shares in spent.values())
