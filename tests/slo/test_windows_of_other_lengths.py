"""Counts outlive an edit of the windows that held them, each once, as far back as they were held."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stream.model.objective import Availability, BurnRule, Calendar, Objective, Period, Rolling
from stream.slo.regrid import Regrid
from stream.slo.windows import Window, Windows, longest_by_grid
from stream.window.limbs import EVENTS, WHOLE
from stream.window.panes import grid_s, window_start_s
from tests.slo.owner import Owner

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
T0_MS = 1_790_000_000_000 // (DAY_S * 1000) * DAY_S * 1000 + 37 * 60_000

UP = Objective(
    "shop",
    "up",
    "payment",
    Availability(),
    Decimal(90),
    Rolling(6 * HOUR_S),
    freeze_below_pct=Decimal(40),
    rollback_below_pct=Decimal(20),
    hysteresis=Decimal(5),
)


def alerting(*lengths_s: int) -> tuple[BurnRule, ...]:
    return tuple(BurnRule(f"{w}s", w, None, Decimal(2), "page", (), 1, 0) for w in lengths_s)


DAY = Calendar(Period.DAY, "UTC")
KOLKATA = Calendar(Period.DAY, "Asia/Kolkata")
WEEK = Calendar(Period.WEEK, "UTC")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Rolling(6 * HOUR_S), Rolling(3 * DAY_S)),
        (Rolling(3 * DAY_S), Rolling(6 * HOUR_S)),
        (Rolling(6 * HOUR_S), Rolling(30 * DAY_S)),
        (Rolling(30 * DAY_S), Rolling(6 * HOUR_S)),
        (Rolling(6 * HOUR_S), WEEK),
        (DAY, WEEK),
        (DAY, KOLKATA),
    ],
    ids=str,
)
def test_all_that_the_old_window_held_is_in_the_new_one(before: Window, after: Window) -> None:
    """Two hours of requests, all of them within both windows: nothing opens."""
    observed = replace(UP, rules=alerting(HOUR_S), budget_basis="observed")
    owner = Owner([replace(observed, window=before)], T0_MS)
    for _ in range(240):
        owner.pane(good=2, bad=1)
        owner.skip(20)
    owner.restart([replace(observed, window=after)])
    owner.panes(7)
    budget = owner.records("slo-budgets")[-1]
    assert (budget["total"], budget["bad"]) == (3 * 240, 240)
    assert [r["state"] for r in owner.records("deploy-freezes")] == ["frozen"]
    assert len(owner.records("deploy-rollbacks")) == 1


LENGTHS = (MINUTE_S, 20 * MINUTE_S, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, 3 * DAY_S, 7 * DAY_S)
ROWS = st.lists(
    st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=4, unique=True), min_size=3, max_size=3
)
Pieces = dict[int, int]
"""Second in which a pane of ten begins → count."""


def objectives(rows: Sequence[Sequence[int]]) -> list[Objective]:
    """Each with a time window, and alerting windows."""
    return [
        replace(UP, name=str(row), window=Rolling(first), rules=alerting(*more))
        for row, (first, *more) in enumerate(rows)
    ]


def carried(old: Windows, before: Sequence[Objective], after: Sequence[Objective], tick_s: int) -> Windows:
    new = Windows(after)
    new.move_to(tick_s)
    regrid = Regrid(new, tick_s, [longest_by_grid(objective) for objective in before])
    for grid in old.grids():
        for start_s in range(old.oldest_s(grid), tick_s, grid):
            regrid.put(grid, start_s, *old.get_pane(grid, start_s))
    regrid.finish()
    return new


def placed(pieces: Pieces, lengths_s: Sequence[int], tick_s: int) -> Pieces:
    """Where the contract's rule puts each count: the last fine pane of the stretch of the finest pane that
    held it. A stretch ends where a finer pane begins, or time does."""
    starts: dict[int, int] = {}
    for length_s in lengths_s:
        grid = grid_s(length_s)
        starts[grid] = min(starts.get(grid, 2**62), window_start_s(tick_s, length_s))
    found: Counter[int] = Counter()
    for at_s, count in pieces.items():
        holding = [grid for grid, start_s in starts.items() if at_s >= start_s]
        if holding:
            finest = min(holding)
            finer_s = min((start_s for grid, start_s in starts.items() if grid < finest), default=2**62)
            found[min((at_s // finest + 1) * finest, finer_s, tick_s) - 10] += count
    return dict(found)


@settings(max_examples=30, deadline=None, phases=[Phase.generate])
@given(st.lists(ROWS, min_size=2, max_size=4), st.integers(0, 2**32))
def test_every_count_is_in_each_window_once_where_the_rule_puts_it(
    edits: Sequence[Sequence[Sequence[int]]], seed: int
) -> None:
    rng, tick_s = random.Random(seed), T0_MS // 1000
    pieces: list[Counter[int]] = [Counter() for _ in edits[0]]
    windows = Windows(objectives(edits[0]))
    windows.move_to(tick_s)
    for number, rows in enumerate(edits):
        if number:
            before = edits[number - 1]
            windows = carried(windows, objectives(before), objectives(rows), tick_s)
            pieces = [Counter(placed(found, before[row], tick_s)) for row, found in enumerate(pieces)]
        for _ in range(rng.randrange(30)):
            at_s = tick_s
            tick_s += rng.choice([10, 10, 50, 600, 4_000, 30_000]) // 10 * 10
            windows.move_to(tick_s)
            late_s = at_s - rng.choice([0, 0, 10, 3_000, 40_000]) // 10 * 10
            for row, found in enumerate(pieces):
                if rng.random() < 0.7:
                    found[late_s] += 1
                    windows.add(late_s // 10, np.array([row]), np.array([[1, 0, 1, 0, 0, 0]]))
        for (row, window), slot in windows.slot.items():
            assert isinstance(window, Rolling)
            start_s = window_start_s(tick_s, window.length_s)
            expected = sum(count for at_s, count in pieces[row].items() if at_s >= start_s)
            assert windows.sums[slot, EVENTS] == windows.sums[slot, WHOLE] == expected, (row, window)


@pytest.mark.parametrize("edit", range(5))
def test_an_edit_that_is_taken_back_at_once_leaves_everything_as_it_was(edit: int) -> None:
    rules = alerting(20 * MINUTE_S, HOUR_S, 2 * HOUR_S, 12 * HOUR_S)
    first = replace(UP, window=Rolling(7 * DAY_S), rules=rules)
    other = [
        replace(first, window=Rolling(30 * DAY_S)),
        replace(first, window=Rolling(30 * DAY_S), rules=()),
        replace(first, rules=alerting(3 * DAY_S)),
        replace(first, rules=()),
        replace(first, window=WEEK, rules=alerting(7 * DAY_S)),
    ][edit]
    owner, rng = Owner([first], T0_MS), random.Random(edit)
    for _ in range(400):
        owner.pane(good=rng.randrange(3), bad=rng.randrange(2))
        owner.skip(rng.choice([0, 0, 100, 500]))
    before = owner.keeper.shard.ledger.windows.sums.copy()
    owner.restart([other])
    owner.restart([first])
    after = owner.keeper.shard.ledger.windows.sums
    slot = owner.keeper.shard.ledger.windows.slot
    longest = slot[0, Rolling(7 * DAY_S)]
    assert (before[longest] == after[longest]).all()
    if edit == 0:
        assert np.array_equal(before, after)


def test_what_is_left_is_of_the_time_that_was_held() -> None:
    """Half an hour is held: its errors are a small part of the budget of three days, not ten times that."""
    short = replace(UP, window=Rolling(1800), rules=(), target_pct=Decimal(99), freeze_below_pct=None)
    owner = Owner([short], T0_MS)
    for pane in range(6 * 40):
        owner.pane(good=9, bad=pane % 10 == 0)
    tick_s = owner.keeper.shard.ledger.decided_s
    assert tick_s is not None
    owner.restart([replace(short, window=Rolling(3 * DAY_S))])
    assert owner.keeper.shard.ledger.complete_s[0] == tick_s - 1800
    for pane in range(12):
        owner.pane(good=9, bad=pane % 10 == 0)
    budget = owner.records("slo-budgets")[-1]
    elapsed_s = (owner.now_ms // 1000 - 10) // 60 * 60 - (tick_s - 1800)
    assert budget["total"] < 9.2 * elapsed_s / 10 + 10
    allowed = 0.01 * budget["total"] * 3 * DAY_S / elapsed_s
    assert budget["consumed_pct"] == pytest.approx(100 * budget["bad"] / allowed)
    owner.restart()
    assert owner.keeper.shard.ledger.complete_s[0] == tick_s - 1800, "the state keeps it"


def test_another_start_with_the_same_windows_writes_nothing_anew() -> None:
    owner = Owner([replace(UP, rules=alerting(HOUR_S, 12 * HOUR_S))], T0_MS)
    for _ in range(500):
        owner.pane(good=1)
        owner.skip(50)
    owner.restart()
    assert set(owner.keeper.changes()) == {b"shard"}
    assert owner.keeper.shard.ledger.complete_s[0] == 0


def test_panes_of_the_new_grid_are_in_the_state_and_those_of_the_old_one_are_not() -> None:
    owner = Owner([UP], T0_MS)
    owner.panes(100, good=1)
    owner.restart([replace(UP, window=Rolling(3 * DAY_S))])
    owner.checkpoint()
    assert {name.split(b"\0")[1] for name in owner.state if name.startswith(b"pane\0")} == {b"300"}
    owner.restart()
    owner.panes(7)
    assert owner.records("slo-budgets")[-1]["total"] == 100
