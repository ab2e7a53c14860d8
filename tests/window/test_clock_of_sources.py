"""Event time is the minimum of what readers reported, and silence is not idleness (contract, section 3)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.window.clock import MAX_COMING, Clock, Reach

LATENESS_MS = 5_000
LATER_MS = 1_000_000
"""A broker's clock that is past all events."""


def reach(end: int, *, epoch: int = 1, term: int = 1) -> Reach:
    return Reach(epoch, end, term)


def test_there_is_no_time_before_every_source_has_reported() -> None:
    clock = Clock()
    clock.report(0, 1_000, reach(1), LATER_MS + 10)
    clock.report(2, 9_000, reach(1), LATER_MS + 11)
    assert clock.advance(range(3)) is None
    clock.report(1, 5_000, reach(1), LATER_MS + 12)
    assert clock.advance(range(3)) == 1_000


def test_time_stands_while_nobody_knows_how_many_sources_there_are() -> None:
    clock = Clock()
    assert clock.advance(range(0)) is None
    clock.report(0, 1_000, reach(1), LATER_MS + 10)
    assert clock.advance(range(0)) is None
    assert clock.advance(range(1)) == 1_000


def test_a_source_without_an_event_yet_holds_time_back() -> None:
    clock = Clock()
    clock.report(0, 1_000, reach(1), LATER_MS + 10)
    clock.report(1, None, reach(0), LATER_MS + 10)
    assert clock.advance(range(2)) is None


def test_a_source_that_is_added_later_holds_time_back_until_it_reports() -> None:
    clock = Clock()
    clock.report(0, 1_000, reach(1), LATER_MS + 10)
    assert clock.advance(range(1)) == 1_000
    clock.report(0, 7_000, reach(2), LATER_MS + 20)
    assert clock.advance(range(2)) == 1_000
    clock.report(1, 4_000, reach(1), LATER_MS + 30)
    assert clock.advance(range(2)) == 4_000


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.none() | st.integers(-50, 50), st.integers(0, 9), st.booleans()),
        max_size=40,
    )
)
def test_without_idleness_time_is_the_least_of_the_largest(
    reports: list[tuple[int, int | None, int, bool]],
) -> None:
    """Reports in any order, zombies' among them: each source counts by the largest it ever reported."""
    clock, largest, now = Clock(), {}, None
    for at, (source, watermark, end, advance) in enumerate(reports):
        clock.report(source, watermark, reach(end), LATER_MS + at)
        known = largest.get(source)
        largest[source] = (
            watermark if known is None else known if watermark is None else max(known, watermark)
        )
        if advance:
            if len(largest) == 3 and None not in largest.values():
                now = min(largest.values()) if now is None else max(now, min(largest.values()))
            assert clock.advance(range(3)) == now


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.none() | st.integers(0, 60_000),
            st.integers(0, 9),
            st.integers(0, 3),
            st.integers(0, 900),
            st.none() | st.integers(0, 2_000),
        ),
        max_size=40,
    )
)
def test_time_never_goes_back_whatever_is_reported(
    reports: list[tuple[int, int | None, int, int, int, int | None]],
) -> None:
    clock, now, at = Clock(), None, 0
    for source, watermark, end, term, later, idle in reports:
        at += later
        clock.report(source, watermark, reach(end, term=term), at, None if idle is None else at - idle)
        before, now = now, clock.advance(range(3))
        assert before is None or (now is not None and now >= before)


def idle_and_busy() -> Clock:
    """Source 0 is idle at 1 s of event time as of 99.5 s; source 1 was at 90 s by then."""
    clock = Clock()
    clock.report(0, 1_000, reach(5), 50_000)
    clock.report(1, 90_000, reach(5), 95_000)
    clock.report(0, 1_000, reach(5), 100_000, 99_500)
    return clock


def test_an_idle_source_does_not_hold_the_others_back() -> None:
    assert idle_and_busy().advance(range(2)) == 90_000


def test_what_came_after_the_evidence_of_idleness_waits_for_newer_evidence() -> None:
    #           evidence 99.5 s          evidence 100.9 s
    #  source 0 ─────┴───────────────────────┴────
    #  source 1 ──────────┬ 95 s at 100.7 s ────────
    clock = idle_and_busy()
    clock.report(1, 95_000, reach(6), 100_700)
    assert clock.advance(range(2)) == 90_000
    clock.report(0, 1_000, reach(5), 101_400, 100_900)
    assert clock.advance(range(2)) == 95_000


def test_evidence_is_as_old_as_what_proves_it_however_late_the_report_arrives() -> None:
    for as_of, expected in ((100_601, 95_000), (100_600, 90_000), (99_500, 90_000)):
        clock = idle_and_busy()
        clock.report(1, 95_000, reach(6), 100_600)
        clock.report(0, 1_000, reach(5), 161_000, as_of)  # it waited for a minute to be sent
        assert clock.advance(range(2)) == expected, as_of


def test_the_first_record_after_a_pause_ends_idleness() -> None:
    clock = idle_and_busy()
    assert clock.advance(range(2)) == 90_000
    clock.report(0, 92_000, reach(6), 101_000)
    clock.report(1, 99_000, reach(6), 101_100)
    assert clock.advance(range(2)) == 92_000


@pytest.mark.parametrize("zombie", [reach(4), reach(5, term=0), reach(9, epoch=0)])
def test_a_zombie_can_neither_declare_a_source_idle_nor_wake_it(zombie: Reach) -> None:
    clock = Clock()
    clock.report(0, 1_000, reach(5), 50_000)
    clock.report(1, 90_000, reach(5), 60_000)
    clock.report(0, 1_000, zombie, 100_000, 99_500)
    assert clock.advance(range(2)) == 1_000
    woken = idle_and_busy()
    woken.report(0, 1_000, zombie, 100_001)
    assert woken.advance(range(2)) == 90_000


def test_a_new_owner_that_says_nothing_of_idleness_ends_it() -> None:
    clock = idle_and_busy()
    assert clock.advance(range(2)) == 90_000
    clock.report(0, 1_000, reach(5, term=2), 100_001)
    clock.report(1, 95_000, reach(6), 100_002)
    assert clock.advance(range(2)) == 90_000  # and not 95 s: source 0 is at 1 s again


def all_idle() -> Clock:
    """Two sources at 10 s and 30 s of event time, both idle as of 59.5 s."""
    clock = Clock()
    for source, watermark in ((0, 10_000), (1, 30_000)):
        clock.report(source, watermark, reach(5), 45_000)
        clock.report(source, watermark, reach(5), 60_000, 59_500)
    return clock


def test_while_all_are_idle_time_runs_as_fast_as_the_evidence() -> None:
    clock = all_idle()
    assert clock.advance(range(2)) == 30_000  # the largest: nothing older can come
    clock.report(0, 10_000, reach(5), 70_000, 69_500)
    assert clock.advance(range(2)) == 30_000  # one of the two is still known as of 60 s
    clock.report(1, 30_000, reach(5), 75_000, 69_500)
    assert clock.advance(range(2)) == 40_000
    assert clock.advance(range(2)) == 40_000
    clock.report(0, 10_000, reach(5), 82_000, 81_000)
    clock.report(1, 30_000, reach(5), 83_000, 74_500)
    assert clock.advance(range(2)) == 45_000


def test_time_does_not_run_on_a_dead_readers_old_word() -> None:
    clock = all_idle()
    clock.advance(range(2))
    for at in range(61_000, 400_000, 1_000):  # the reader of source 0 is dead, the other goes on
        clock.report(1, 30_000, reach(5), at, at - 500)
        assert clock.advance(range(2)) == 30_000


# Readers, a broker and time. ts lies within the lateness before the moment at which an event is written; a
# reader fetches, sends, and says it is idle when a fetch shows nothing new for long, as of the stamp of what
# was acknowledged before. What it sends may wait for long, as in an outage, and acknowledgements too. Nothing
# may come late.


@dataclass
class Partition:
    log: list[tuple[int, int]] = field(default_factory=list)
    """(written at, ts)."""
    read: int = 0
    largest: int | None = None
    last_record_at: int = -(10**9)
    pause_until: int = 0
    stalled_until: int = 0
    sent_last: int = 0
    """When the last message got into the log."""
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """(heard at, stamp) of own messages."""

    def evidence(self, now_ms: int) -> int | None:
        return next((stamp for heard, stamp in reversed(self.acknowledged) if heard <= now_ms), None)


def life(rng: random.Random, partitions: int, *, asked: float) -> tuple[int, int]:
    """Runs a world; returns (late events, whole seconds of event time decided while a source was idle).

    ``asked``: after how many of the reports the clock is asked for the time.
    """
    world = [Partition() for _ in range(partitions)]
    clock, late, advanced_idle, now_ms = Clock(), 0, 0, 1_000_000
    under_way: list[tuple[int, int, list[int], int | None, Reach, int | None]] = []
    for _ in range(1_500):
        now_ms += rng.choice([1, 40, 300, 700])
        for p in world:
            if now_ms >= p.pause_until and rng.random() < 0.6:
                newest = max((ts for _, ts in p.log), default=0)
                p.log.append((now_ms, max(newest - LATENESS_MS, now_ms - rng.randrange(LATENESS_MS + 1))))
                if rng.random() < 0.03:
                    p.pause_until = now_ms + rng.choice([3_000, 30_000, 120_000])
        for number, p in enumerate(world):
            if now_ms < p.stalled_until:
                continue
            if rng.random() < 0.02:
                p.stalled_until = now_ms + rng.choice([2_000, 40_000])  # a reader that hangs
            if rng.random() < 0.4:
                fetched_at = now_ms
                batch = [ts for _, ts in p.log[p.read :]]
                p.read = len(p.log)
                if batch:
                    p.largest, p.last_record_at = max([*batch, p.largest or 0]), now_ms
                idle = not batch and now_ms - p.last_record_at >= 10_000
                if not batch and not idle:
                    continue
                under_way_ms = rng.choice([0, 20, 900]) + (
                    rng.randrange(60_000) if rng.random() < 0.02 else 0
                )
                stamped = p.sent_last = max(p.sent_last, fetched_at + under_way_ms)
                if not idle:
                    p.stalled_until = max(p.stalled_until, stamped)  # the chunk waits to be acknowledged
                watermark = None if p.largest is None else p.largest - LATENESS_MS
                as_of = p.evidence(fetched_at) if idle else None
                under_way.append((stamped, number, batch, watermark, reach(p.read), as_of))
                p.acknowledged.append((stamped + rng.choice([0, 3, 400]), stamped))
                p.acknowledged = p.acknowledged[-100:]
        # The log has what was stamped by now, in the order of the stamps of each reader.
        arrived = sorted((m for m in under_way if m[0] <= now_ms), key=lambda m: m[0])
        under_way = [m for m in under_way if m[0] > now_ms]
        for stamped, number, batch, watermark, how_far, as_of in arrived:
            late += sum(1 for ts in batch if clock.now_ms is not None and ts < clock.now_ms)
            clock.report(number, watermark, how_far, stamped, as_of)
            if rng.random() < asked:
                before = clock.now_ms
                after = clock.advance(range(partitions))
                idle_now = any(s.idle_as_of_ms is not None for s in clock.sources.values())
                if before is not None and after is not None and idle_now:
                    advanced_idle += (after - before) // 1000
    return late, advanced_idle


def test_a_burst_heard_together_with_the_idleness_after_it_brings_time_to_its_own_watermark() -> None:
    #  idle as of 209.5 s | pause | burst up to 395 s | idle as of 409.5 s       (one source)
    clock = Clock()
    clock.report(0, 100_000, reach(1), 200_000)
    clock.report(0, 100_000, reach(1), 210_000, 209_500)
    assert clock.advance(range(1)) == 100_000
    clock.report(0, 395_000, reach(2), 400_000)
    clock.report(0, 395_000, reach(2), 410_000, 409_500)  # both in one fetched batch: asked only once
    assert clock.advance(range(1)) == 395_000


def test_a_watermark_that_waited_for_evidence_is_not_carried_on_by_the_same_evidence() -> None:
    #  source 0   idle as of 99.5 s ──────────────────── idle as of 129.5 s
    #  source 1                 102 s at 107 s ── idle as of 119.5 s
    clock = Clock()
    for source in (0, 1):
        clock.report(source, 85_000, reach(1), 90_000)
    clock.report(0, 85_000, reach(1), 100_000, 99_500)
    assert clock.advance(range(2)) == 85_000
    clock.report(1, 102_000, reach(2), 107_000)
    assert clock.advance(range(2)) == 85_000
    clock.report(1, 102_000, reach(2), 120_000, 119_500)
    assert clock.advance(range(2)) == 85_000
    clock.report(0, 85_000, reach(1), 130_000, 129_500)
    # Evidence went from 99.5 s to 119.5 s: 85 s + 20 s are decided, the 102 s of source 1 among them.
    assert clock.advance(range(2)) == 105_000


@pytest.mark.parametrize(
    ("partitions", "asked"),
    [
        (1, 1.0),
        (2, 1.0),
        (3, 1.0),
        (1, 0.3),
        (2, 0.3),
    ],
)
def test_neither_pauses_nor_slow_readers_make_an_event_late(partitions: int, asked: float) -> None:
    advanced = 0
    for seed in range(25):
        late, idle_s = life(random.Random(seed), partitions, asked=asked)
        assert late == 0, seed
        advanced += idle_s
    assert advanced > 100, "time ran although sources were idle"


def test_evidence_that_goes_back_and_forth_does_not_count_the_same_time_twice() -> None:
    #  idle as of 99.5 s ── 140.5 s ── back to 100.5 s (a broker's clock was set right) ── 141.5 s
    clock = Clock()
    clock.report(0, 1_000, reach(1), 90_000)
    clock.advance(range(1))
    found = []
    for reported_ms, as_of_ms in (
        (100_000, 99_500),
        (141_000, 140_500),
        (141_000, 100_500),
        (142_000, 141_500),
    ):
        clock.report(0, 1_000, reach(1), reported_ms, as_of_ms)
        found.append(clock.advance(range(1)))
    assert found == [1_000, 42_000, 42_000, 43_000]


def test_idle_time_does_not_count_from_before_the_word_that_event_time_rests_on() -> None:
    #  source 0 ──┬ 95 s at 100 s ──────── idle as of 90 s (an old acknowledgement) ── 101 s ── 111 s
    clock = Clock()
    clock.report(0, 95_000, reach(2), 100_000)
    assert clock.advance(range(1)) == 95_000
    found = []
    for as_of_ms in (90_000, 101_000, 111_000):
        clock.report(0, 95_000, reach(2), 112_000, as_of_ms)
        found.append(clock.advance(range(1)))
    assert found == [95_000, 96_000, 106_000]


def test_what_was_reported_while_another_was_busy_still_waits_when_that_one_proves_to_be_idle() -> None:
    #  source 0 ──┬ 100 s at 105 s ─────────────────── idle as of 150 s
    #  source 1 ──┬ 100 s at 105 s ──┬ 140 s at 145 s ──┬ 200 s at 205 s
    clock = Clock()
    for source in (0, 1):
        clock.report(source, 100_000, reach(1), 105_000)
    for watermark, at in ((140_000, 145_000), (200_000, 205_000)):
        clock.report(1, watermark, reach(watermark), at)
        assert clock.advance(range(2)) == 100_000
    clock.report(0, 100_000, reach(1), 210_000, 150_000)
    assert clock.advance(range(2)) == 140_000, "source 0 may have had events from 150 s on"


def test_what_is_remembered_of_a_source_ahead_of_the_others_is_bounded() -> None:
    clock = Clock()
    clock.report(0, 1_000, reach(1), 5_000)
    for at in range(10_000, 3_000_000, 250):
        clock.report(1, at - 5_000, reach(at), at)
        assert clock.advance(range(2)) in (None, 1_000)
    assert len(clock.sources[1].coming) == MAX_COMING
    clock.report(0, 2_900_000, reach(2), 3_000_000)
    assert clock.advance(range(2)) == 2_900_000


def test_event_time_stays_behind_the_brokers_clock_however_far_ahead_a_reader_is() -> None:
    clock = Clock()
    clock.report(0, 3_300_000, reach(1), 100_000, lateness_ms=5_000)
    clock.report(1, 90_000, reach(1), 100_000, lateness_ms=5_000)
    assert clock.advance(range(2)) == 90_000
    clock.report(1, 4_000_000, reach(2), 101_000, lateness_ms=5_000)
    assert clock.advance(range(2)) == 95_000, "what source 0 said counts as of when it was said"
    clock.report(0, 3_300_000, reach(1), 102_000, lateness_ms=5_000)
    assert clock.advance(range(2)) == 96_000, "and as of when it is said again"


def test_state_that_was_ahead_of_the_clock_waits_for_it_while_all_are_idle_too() -> None:
    clock = Clock()
    clock.now_ms = 500_000
    found = []
    for as_of_ms in (100_000, 300_000, 504_000, 506_000, 600_000):
        clock.report(0, None, reach(1), as_of_ms + 500, as_of_ms, lateness_ms=5_000)
        found.append(clock.advance(range(1)))
    assert found == [500_000, 500_000, 500_000, 501_000, 595_000]


def test_where_all_that_ever_came_was_ahead_event_time_begins_at_the_clocks() -> None:
    for is_waiting, expected in ((False, [None, None]), (True, [95_000, 104_500])):
        clock, found = Clock(), []
        for as_of_ms in (100_000, 110_000):
            clock.report(0, None, reach(1), as_of_ms + 500, as_of_ms, lateness_ms=5_000)
            found.append(clock.advance(range(1), is_waiting))
        assert found == expected
