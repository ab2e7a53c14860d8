"""The life of a rollout: by deploy events, and by what is sighted."""

from __future__ import annotations

import pytest
from canary.timelines import LONGEST_S, MEMORY_PANES, SILENT_PANES, WARMUP_S, analysis, play, told

from stream.canary.rollout import Rollout
from stream.canary.rollout_state import Phase, RolloutRecord
from stream.canary.verdict import Verdict
from stream.model.analysis import Baseline
from stream.wire.state import decode, encode


def test_a_deployment_goes_through_its_stages_and_ends() -> None:
    # pane     0         1         2         3
    # stable   aaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbb
    # canary   ...bbbbbbbbbbbbbbbbbbbbbb............
    # told        5 %    25 %          promoted  finished
    game = play(
        told("started", 30, "5"),
        told("stage", 100, "25"),
        told("promoted", 250),
        told("finished", 350),
        stages=(5, 25),
        stable="a" * 10,
        canary="..." + "b" * 7,
    )
    rollout = game.rollout
    assert rollout.running is not None
    assert (rollout.running.percent, rollout.running.since_s) == (25.0, 100)
    assert rollout.release is not None
    assert rollout.release.reason == "d1 is at 25 %"
    game.on(stable="a" * 10, canary="b" * 10)
    rollout.conclude(Verdict.PASS, game.tick_s)
    assert (rollout.phase, rollout.running) == (Phase.PASSED, None)
    game.on(stable="a" * 5 + "b" * 2, canary="b" * 5 + "..")
    assert rollout.phase is Phase.PROMOTED
    assert rollout.release.reason == "d1 was promoted"
    assert rollout.running is not None
    assert rollout.running.baselines == (Baseline.BEFORE,)
    game.on(stable="b" * 8, canary="." * 8)
    assert (rollout.phase, rollout.running) == (Phase.FINISHED, None)
    stages = [(done.percent, done.started_s, done.seconds, done.verdict) for done in rollout.history]
    assert stages == [(5, 30, 70, "superseded"), (25, 100, 100, "pass"), (100, 250, 100, "superseded")]
    assert rollout.faults == []


def test_progress_is_the_stages_behind_it_and_what_of_its_time_this_one_has_had() -> None:
    # told     5 %           25 %        promoted
    # longest  20 s of warm-up and 120 s
    events = told("started", 10, "5"), told("stage", 150, "25"), told("promoted", 220)
    game = play(*events, stages=(5, 25, 50, 100), stable="a", canary="b")
    found = []
    for _ in range(24):
        found.append(game.rollout.progress_pct(game.tick_s))
        game.on(stable="a", canary="b")
    assert found[:8:7] == [0.0, pytest.approx(100 / 4 * 70 / 140)]
    assert found[14] == 25.0
    assert found[21] == 75.0
    assert found == sorted(found)
    game.rollout.conclude(Verdict.PASS, game.tick_s)
    assert game.rollout.progress_pct(game.tick_s) == 100.0


def test_nothing_counts_until_the_canary_has_had_requests_for_the_warm_up() -> None:
    # told    started
    # canary  ......bbbb    its first pane begins at 60
    game = play(told("started", 10, "5"), stages=(5, 25), stable="aaaaaa", canary="......")
    assert game.rollout.running is not None
    assert game.rollout.running.counts_from_s(WARMUP_S) is None
    game.on(stable="a", canary="b")
    assert game.rollout.running is not None
    assert game.rollout.running.counts_from_s(WARMUP_S) == 60 + WARMUP_S


def test_an_event_is_applied_at_the_first_tick_that_is_not_before_it() -> None:
    # tick    10   20   30
    # told            ^ 20.001
    game = play(told("started", 20.001, "5"), stages=(5, 25), stable="aa")
    assert game.rollout.deployment is None
    game.on(stable="a")
    assert game.rollout.deployment == "d1"


@pytest.mark.parametrize(
    ("state", "phase"), [("rolled_back", Phase.ROLLED_BACK), ("finished", Phase.FINISHED)]
)
def test_a_deploy_event_ends_it_whatever_the_verdict(state: str, phase: Phase) -> None:
    game = play(told("started", 10, "5"), told(state, 100), stages=(5, 25), stable="a" * 9, canary="b" * 9)
    game.rollout.conclude(Verdict.FAIL, game.tick_s)
    assert game.rollout.phase is Phase.FAILED
    game.on(stable="a", canary="b")
    assert (game.rollout.phase, game.rollout.running) == (phase, None)


@pytest.mark.parametrize("verdict", [Verdict.MARGINAL, Verdict.INCONCLUSIVE, Verdict.NODATA])
def test_a_stage_of_which_nothing_is_certain_pauses_until_the_next_one(verdict: Verdict) -> None:
    game = play(told("started", 10, "5"), told("stage", 90, "25"), stages=(5, 25), stable="a" * 8)
    game.rollout.conclude(verdict, game.tick_s)
    assert (game.rollout.phase, game.rollout.running) == (Phase.PAUSED, None)
    game.on(stable="a")
    assert game.rollout.phase is Phase.RUNNING


def test_another_deployment_takes_the_place_of_the_one_under_way() -> None:
    game = play(
        told("started", 10, "5"),
        told("started", 50, "5", "d2", "c", "b"),
        stages=(5, 25),
        stable="aaaaa",
    )
    rollout = game.rollout
    assert (rollout.deployment, rollout.version, rollout.previous_version) == ("d2", "c", "b")
    assert rollout.history == []
    assert rollout.release is not None
    assert "d1 is superseded" in rollout.release.reason


def test_after_promotion_all_requests_are_the_new_versions_own() -> None:
    game = play(
        told("started", 10, version=None, previous=None),
        told("promoted", 30, version=None, previous=None),
        stable="---",
    )
    stage = game.rollout.running
    assert stage is not None
    assert stage.takes("stable", "")
    assert stage.takes("canary", "")
    assert stage.baselines == ("before",)


def test_a_stage_at_100_goes_on_when_it_is_promoted() -> None:
    # told   stage 100 %      promoted
    events = told("started", 10, "5"), told("stage", 40, "100"), told("promoted", 80)
    game = play(*events, stages=(5, 100), stable="aaaa" + "bbb", canary="bbbb" + "...")
    before = game.rollout.running
    game.on(stable="b", canary=".")
    assert game.rollout.phase is Phase.PROMOTED
    assert game.rollout.running == before
    game.rollout.conclude(Verdict.PASS, game.tick_s)
    assert game.rollout.phase is Phase.FINISHED


def test_a_promotion_after_a_stage_at_100_that_passed_is_the_end() -> None:
    events = told("started", 10, "5"), told("stage", 40, "100"), told("promoted", 80)
    game = play(*events, stages=(5, 100), stable="aaaa" + "bbb", canary="bbbb" + "...")
    game.rollout.conclude(Verdict.PASS, game.tick_s)
    assert game.rollout.phase is Phase.PASSED
    assert game.on(stable="b").rollout.phase is Phase.FINISHED


# --- without deploy events ---------------------------------------------------------------------------------


def test_it_begins_by_itself_when_the_canary_track_appears_and_ends_when_that_is_silent() -> None:
    # stable  aaaaaaaaaaaaaaaaaaaaaaaaa
    # canary  ...bb............^ silent for longer than the longest duration
    game = play(stable="aaaa", canary="...b")
    rollout = game.rollout
    assert rollout.automatic == "a canary track appeared"
    assert (rollout.version, rollout.previous_version) == ("b", "a")
    assert rollout.running is not None
    assert (rollout.running.since_s, rollout.running.percent, rollout.running.first_s) == (30, None, 30)
    game.on(stable="a" * (SILENT_PANES + 1), canary="b" + "." * SILENT_PANES)
    assert rollout.phase is Phase.RUNNING
    game.on(stable="a", canary=".")
    assert rollout.phase is Phase.FINISHED


def test_a_canary_that_comes_back_is_another_one() -> None:
    gap = SILENT_PANES + 1
    game = play(stable="a" * (3 + gap), canary="bb" + "." * gap + "b")
    assert [tick_s for tick_s, _ in game.began] == [10, game.tick_s]
    assert len({deployment for _, deployment in game.began}) == 2


def test_a_short_silence_is_the_same_canary() -> None:
    game = play(stable="a" * (3 + SILENT_PANES), canary="bb" + "." * SILENT_PANES + "b")
    assert len(game.began) == 1
    assert game.rollout.phase is Phase.RUNNING


def test_the_name_of_an_automatic_one_follows_from_the_analysis_and_its_beginning() -> None:
    first, second = (play(stable="aaaa", canary="..bb").rollout.deployment for _ in range(2))
    later = play(stable="aaaa", canary="...b").rollout.deployment
    assert first == second != later
    assert first is not None


def test_a_version_that_nobody_has_seen_begins_one_beside_the_old_version() -> None:
    # stable  aaaabb   a goes on beside it
    game = play(stable="aaaa", baseline="....")
    assert game.rollout.deployment is None, "the first version ever is no deploy"
    game.rollout.sight("stable", "a")
    game.on(stable="b")
    rollout = game.rollout
    assert rollout.automatic == "version b appeared"
    assert (rollout.version, rollout.previous_version) == ("b", "a")
    assert rollout.running is not None
    assert rollout.running.takes("stable", "b")
    assert rollout.running.compares_with("stable", "a", Baseline.STABLE)
    assert not rollout.running.compares_with("stable", "b", Baseline.STABLE)


def test_a_version_that_comes_back_soon_is_none_and_after_long_it_is() -> None:
    soon = play(stable="b" + "a" * (MEMORY_PANES - 1) + "b")
    assert [tick_s for tick_s, _ in soon.began] == [10, 20], (
        "b is the service's first version, then a appeared"
    )
    later = play(stable="b" + "a" * MEMORY_PANES + "b")
    assert [tick_s for tick_s, _ in later.began] == [10, 20, later.tick_s]


def test_a_service_that_wakes_up_with_the_version_it_had_was_not_deployed() -> None:
    night = "." * (MEMORY_PANES + 5)
    game = play(stable="ab" + night + "b")
    assert game.rollout.version == "b"
    assert [tick_s for tick_s, _ in game.began] == [10, 20]


def test_a_canary_that_is_promoted_is_no_further_release() -> None:
    # stable  aaaaaabbbb
    # canary  ..bbbb....
    game = play(stable="aaaaaabbbb", canary="..bbbb....")
    assert len(game.began) == 2
    assert game.rollout.version == "b"


def test_another_version_on_the_canary_track_is_another_release() -> None:
    game = play(stable="aaaaaa", canary="..bbcc")
    assert game.rollout.automatic == "version c appeared on the track canary"
    assert game.rollout.running is not None
    assert not game.rollout.running.takes("canary", "b")


def test_a_deploy_event_that_comes_after_its_requests_takes_over_what_began_by_itself() -> None:
    # canary  ..bbbb
    # told       started: the deployer's clock, and its message, are behind its pods
    game = play(stable="aaaa", canary="..bb", stages=(5, 25))
    before = game.rollout.running
    game.rollout.announce(told("started", 25, "5"))
    game.on(stable="a", canary="b")
    after = game.rollout.running
    assert before is not None
    assert after is not None
    assert (game.rollout.deployment, game.rollout.automatic) == ("d1", None)
    assert (after.serial, after.since_s, after.percent) == (before.serial, before.since_s, 5.0)


def test_an_announced_version_is_no_surprise_once_its_deployment_is_over() -> None:
    old = "a" * 4 + "b" * (MEMORY_PANES + 2)
    game = play(told("started", 10), told("promoted", 40), stable=old)
    game.rollout.announce(told("rolled_back", game.tick_s + 10))
    game.on(stable="baaa")
    assert (game.rollout.deployment, game.rollout.phase) == ("d1", Phase.ROLLED_BACK)


# --- α ----------------------------------------------------------------------------------------------------


def test_planned_stages_have_even_shares_and_all_others_share_the_rest() -> None:
    shares = {}
    game = play(
        *(told("stage", 10 * (i + 2), p) for i, p in enumerate(("25", "10", "50", "25", "100"))),
        told("started", 10, "5"),
        told("promoted", 90),
        stages=(5, 25, 50, 100),
        stable="a",
    )
    for _ in range(9):
        stage = game.rollout.stage
        assert stage is not None
        shares[stage.serial] = (stage.percent, stage.alpha_share)
        game.on(stable="a")
    each = [share for _, share in shares.values()]
    assert [percent for percent, _ in shares.values()] == [5, 25, 10, 50, 25, 100]
    assert each == pytest.approx([0.3, 0.3, 0.05, 0.3, 0.025, 0.0125])
    assert sum(each) < 1


def test_however_often_stages_go_to_and_fro_they_spend_less_than_alpha() -> None:
    events = [told("stage", 20 + 10 * i, str(5 + i % 3)) for i in range(40)]
    game = play(told("started", 10, "5"), *events, stable="a")
    shares = {}
    for _ in range(41):
        assert game.rollout.stage is not None
        shares[game.rollout.stage.serial] = game.rollout.stage.alpha_share
        game.on(stable="a")
    assert len(shares) == 40
    assert min(shares.values()) > 0
    assert sum(shares.values()) <= 1


def test_one_that_began_by_itself_has_all_of_it() -> None:
    stage = play(stable="aaa", canary="..b", stages=(5, 25)).rollout.running
    assert stage is not None
    assert stage.alpha_share == 1


def test_a_state_is_equal_after_a_round_trip() -> None:
    game = play(
        told("started", 20, "5"),
        told("stage", 500, "25"),
        stages=(5, 25),
        stable="aaa",
        canary="..b",
    )
    game.rollout.sight("canary", "b")
    record = game.rollout.record()
    restored = Rollout.of(analysis(5, 25), decode(RolloutRecord, encode(record)))
    assert restored.record() == record


def test_a_stage_that_nothing_ends_is_left_to_the_judge() -> None:
    game = play(told("started", 10, "5"), stages=(5, 25), stable="a" * 100, canary="b" * 100)
    assert game.rollout.running is not None
    assert game.tick_s > 10 + WARMUP_S + LONGEST_S
