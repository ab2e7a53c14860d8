"""Late events land in their pane; too late ones are dropped and counted (contract, section 3)."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.clock import window_start

from stream.model.objective import Availability, BurnRule, Calendar, Objective, Period, Rolling
from stream.pipeline import Feed
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.window.limbs import EVENTS

T0_MS = 1_790_000_000_000 // 3_600_000 * 3_600_000
UP = Objective("shop", "up", "payment", Availability(), Decimal(99), Rolling(600))


def event(ts: int, service: str = "payment") -> bytes:
    return json.dumps({"ts": ts, "namespace": "shop", "service": service, "status": 200}).encode()


def counters(objectives: list[Objective], times: list[int]) -> tuple[int, int, int]:
    """(late, too late, counted in the first objective's time window) after these events, one by one."""
    feed = Feed(objectives)
    for ts in times:
        frame, refused = feed.decode([event(ts)])
        assert not refused
        list(feed.push(frame))
    ledger = feed.shard.ledger
    held = ledger.windows.sums[ledger.windows.slot[0, objectives[0].window], EVENTS]
    return ledger.late.late, ledger.late.too_late, int(held)


@pytest.mark.parametrize(
    ("longest", "grid_s"),
    [
        (Rolling(600), 10),
        (Rolling(3600), 10),
        (Rolling(3610), 60),
        (Rolling(21_610), 300),
        (Rolling(259_210), 3600),
        (Calendar(Period.WEEK, "UTC"), 3600),
    ],
)
@pytest.mark.parametrize("into_ms", [0, 9_999, 10_000, 59_999, 1_234_567])
def test_a_pane_that_ends_on_the_longest_windows_grid_line_is_too_late(
    longest: Rolling | Calendar, grid_s: int, into_ms: int
) -> None:
    #           pane        │ floor(watermark − W, grid)          watermark
    #  ──────── [ 10 s )────┼───────────────────────────────────────┤
    #           too late    │ the next one counts
    length_s = 7 * 86_400 if isinstance(longest, Calendar) else longest.length_s
    watermark_ms = T0_MS + into_ms
    line_ms = window_start(watermark_ms, length_s * 1000)
    assert line_ms % (grid_s * 1000) == 0
    for ts, dropped in ((line_ms - 1, 1), (line_ms - 10_000, 1), (line_ms, 0), (line_ms + 1, 0)):
        objectives = [UP, replace(UP, name="longest", window=longest)]
        late, too_late, _ = counters(objectives, [watermark_ms + 5_000, ts])
        assert (late, too_late) == (1 - dropped, dropped), ts - line_ms


@pytest.mark.parametrize("field", ["rule", "window"])
def test_any_window_of_any_objective_keeps_an_event_from_being_too_late(field: str) -> None:
    rule = BurnRule("2h", 7200, 600, Decimal(2), "page", (), 5, 0)
    other = replace(UP, name="b", service="search")
    other = replace(other, rules=(rule,)) if field == "rule" else replace(other, window=Rolling(7200))
    times = [T0_MS + 5_000, T0_MS - 7_199_000]
    assert counters([UP], times)[:2] == (0, 1)
    assert counters([UP, other], times)[:2] == (1, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 30))
def test_every_event_is_in_time_late_or_too_late_by_what_was_decided_when_it_came(
    seed: int, count: int, size: int
) -> None:
    """However many are handed over at once."""
    rng, now, times = random.Random(seed), T0_MS, []
    for _ in range(count):
        now += rng.choice([0, 500, 9_000, 100_000])
        times.append(now - rng.choice([0, 4_999, 5_000, 14_999, 600_000, 609_999, 615_000]))
    late = too_late = 0
    largest, kept = None, []
    for ts in times:
        if largest is not None:
            watermark = largest - 5_000
            if ts // 10_000 * 10_000 + 10_000 <= window_start(watermark, 600_000):
                too_late += 1
                continue
            late += ts // 10_000 < watermark // 10_000
        kept.append(ts)
        largest = ts if largest is None else max(largest, ts)
    feed = Feed([UP])
    for at in range(0, count, size):
        frame, _ = feed.decode([event(ts) for ts in times[at : at + size]])
        list(feed.push(frame))
    list(feed.finish())
    ledger = feed.shard.ledger
    assert (ledger.late.late, ledger.late.too_late) == (late, too_late)
    tick_s = ledger.decided_s
    assert tick_s is not None
    in_window = [ts for ts in kept if (tick_s - 600) * 1000 <= ts < tick_s * 1000]
    assert ledger.windows.sums[ledger.windows.slot[0, UP.window], EVENTS] == len(in_window)


def test_a_chunk_sent_again_with_more_in_it_counts_its_late_events_once() -> None:
    catalog = Catalog([UP])
    lexicon, keeper, offset = Lexicon(catalog), Keeper(catalog, 10), 0
    intake = Intake(0, 1, 0, 1, lexicon, 5_000)
    times = [T0_MS, T0_MS + 40_000, T0_MS + 1, T0_MS + 60_000, T0_MS - 10_000_000, T0_MS + 80_000]
    for at, ts in enumerate(times):
        out = [*intake.feed(at, at + 1, [at], [T0_MS + 10**6], [event(ts)], lexicon), intake.flush()]
        for sending in out:
            for message in sending.messages.values() if isinstance(sending, Sending) else ():
                keeper.apply(message, offset, 2 * T0_MS + offset)
                offset += 1
        list(keeper.advance(1))
    late = keeper.shard.ledger.late
    assert (late.late, late.too_late) == (1, 1)
