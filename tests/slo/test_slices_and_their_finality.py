"""Time slices: bad by weighted share, counted where they end, final an hour after (contract, section 2)."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, Latency, Objective, Rolling, Slices
from stream.pipeline import Feed
from stream.slo.slices import SliceBook
from stream.window.limbs import BAD, EVENTS, total, total_bad

MILLION = 1_000_000
LENGTHS = (10, 30, 60, 300)
ALLOWED = (Decimal(10), Decimal("0.1"), Decimal("33.3"), Decimal(50))


def objectives() -> list[Objective]:
    """One for each length; between them one that counts requests."""
    made = [
        Objective(
            "shop", f"s{length}", "payment", Latency(100), Decimal(99), Rolling(3600), Slices(length, allowed)
        )
        for length, allowed in zip(LENGTHS, ALLOWED, strict=True)
    ]
    return [
        made[0],
        Objective("shop", "up", "payment", Availability(), Decimal(99), Rolling(3600)),
        *made[1:],
    ]


OBJECTIVES = objectives()
ROWS = {o.slices.length_s: row for row, o in enumerate(OBJECTIVES) if o.slices}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_slice_counts_once_where_it_ends_and_may_change_for_an_hour(data: st.DataObject) -> None:
    """slice            its pane
    ├──────────────────┬────┤ end                     end + 1 h
      requests, in time or late ──────────────────────┤ nothing more
    """
    book = SliceBook(OBJECTIVES)
    requests: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])  # (row, end) → N, B that count
    counted: dict[tuple[int, int], np.ndarray] = {}  # (row, pane) → sums
    tick_s = 1_790_000_000 // 3600 * 3600

    def note(changes: list[object]) -> None:
        for one in changes:
            before = counted.get((one.row, one.pane), 0)
            counted[one.row, one.pane] = before + one.counts

    for _ in range(data.draw(st.integers(1, 12))):
        for _ in range(data.draw(st.sampled_from([1, 1, 2, 6, 30, 361]))):
            tick_s += 10
            note(list(book.finish(tick_s)))
        for _ in range(data.draw(st.integers(0, 4))):
            length_s = data.draw(st.sampled_from(LENGTHS))
            age = data.draw(st.sampled_from([-30, -1, 0, 1, 5, 354, 359, 360, 361, 389, 390]))
            pane = tick_s // 10 - 1 - age
            weight = data.draw(st.sampled_from([MILLION, 3_333_333, 10**12]))
            bad = data.draw(st.sampled_from([0, 0, weight, weight // 10, weight // 1000]))
            note(book.observe(ROWS[length_s], pane, weight, bad, tick_s))
            end_s = (pane * 10 // length_s + 1) * length_s
            if tick_s < end_s + 3600:
                one = requests[ROWS[length_s], end_s]
                one[0] += weight
                one[1] += bad
        expected = {}
        for (row, end_s), (n, b) in requests.items():
            if end_s <= tick_s:
                allowed = OBJECTIVES[row].slices.allowed_bad_pct
                expected[row, end_s // 10 - 1] = Fraction(100 * b, n) > Fraction(allowed)
        got = {}
        for place, sums in counted.items():
            if sums.any():
                assert (int(sums[EVENTS]), total(sums)) == (1, MILLION)
                assert (int(sums[BAD]), total_bad(sums)) in ((0, 0), (1, MILLION))
                got[place] = bool(sums[BAD])
        assert got == expected


@pytest.mark.parametrize(
    ("allowed", "bad", "weight", "is_bad"),
    [
        (Decimal(10), 1, 10, False),  # ten percent exactly
        (Decimal(10), 11, 100, True),
        (Decimal("0.1"), 1, 1000, False),
        (Decimal("0.1"), 1, 999, True),
        (Decimal("33.3"), 333, 1000, False),
        (Decimal("33.3"), 333_000_001, 10**9, True),
    ],
)
def test_a_share_that_is_hit_exactly_is_not_exceeded(
    allowed: Decimal, bad: int, weight: int, is_bad: bool
) -> None:
    o = Objective("shop", "s", "payment", Latency(100), Decimal(99), Rolling(3600), Slices(60, allowed))
    book = SliceBook([o])
    book.observe(0, 6_000, weight * MILLION, bad * MILLION, None)
    (counted,) = book.finish(60_060)
    assert (counted.row, counted.pane, bool(counted.counts[BAD])) == (0, 6_005, is_bad)


def test_slices_that_are_final_are_forgotten() -> None:
    book = SliceBook(OBJECTIVES)
    book.observe(ROWS[60], 0, MILLION, 0, None)
    for tick_s, kept in ((60, 1), (3650, 1), (3660, 0)):
        list(book.finish(tick_s))
        assert len(book.slices) == kept, tick_s


T0_MS = 1_790_000_000_000 // 60_000 * 60_000


@pytest.mark.parametrize(("after_ms", "counts"), [(3_599_999, True), (3_600_000, False)])
def test_a_late_request_changes_its_slice_until_the_watermark_is_an_hour_past_its_end(
    after_ms: int, counts: bool
) -> None:
    #  slice [0, 60) good … watermark at 60 s + after … a slow request of ts 30 s … a request an hour on
    o = Objective(
        "shop", "s", "payment", Latency(100), Decimal(99), Rolling(4 * 3600), Slices(60, Decimal(10))
    )
    feed = Feed([o])
    budgets = []
    for ts, latency in ((1_000, 5), (60_000 + after_ms + 5_000, 5), (30_000, 500), (7_500_000, 5)):
        event = {"ts": T0_MS + ts, "service": "payment", "namespace": "shop", "latency_ms": latency}
        frame, _ = feed.decode([json.dumps(event).encode()])
        budgets += [s.value for s in feed.push(frame) if s.topic == "slo-budgets"]
    assert (budgets[-1]["total"], budgets[-1]["bad"]) == (2.0, float(counts))


def test_a_slice_without_requests_does_not_count_and_an_unfinished_one_counts_nowhere() -> None:
    #  slices    [0, 60) one request   [60, 120) none   [120, 180) one   [180, …) one, unfinished
    o = Objective("shop", "s", "payment", Latency(100), Decimal(99), Rolling(3600), Slices(60, Decimal(10)))
    feed = Feed([o])
    totals = {}
    for ts in (5_000, 125_000, 185_000, 235_000):
        event = {"ts": T0_MS + ts, "service": "payment", "namespace": "shop", "latency_ms": 5}
        frame, _ = feed.decode([json.dumps(event).encode()])
        for signal in feed.push(frame):
            if signal.topic == "slo-budgets":
                totals[str(signal.value["evaluated_at"])[14:19]] = signal.value["total"]
    assert list(totals.values()) == [1.0, 1.0, 2.0]
