"""One producer's fast clock moves nobody's time (contract, section 3)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.canary.book import CanaryBook
from stream.model.objective import Availability, Objective, Rolling
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.window.upsert import Verdict
from stream.wire.partial import Report, decode_message, encode_reports
from stream.wire.signal import Signal

T0_MS = 1_790_000_000_000 // 3_600_000 * 3_600_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CATALOG = Catalog([Objective("shop", "up", "pay", Availability(), Decimal(99), Rolling(7200))])


def event(ts_ms: int, status: int = 200, **more: Any) -> bytes:
    named = {"namespace": "shop", "service": "pay", "endpoint": "/a", "latency_ms": 5}
    return json.dumps({"ts": ts_ms, "status": status, **named, **more}).encode()


def intake_at(stamp_ms: int | None) -> Intake:
    intake = Intake(0, 1, 0, 1, Lexicon(CATALOG), 5_000)
    intake.stamp_ms = intake.present_ms = stamp_ms
    return intake


def feed(intake: Intake, *ts_ms: int) -> list[Sending]:
    """Records whose own timestamps do not show that they are ahead."""
    begin, values = intake.end, [event(ms) for ms in ts_ms]
    end = begin + len(values)
    out = intake.feed(begin, end, range(begin, end), [T0_MS + 10**9] * len(values), values, Lexicon(CATALOG))
    return [one for one in out if isinstance(one, Sending)]


# stage one


@pytest.mark.parametrize(("ahead_ms", "moves"), [(60_000, True), (60_001, False), (55 * MINUTE_MS, False)])
def test_an_event_more_than_a_minute_above_the_newest_stamp_moves_no_watermark(
    ahead_ms: int, moves: bool
) -> None:
    intake = intake_at(T0_MS)
    feed(intake, T0_MS - 20_000, T0_MS + ahead_ms, T0_MS - 15_000)
    assert intake.largest_ms == (T0_MS + ahead_ms if moves else T0_MS - 15_000)
    assert (intake.ahead.count, intake.events) == (0 if moves else 1, 3)


def test_the_one_furthest_ahead_is_known_by_its_offset() -> None:
    intake = intake_at(T0_MS)
    feed(intake, T0_MS, T0_MS + 70_000, T0_MS + 90_000, T0_MS + 80_000)
    feed(intake, T0_MS + 85_000)
    assert (intake.ahead.count, intake.ahead.offset, intake.ahead.by_ms) == (4, 2, 90_000)


def test_without_a_stamp_nothing_is_ahead() -> None:
    intake = intake_at(None)
    feed(intake, T0_MS, T0_MS + 10**9)
    assert intake.largest_ms == T0_MS + 10**9


def test_where_all_events_are_ahead_there_is_no_watermark() -> None:
    intake = intake_at(T0_MS)
    assert feed(intake, T0_MS + 70_000, T0_MS + 80_000) == []
    assert intake.report().watermark_ms is None


def test_nothing_is_sent_at_a_tick_to_which_the_clock_has_not_come_and_then_it_is() -> None:
    intake = intake_at(T0_MS + 14_000)
    feed(intake, T0_MS + 5_000)
    assert feed(intake, T0_MS + 15_500) == [], "the tick at 10 s is passed at 15 s"
    assert intake.held_back() is None
    intake.present_ms = T0_MS + 15_000
    sending = intake.held_back()
    assert sending is not None
    assert sending.messages.keys() == {0}
    assert sending.report.watermark_ms == T0_MS + 10_500
    assert intake.held_back() is None


def test_what_is_sent_already_is_not_sent_again_when_the_clock_comes() -> None:
    intake = intake_at(T0_MS + 14_000)
    feed(intake, T0_MS + 5_000)
    feed(intake, T0_MS + 15_500)
    assert intake.flush() is not None
    intake.present_ms = T0_MS + 16_000
    sending = intake.held_back()
    assert sending is not None
    assert sending.messages == {}


# stage two


class Owner:
    """A partition of services, that may start again after any message."""

    def __init__(self, restarts: bool = False) -> None:
        self.restarts = restarts
        self.records: dict[bytes, bytes] = {}
        self.keeper = Keeper(CATALOG, 100)
        self.dropped = 0
        self.signals: list[Signal] = []

    def apply(self, message: bytes, stamp_ms: int) -> Verdict | None:
        self.keeper.sources = 1
        verdict = self.keeper.apply(message, self.keeper.position, stamp_ms)
        self.signals += self.keeper.advance(1)
        if self.restarts:
            self.dropped += self.keeper.shard.ledger.late.too_late
            found = self.records | self.keeper.changes()
            self.records = {name: value for name, value in found.items() if value is not None}
            self.keeper = Keeper(CATALOG, 100, self.records)
        return verdict

    @property
    def too_late(self) -> int:
        return self.dropped + self.keeper.shard.ledger.late.too_late

    def budgets(self) -> list[tuple[str, float]]:
        """(at, total)."""
        found = [s.value for s in self.signals if s.topic == "slo-budgets"]
        return [(v["evaluated_at"][11:19], v["total"]) for v in found]

    def counts(self) -> dict[str, int]:
        """Of the percentiles over a minute."""
        found = [s.value for s in self.signals if s.topic == "latency-percentiles"]
        return {
            v["evaluated_at"][11:19]: v["count"]
            for v in found
            if v["window_s"] == 60 and v["endpoint"] is None
        }


def test_a_report_counts_at_most_as_the_clock_less_the_lateness() -> None:
    owner = Owner()
    owner.apply(encode_reports([Report(0, 1, 5, 1, T0_MS + 55 * MINUTE_MS, None, 7_000)]), T0_MS)
    assert owner.keeper.watermark_ms == T0_MS - 7_000


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_too_far_ahead_when_first_sent_stays_dropped_however_the_chunk_grows(restarts: bool) -> None:
    """The pane at 1 h + 10 s: events are sent at 0 s, at 9.999 s, and at 10 s, which is an hour before."""
    pane_ms, owner, intake = T0_MS + HOUR_MS + 10_000, Owner(restarts), intake_at(T0_MS)
    verdicts = []
    for stamp_ms, ts_ms in (
        (T0_MS, pane_ms),
        (T0_MS + 9_999, pane_ms + 1),
        (T0_MS + 10_000, pane_ms + 2),
        (T0_MS + 9_000, pane_ms + 3),  # the broker's clock was set back
        (T0_MS + 12_000, pane_ms + 4),
    ):
        begin = intake.end
        columns = [begin], [T0_MS + 50_000_000], [event(ts_ms)]
        assert list(intake.feed(begin, begin + 1, *columns, Lexicon(CATALOG))) == []
        sending = intake.flush()
        assert sending is not None
        verdicts.append(owner.apply(sending.messages[0], stamp_ms))
    assert verdicts == [Verdict.OPEN, *[Verdict.REPLACE] * 4]
    assert owner.too_late == 3
    assert owner.keeper.shard.is_waiting
    for source_ms in (pane_ms, pane_ms + 60_000):
        report = Report(0, 1, 5, 1, source_ms, None)
        owner.apply(encode_reports([report]), source_ms + 5_000)
    assert owner.budgets()[0][1] == 2
    assert owner.counts() == {}, "a digest cannot be taken apart"


def test_events_up_to_an_hour_ahead_wait_for_their_own_pane() -> None:
    owner, intake = Owner(), intake_at(T0_MS)
    feed(intake, T0_MS + HOUR_MS + 9_999)
    sending = intake.flush()
    assert sending is not None
    owner.apply(sending.messages[0], T0_MS)
    assert (owner.too_late, owner.budgets()) == (0, [])
    owner.apply(encode_reports([Report(0, 1, 1, 1, T0_MS + 2 * HOUR_MS, None)]), T0_MS + HOUR_MS + 65_000)
    assert [total for _, total in owner.budgets()] == [1]
    assert list(owner.counts().values()) == [1]


def test_waiting_panes_are_bounded_however_many_events_are_ahead() -> None:
    owner, intake = Owner(), intake_at(T0_MS)
    (sending,) = feed(intake, *(T0_MS + i * 10_000 for i in range(3_000)))
    owner.apply(sending.messages[0], T0_MS)
    assert len(owner.keeper.shard.event_time[2]) == 361
    assert len(owner.keeper.shard.ledger.pending) == 361
    assert owner.too_late == 3_000 - 361


def test_what_is_too_far_ahead_counts_for_no_canary_either() -> None:
    from stream.canary.counts import Counts

    book = CanaryBook([], {})
    seen: list[range] = []

    class Spy(Counts):
        def within(self, panes: range) -> Counts:
            seen.append(panes)
            return Counts.empty()

    book._read = lambda *_: Spy(*(getattr(Counts.empty(), n) for n in Counts.__slots__))  # type: ignore[method-assign]
    book.observe(0, None, False, False, range(3, 9), None)
    assert seen == [range(3, 9)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30_000), st.integers(-9_000_000, 9_000_000), st.booleans()),
        min_size=2,
        max_size=25,
    ),
    st.sets(st.integers(0, 60)),
)
def test_what_is_dropped_is_a_function_of_the_log(
    steps: list[tuple[int, int, bool]], batch_ends: set[int]
) -> None:
    """However messages are batched before ticks are decided, and wherever an owner starts again."""
    intake, log, now_ms = intake_at(None), [], T0_MS
    for pause_ms, from_now_ms, flush in steps:
        now_ms += pause_ms
        intake.stamp_ms = intake.present_ms = now_ms
        begin, ts_ms = intake.end, now_ms + from_now_ms
        out: list[Any] = list(
            intake.feed(begin, begin + 1, [begin], [now_ms + 10**8], [event(ts_ms)], Lexicon(CATALOG))
        )
        out += [intake.flush()] if flush else []
        log += [(m, now_ms) for s in out if isinstance(s, Sending) for m in s.messages.values()]
    assert all(decode_message(message).rule == 2 for message, _ in log)
    found = []
    for ends in (set(range(len(log))), batch_ends, set[int]()):
        keeper, too_late, records = Keeper(CATALOG, 100), 0, dict[bytes, bytes]()
        keeper.sources = 1
        for i, (message, stamp_ms) in enumerate(log):
            keeper.apply(message, i, stamp_ms)
            list(keeper.advance(1))
            if i in ends:
                too_late += keeper.shard.ledger.late.too_late
                records |= keeper.changes()  # type: ignore[arg-type]
                records = {name: value for name, value in records.items() if value is not None}
                keeper = Keeper(CATALOG, 100, records)
                keeper.sources = 1
        found.append((too_late + keeper.shard.ledger.late.too_late, keeper.watermark_ms))
    assert found[0] == found[1] == found[2]
