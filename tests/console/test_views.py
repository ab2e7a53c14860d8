"""What is drawn and printed: the essentials, at every size, with and without colour and Unicode."""

from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from signal_records import (
    alert,
    budget,
    canary_rollback,
    dead_letter,
    freeze,
    percentiles,
    rollback,
    rollout,
    verdict,
)

from stream.console import text
from stream.console.board import Board
from stream.console.glyphs import ASCII, UNICODE, Glyphs
from stream.console.live import LiveView
from stream.console.plain import Chronicle, happening_lines, status_line
from stream.console.progress import Progress

START_MS = text.epoch_ms("2026-11-23T10:00:00.000Z")
SLOS = ("payment-availability", "payment-latency")


def progress(minutes: float = 30.0) -> Progress:
    return Progress(
        title="a small shop's hour",
        start_ms=START_MS,
        length_s=3600,
        told_ms=START_MS + int(minutes * 60_000),
        elapsed_s=minutes,
        speed=60.0,
        sent=361_234,
        events_per_s=12_034.4,
    )


def eventful() -> Board:
    """An incident at its end."""
    board = Board()
    for minute, slo in itertools.product(range(30), SLOS):
        at = f"2026-11-23T10:{minute:02}:00.000Z"
        burn = 20.0 if minute > 22 else 0.1
        board.apply(
            "slo-budgets", budget(at, slo, burn_rate={"5m": burn, "1h": burn / 4}, remaining_pct=29.3)
        )
    board.apply("slo-budgets", budget(slo="search-availability", service="search", remaining_pct=98.0))
    board.apply("latency-percentiles", percentiles())
    board.note(START_MS + 1_320_000, "payment 2.5.0 begins to fail on POST /v1/charges")
    board.apply("slo-alerts", alert("2026-11-23T10:24:10.000Z"))
    board.apply("deploy-freezes", freeze("2026-11-23T10:25:30.000Z"))
    board.apply("deploy-rollbacks", rollback("2026-11-23T10:28:10.000Z"))
    return board


def drawn(
    board: Board, width: int = 120, height: int = 40, *, colour: bool = False, ascii_only: bool = False
) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if ascii_only else "utf-8", newline="\n")
    console = Console(
        file=out,
        width=width,
        height=height,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        legacy_windows=False,
    )
    console.print(LiveView(board, progress()), height=height)
    out.flush()
    out.seek(0)
    return out.read()


def test_the_whole_view_at_a_comfortable_size() -> None:
    lines = [line.rstrip() for line in drawn(eventful()).splitlines()]
    assert lines[:3] == [
        "  burngate   a small shop's hour",
        " event time 10:30:00 UTC · 12,034 events/s · sent 361,234 · clock 0:30 (60× slower) "
        "· decided up to 10:29:00",
        " " + "█" * 59 + "░" * 59,
    ]
    page = "\n".join(lines)
    squeezed = " ".join(page.split())
    assert "payment-availability 99.9 % ▁▁▁▁" in squeezed
    assert "▁" * 10 + "█" * 7 + " █████▉░░" in squeezed
    assert "█████▉░░░░░░░░░░░░░░  29.3 %     20.0×      5.0×  critical" in page
    assert "FROZEN since 10:25:30  rolled back 2.5.0" in page
    assert "payment 50.0 31 ms 640 ms 1.32 s FROZEN since" in squeezed
    told = page[page.index("10:22:00") :].splitlines()
    assert [line.split()[0] for line in told if line.strip()[:2] == "10"] == [
        "10:22:00",
        "10:24:10",
        "10:25:30",
        "10:28:10",
    ]
    assert "10:24:10  ● FIRING    payment-availability 5m > 14.4× (critical)" in page
    assert "97 % of the bad requests: POST /v1/charges, version 2.5.0, canary" in page
    assert "10:28:10  ◀ ROLLBACK  payment: take 2.5.0 back, to 2.4.0" in page


def test_an_empty_board_says_what_it_waits_for() -> None:
    assert "waiting for the first budgets" in drawn(Board())


@pytest.mark.parametrize("width", [20, 40, 60, 66, 80, 92, 112, 200])
@pytest.mark.parametrize("height", [5, 12, 24, 50])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    lines = drawn(eventful(), width, height).removesuffix("\n").split("\n")
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_keeps_the_numbers_that_matter(width: int) -> None:
    page = drawn(eventful(), width, 40)
    for essential in ("29.3 %", "20.0×", "critical", "FROZEN", "FIRING", "ROLLBACK"):
        assert essential in page


def shop() -> Board:
    """The incident in a shop of several services; most of its objectives are well."""
    board = eventful()
    for name in ("catalogue-availability", "checkout-availability", "search-latency"):
        board.apply("slo-budgets", budget(slo=name, service=name.split("-")[0], remaining_pct=97.0))
    return board


@pytest.mark.parametrize(("width", "height"), [(60, 15), (60, 12), (80, 12), (40, 12), (40, 8), (30, 5)])
def test_what_fires_and_what_is_frozen_is_seen_on_the_smallest_terminal(width: int, height: int) -> None:
    page = drawn(shop(), width, height)
    assert "1 FIRING" in page
    assert "FROZEN payment" in page
    if height >= 12:
        assert "payment-av" in page
        assert "29.3 %" in page
        assert "critical" in page
        assert "take 2.5.0 back"[: width - 35] in page


def test_objectives_for_which_there_is_no_room_are_counted() -> None:
    page = drawn(shop(), 60, 12)
    firsts = [line.split()[0] for line in page.splitlines() if line.strip()]
    shown = sum(first.endswith(("availability", "latency")) for first in firsts)
    assert f"and {6 - shown} objectives more" in page
    assert 0 < shown < 6
    assert "objectives more" not in drawn(shop(), 60, 40)


def canaries() -> Board:
    """One was taken back, one is on trial."""
    board = shop()
    for service in ("search", "catalogue"):
        board.apply("latency-percentiles", percentiles(service=service))
    board.apply("rollout-status", rollout("2026-11-23T10:20:10.000Z"))
    board.apply("canary-verdicts", verdict())
    board.apply("deploy-rollbacks", canary_rollback())
    board.apply("rollout-status", rollout(state="failed"))
    board.apply("rollout-status", rollout("2026-11-23T10:30:00.000Z", service="catalogue"))
    return board


def test_a_verdict_fits_a_terminal_of_eighty_columns_with_its_numbers() -> None:
    page = drawn(canaries(), 80, 40)
    assert "10:24:00  ✗ FAILED    search 3.2.0 failed its canary: p99 +251 % [over +33 %]" in page
    assert "10:20:00  ◇ TRIAL     search 3.2.0 is on trial at 10 %, beside 3.1.0" in page
    services = [line.split() for line in page.splitlines() if "open" in line]
    assert ["search", "50.0"] in [row[:2] for row in services]
    assert any(row[-3:] == ["rolled", "back", "3.2.0"] for row in services)
    assert any(row[-3:] == ["on", "trial", "1.9.0"] for row in services)


@pytest.mark.parametrize(("width", "height"), [(80, 18), (80, 12), (60, 15)])
def test_a_low_terminal_says_who_is_on_trial(width: int, height: int) -> None:
    lines = drawn(canaries(), width, height).splitlines()
    assert any("ON TRIAL catalogue 1.9.0" in line and "FROZEN payment" in line for line in lines)


def test_a_terminal_of_eighty_by_twenty_four_shows_gates_trials_and_what_happened_last() -> None:
    board = canaries()
    board.apply("canary-verdicts", verdict("2026-11-23T10:40:00.000Z", "pass", "catalogue"))
    page = drawn(board, 80, 24)
    for essential in (
        "FROZEN since 10:25:30  rol…",
        "open  rolled back 3.2.0",
        "open  on trial 1.9.0",
        "payment-availability",
        "✓ PASSED    catalogue 1.9.0 passed its canary: no metric is worse",
    ):
        assert essential in page, page


def test_a_terminal_without_unicode_has_marks_for_canaries_too() -> None:
    page = drawn(canaries(), 120, 50, ascii_only=True)
    assert "x FAILED    search 3.2.0 failed its canary: p99 +251 % [over +33 %]" in page
    assert "p50 +1 % [-19 %, +28 %]" in page


def test_the_status_line_says_who_is_on_trial() -> None:
    assert "catalogue 1.9.0 on trial, least budget" in status_line(canaries(), progress(), START_MS)


def test_where_all_is_well_the_smallest_terminal_says_so() -> None:
    board = Board()
    board.apply("slo-budgets", budget())
    assert "nothing fires, nothing is frozen" in drawn(board, 40, 8)


def test_names_are_told_apart_at_forty_columns() -> None:
    lines = drawn(shop(), 40, 30).splitlines()
    names = [line.split()[0] for line in lines if line.startswith((" pay", " sea", " cat", " che"))]
    assert len(set(names)) == len(names) == 6 + len(shop().services)
    assert "FROZEN" in drawn(shop(), 40, 30)


def test_a_low_terminal_keeps_the_newest_happenings_and_gives_up_details_first() -> None:
    page = drawn(eventful(), 100, 20)
    assert "take 2.5.0 back" in page
    assert "97 % of the bad requests" not in page
    assert "requests/s" not in drawn(eventful(), 100, 12)
    assert "take 2.5.0 back" in drawn(eventful(), 100, 12)


def test_colours_only_repeat_what_the_words_say() -> None:
    console = Console(width=120)
    coloured = drawn(eventful(), colour=True)
    assert "\x1b[" in coloured
    plain = "\n".join(segment.plain.rstrip() for segment in console.render_str(coloured).split("\n"))
    assert "\x1b[" not in drawn(eventful())
    assert plain.count("FIRING") == drawn(eventful()).count("FIRING")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in drawn(eventful(), colour=True)
    assert ";31" not in drawn(eventful(), colour=True)


def test_a_terminal_without_unicode_gets_ascii_bars_and_marks() -> None:
    page = drawn(eventful(), ascii_only=True)
    assert "! FIRING" in page
    assert "######" in page
    assert "█" not in page


@given(st.floats(-500, 500), st.integers(0, 80), st.sampled_from([UNICODE, ASCII]))
def test_a_bar_is_as_wide_as_asked_whatever_the_percentage(
    percent: float, width: int, glyphs: Glyphs
) -> None:
    filled, empty = glyphs.bar(percent, width)
    assert len(filled) + len(empty) == width
    if percent <= 0:
        assert not filled
    if percent >= 100:
        assert not empty


def test_a_sparkline_rises_with_the_burn_and_shows_gaps() -> None:
    cells = [cell for cell, _ in UNICODE.sparkline([None, 0.0, 0.5, 2.0, 6.0, 14.4, 1000.0], 7)]
    assert cells[0] == " "
    assert cells[1:] == sorted(cells[1:])
    assert cells[1] == "▁"
    assert cells[-1] == "█"
    assert UNICODE.sparkline([1.0] * 9, 4) == [(UNICODE.spark(1.0), 1.0)] * 4


def test_plain_lines_tell_what_happens_with_its_reasons() -> None:
    lines = [line for happening in eventful().happenings for line in happening_lines(happening)]
    assert lines == [
        "10:22:00            payment 2.5.0 begins to fail on POST /v1/charges",
        "10:24:10  FIRING    payment-availability 5m > 14.4× (critical): "
        "burning 15.2× over 5m and 38.1× over 30s",
        "                    97 % of the bad requests: POST /v1/charges, version 2.5.0, canary",
        "                    at this pace the budget is gone at 10:39:40",
        "10:25:30  FROZEN    payment may not be deployed",
        "                    payment-availability has 59.4 % of its budget left, below 60 %",
        "10:28:10  ROLLBACK  payment: take 2.5.0 back, to 2.4.0",
        "                    payment-availability has 29.3 % of its budget left, below 30 %",
    ]


def test_the_status_line_has_the_pace_the_alerts_and_the_least_budget() -> None:
    board = eventful()
    board.apply("dead-letters", dead_letter())
    assert status_line(board, progress(), START_MS + 29 * 60_000) == (
        "10:29:00  status    0:30 on the clock, 12,034 events/s, 361,234 sent up to 10:30:00, 1 dead letter, "
        "1 alert firing, least budget: payment-availability 29.3 %"
    )


def play(board: Board, minute: int) -> None:
    """One minute of a story in which payment is decided three minutes after search."""
    at_ms = START_MS + minute * 60_000
    board.apply("slo-budgets", budget(written(at_ms), "search-availability", "search"))
    board.note(at_ms - 5_000, "the shop goes on")
    earlier = written(at_ms - 180_000)
    board.apply("slo-alerts", alert(earlier, id=str(minute)))
    board.apply("slo-budgets", budget(earlier, SLOS[0]))


def written(at_ms: int) -> str:
    return f"2026-11-23T{text.clock(at_ms)}.000Z"


def test_lines_are_in_order_of_event_time_however_far_apart_services_are() -> None:
    board = Board()
    chronicle = Chronicle(board, START_MS - 600_000, patient=True)
    times: list[int] = []
    for minute in range(20):
        play(board, minute)
        times += [one.at_ms for one in chronicle.news()]
        times.append(chronicle.at_ms)  # a status line
    assert times == sorted(times)
    assert times[-1] == START_MS + 16 * 60_000
    rest = chronicle.news(everything=True)
    assert [one.at_ms for one in rest] == [START_MS + minute * 60_000 - 5_000 for minute in (17, 18, 19)]
    assert chronicle.news(everything=True) == []


def test_nothing_is_told_before_every_objective_has_been_heard_of() -> None:
    """On a busy machine one partition is decided long before another has begun."""
    board = Board(objectives=2)
    chronicle = Chronicle(board, START_MS, patient=True)
    board.note(START_MS + 30_000, "the shop goes on")
    board.apply("slo-budgets", budget(written(START_MS + 600_000), "search-availability", "search"))
    assert (board.decided_ms, chronicle.news()) == (None, [])
    board.apply("slo-budgets", budget(written(START_MS + 60_000), SLOS[0]))
    assert board.decided_ms == START_MS + 60_000
    assert [one.at_ms for one in chronicle.news()] == [START_MS + 30_000]


def test_at_the_pace_of_the_clock_nothing_is_held_back() -> None:
    board = Board()
    chronicle = Chronicle(board, START_MS, patient=False)
    for minute in range(3):
        play(board, minute)
        assert len(chronicle.news()) == 2


@pytest.mark.parametrize(
    ("length_s", "shown"),
    [(0, "0 s"), (59.6, "1 min"), (130, "2 min 10 s"), (3600, "1 h"), (3900, "1 h 5 min")],
)
def test_durations_are_in_two_units_at_most(length_s: float, shown: str) -> None:
    assert text.duration(length_s) == shown


@pytest.mark.parametrize(
    ("length_s", "written"), [(30, "30s"), (300, "5m"), (5400, "90m"), (2_592_000, "30d")]
)
def test_windows_are_written_as_in_the_slo_file(length_s: int, written: str) -> None:
    assert text.window(length_s) == written
