"""The study simulates what its rows say, and its table says what was found."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.canary_study.kayenta import LEAST_MINUTES, RULES, Kayenta, points
from benchmarks.canary_study.kept import Kept
from benchmarks.canary_study.latencies import (
    BUCKETS,
    Latencies,
    constant,
    known,
    lognormal,
    mixed,
    slower,
    stretched,
    whole_ms,
)
from benchmarks.canary_study.report import missed, table, write_into
from benchmarks.canary_study.rollouts import Bursts, Endpoint, World, panes
from benchmarks.canary_study.rows import ALL, DEFAULT_MARGINS, Row
from benchmarks.canary_study.running import NEVER, Found, run
from stream.canary.kayenta.classify import Class, classify
from stream.sketch.buckets import PER_OCTAVE, buckets_of, upper_edges


def quantile(latencies: Latencies, p: float) -> float:
    return float(upper_edges(BUCKETS)[np.searchsorted(np.cumsum(latencies.shares), p)])


@pytest.mark.parametrize("name", known())
def test_shares_of_buckets_add_up(name: str) -> None:
    assert Latencies.of(known()[name]).shares.sum() == pytest.approx(1)


def test_changes_of_a_distribution_are_what_they_say() -> None:
    base = lognormal(40, 0.6)
    usual = Latencies.of(base)
    tail = Latencies.of(stretched(base, 2.0, 0.9, 0.985))
    assert quantile(tail, 0.5) == quantile(usual, 0.5)
    assert quantile(tail, 0.99) == pytest.approx(2 * quantile(usual, 0.99), rel=0.03)
    assert quantile(Latencies.of(slower(base, 1.05)), 0.5) == pytest.approx(42, rel=0.02)
    assert quantile(usual.moved(PER_OCTAVE), 0.9) == 2 * quantile(usual, 0.9)
    assert quantile(Latencies.of(mixed((0.6, constant(10)), (0.4, constant(50)))), 0.7) >= 50
    whole = Latencies.of(whole_ms(lognormal(4, 0.5)))
    there = BUCKETS[whole.shares > 0]
    assert set(there) <= set(buckets_of(np.arange(1.0, 200_000.0)).tolist()) | {BUCKETS[0]}


@pytest.mark.parametrize("n", [5, 500])
def test_requests_are_drawn_from_the_shares_in_either_way(n: int) -> None:
    latencies = Latencies.of(lognormal(40, 0.6))
    counts = latencies.draw(np.random.default_rng(1), np.full(20_000 // n, n))
    assert (counts.sum(axis=1) == n).all()
    below = np.cumsum(counts.sum(axis=0)) / counts.sum()
    assert np.abs(below - np.cumsum(latencies.shares)).max() < 0.015


def test_panes_have_the_traffic_errors_and_bursts_of_their_world() -> None:
    one = Endpoint(Latencies.of(lognormal(40, 0.6)), errors=0.02)
    world = World((one,), (one,), 1000, 0.1, bursts=Bursts(0.25, errors=0.5, slower=PER_OCTAVE, common=True))
    canary, baseline = zip(*panes(world, 20, np.random.default_rng(2)), strict=True)
    n_c, n_b = (sum(int(pane.requests.sum()) for pane in arm) for arm in (canary, baseline))
    assert n_c + n_b == pytest.approx(20 * 60 * 1000, rel=0.01)
    assert n_c / (n_c + n_b) == pytest.approx(0.1, rel=0.02)
    errors = sum(int(pane.errors.sum()) for pane in baseline)
    assert errors / n_b == pytest.approx(0.25 * 0.5 + 0.75 * 0.02, rel=0.05)
    struck = [(pane.errors / np.maximum(pane.requests, 1)).ravel() > 0.2 for pane in baseline]
    shared = [(pane.errors / np.maximum(pane.requests, 1)).ravel() > 0.2 for pane in canary]
    assert np.mean(np.concatenate(struck) == np.concatenate(shared)) > 0.95


def test_every_row_can_be_run() -> None:
    rows = [row for part in ALL.values() for row in part()]
    assert len({(row.group, row.what) for row in rows}) == len(rows)
    assert {len(row.world.baseline) - len(row.world.canary) for row in rows} == {0}


def test_a_harm_is_found_and_what_is_alike_is_not() -> None:
    by_name = {row.what: row for part in ALL.values() for row in part()}
    bad = run(by_name["errors 1 % → 5 %"], 20)
    assert Found.share(bad.sequential) == 1
    assert 1 < (Found.median(bad.sequential) or 0) <= 6
    assert Found.share(run(by_name["lognormal, 1,000/min, 5 %"], 100).sequential) <= 0.05


def test_the_default_margins_are_those_of_an_analysis_that_names_none() -> None:
    assert DEFAULT_MARGINS.latencies["p99"] == (1.15, 5.0)
    assert DEFAULT_MARGINS.errors == pytest.approx((1.25, 0.001))


def worlds() -> dict[str, World]:
    """Arms that are alike, a harm, and points that are mostly equal: minutes without errors."""
    alike, bad = Endpoint(Latencies.of(lognormal(40, 0.6)), 0.005), Endpoint(Latencies.of(constant(10)), 0.02)
    found = {row.what: row.world for part in ALL.values() for row in part()}
    chosen = {what: found[what] for what in ("lognormal, 100/min, 1 %", "errors 1 % → 2 %")}
    return {**chosen, "few errors": World((replace(bad, errors=0.002),), (bad,), 100, 0.5),
            "alike": World((alike,), (alike,), 100, 0.5)}  # fmt: skip


@pytest.mark.parametrize("what", worlds())
def test_kayenta_is_followed_as_if_it_was_asked_of_each_rollout_at_each_minute(what: str) -> None:
    world = worlds()[what]
    followed, rollouts = Kayenta(12), 12
    alarming, so_far = np.zeros(rollouts, np.bool_), []
    for canary, baseline in islice(panes(world, rollouts, np.random.default_rng(3)), 40):
        so_far.append(np.stack([points(canary), points(baseline)], axis=1))
        both = np.stack(so_far, axis=-1)
        if len(so_far) >= LEAST_MINUTES:
            for metric, rollout in np.ndindex(both.shape[0], rollouts):
                said = classify(both[metric, 0, rollout], both[metric, 1, rollout], RULES).classification
                alarming[rollout] |= said is Class.HIGH
        np.testing.assert_array_equal(followed.look(canary, baseline), alarming)


def some_results() -> list[tuple[Row, Found]]:
    world = ALL["nulls"]()[0].world
    minutes = [np.array(x) for x in ([NEVER, 4, 6], [1, 1, 1], [9, 9, NEVER], [NEVER] * 3, [7] * 3)]
    return [(Row("no harm", "some", world, at_most=0.05), Found(*minutes))]


def test_the_table_says_what_was_found_and_missed() -> None:
    with (console := Console(width=200)).capture() as capture:
        console.print(table(some_results(), markdown=True))
    line = capture.get().strip().splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("some", "66.7 %", "5", "100.0 %", "100.0 %", "1", "66.7 %", "9", "0.0 %", "≤ 5 %", "no")
    ]
    assert missed(some_results()) == ["no harm: some"]


def test_rows_that_were_kept_are_not_simulated_again(tmp_path: Path) -> None:
    row, found = some_results()[0]
    Kept(tmp_path / "kept").add(row, 3, found)
    again = Kept(tmp_path / "kept")
    assert again.of(row, 4) is None
    kept = again.of(row, 3)
    assert kept is not None
    np.testing.assert_array_equal(kept.sequential, found.sequential)


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- canary-study -->\nold\n<!-- /canary-study -->\nbelow\n", encoding="utf-8")
    write_into(page, "new\n")
    assert page.read_text(encoding="utf-8") == (
        "above\n<!-- canary-study -->\nnew\n<!-- /canary-study -->\nbelow\n"
    )
