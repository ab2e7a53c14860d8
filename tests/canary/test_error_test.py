"""The error test: an e-value for all rates within the margin, whatever the split, and what it finds."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.canary.error_test import Block, ErrorEvidence, RateMargin
from stream.canary.null_line import nearest_on_line

Floats = NDArray[np.float64]
RATES = st.floats(1e-5, 0.999)
COUNTS = st.integers(0, 10_000)


def divergence(rate: float, other: Floats) -> Floats:
    return np.asarray(rate * np.log(rate / other) + (1 - rate) * np.log((1 - rate) / (1 - other)))


def block(n_c: object, bad_c: object, n_b: object, bad_b: object) -> Block:
    return Block(*(np.atleast_1d(np.asarray(x, np.float64)) for x in (n_c, bad_c, n_b, bad_b)))


def start(ratio: float = 1.0, floor: float = 0.0) -> ErrorEvidence:
    return ErrorEvidence.start(RateMargin.same(1, ratio, floor))


@given(RATES, RATES, COUNTS, COUNTS, st.floats(0.2, 5), st.sampled_from([0.0, 0.001, 0.1, -0.05]))
@settings(max_examples=200, deadline=None)
def test_the_nearest_rates_are_nearer_than_all_others_on_the_line(
    canary: float, baseline: float, n_c: int, n_b: int, ratio: float, difference: float
) -> None:
    each = [np.array([float(x)]) for x in (canary, baseline, n_c, n_b, ratio, difference)]
    _, t = nearest_on_line(*each)
    least, most = max(0.0, -difference / ratio), min(1.0, (1 - difference) / ratio)
    others = least + (most - least) * np.concatenate(
        (np.logspace(-7, -0.01, 300), np.linspace(0.001, 0.999, 300))
    )

    def far(of_t: Floats) -> Floats:
        of_c = np.clip(ratio * of_t + difference, 1e-300, 1 - 1e-16)
        of_b = np.clip(of_t, 1e-300, 1 - 1e-16)
        return n_c * divergence(canary, of_c) + n_b * divergence(baseline, of_b)

    assert least <= t[0] <= most
    assert far(t)[0] <= far(others).min() * (1 + 1e-9) + 1e-9


def expected_e(
    evidence: ErrorEvidence, n_c: int, n_b: int, true_c: float, true_b: float, worse: bool
) -> float:
    """E of the next block's factor, summed over every outcome it can have."""
    special = pytest.importorskip("scipy.stats")
    y_c, y_b = (x.ravel() for x in np.meshgrid(np.arange(n_c + 1), np.arange(n_b + 1)))
    rows = len(y_c)
    many = evidence.take(np.zeros(rows, np.int64))
    after = many.add(block(np.full(rows, n_c), y_c, np.full(rows, n_b), y_b))
    gain = (after.worse - many.worse) if worse else (after.within - many.within)
    probability = special.binom.pmf(y_c, n_c, true_c) * special.binom.pmf(y_b, n_b, true_b)
    return float((probability * np.exp(gain)).sum(axis=1).max())


MARGINS = st.sampled_from([(1.0, 0.0), (1.5, 0.0), (1.0, 0.05), (1.25, 0.02), (0.8, 0.0)])


@given(
    MARGINS,
    st.tuples(*(st.integers(1, 60) for _ in range(2)), *(st.floats(0, 1) for _ in range(2))),
    st.integers(0, 12),
    st.integers(1, 12),
    st.floats(0.01, 0.9),
    st.floats(0, 1).map(lambda part: part if part > 1e-9 else 0.0),  # scipy overflows at tinier ones
)
@settings(max_examples=150, deadline=None)
def test_of_rates_within_each_edge_no_block_is_expected_to_gain(
    margin: tuple[float, float],
    past: tuple[int, int, float, float],
    n_c: int,
    n_b: int,
    true_b: float,
    part: float,
) -> None:
    """For each edge of the margin by itself: rates on the near side of it, and on the far side."""
    seen = block(past[0], int(past[0] * past[2]), past[1], int(past[1] * past[3]))
    both = start(*margin).margin
    for (ratio, floor), counts in zip(both.edges, both.counts[:, 0], strict=True):
        if not counts:
            continue
        evidence = start(float(ratio[0]), float(floor[0])).add(seen)
        edge = float(ratio[0] * true_b + floor[0])
        assert expected_e(evidence, n_c, n_b, min(edge, 1.0) * part, true_b, worse=True) <= 1 + 1e-9
        if edge > 1:  # no rate is beyond it
            continue
        assert expected_e(evidence, n_c, n_b, edge + (1 - edge) * part, true_b, worse=False) <= 1 + 1e-9


def test_against_a_margin_of_two_edges_speaks_the_lesser() -> None:
    both, ratio, floor = (
        start(*margin).add(block(1000, 40, 1000, 10)).add(block(1000, 40, 1000, 10))
        for margin in ((1.5, 0.01), (1.5, 0.0), (1.0, 0.01))
    )
    assert both.log_e_worse()[0] == min(ratio.log_e_worse()[0], floor.log_e_worse()[0]) > 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(1.0, 0.0), (1.5, 0.0), (1.0, 0.02), (1.25, 0.001), (2.0, 0.1)]),
            st.lists(
                st.tuples(*(st.integers(0, 300) for _ in range(2)), *(st.floats(0, 1) for _ in range(2))),
                min_size=3,
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_rows_with_other_margins_side_by_side_say_what_each_does_alone(
    rows: list[tuple[object, ...]],
) -> None:
    """Those of many analyses are judged in one call."""
    alone = []
    for margin, past in rows:
        evidence = start(*margin)  # type: ignore[misc]
        for n_c, n_b, c, b in past:  # type: ignore[attr-defined]
            evidence = evidence.add(block(n_c, int(n_c * c), n_b, int(n_b * b)))
        alone.append(evidence)
    together = ErrorEvidence.concat([start(*margin) for margin, _ in rows])  # type: ignore[misc]
    for i in range(3):
        counts = np.array([past[i] for _, past in rows])  # type: ignore[index]
        n_c, n_b = counts[:, 0], counts[:, 1]
        together = together.add(block(n_c, np.floor(n_c * counts[:, 2]), n_b, np.floor(n_b * counts[:, 3])))
    expected = ErrorEvidence.concat(alone)
    np.testing.assert_allclose(together.columns(), expected.columns(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(together.log_e_worse(), [one.log_e_worse()[0] for one in alone], atol=1e-9)
    np.testing.assert_allclose(together.log_e_within(), [one.log_e_within()[0] for one in alone], atol=1e-9)
    last = together.take(np.array([len(rows) - 1]))
    np.testing.assert_array_equal(last.columns()[:, 0], together.columns()[:, -1])
    assert last.margin.ratio[0] == together.margin.ratio[-1]


def test_the_first_block_says_nothing() -> None:
    first = start().add(block(1000, 900, 1000, 0))
    assert first.log_e_worse()[0] == 0
    assert first.add(block(1000, 900, 1000, 0)).log_e_worse()[0] > 100


def test_a_baseline_without_errors_is_compared_all_the_same() -> None:
    evidence = start(1.25, 0.001)
    for _ in range(5):
        evidence = evidence.add(block(1000, 20, 19000, 0))
    assert evidence.log_e_worse()[0] > log(1000)


def test_an_arm_without_requests_says_nothing() -> None:
    evidence = start(1.25, 0.001).add(block(0, 0, 500, 7)).add(block(0, 0, 0, 0))
    more = evidence.add(block(0, 0, 500, 90)).add(block(0, 0, 500, 0))
    assert more.log_e_worse()[0] <= 1e-9
    assert np.isfinite(more.columns()).all()


@pytest.mark.parametrize("floor", [1.0, 5.0])
def test_a_floor_that_no_rates_can_be_beyond_is_kept_by_all(floor: float) -> None:
    """100 percentage points. No warning either: pytest would fail."""
    evidence = start(floor=floor)
    for _ in range(20):
        evidence = evidence.add(block(100.0, 50.0, 100.0, 0.0))
    assert evidence.log_e_worse()[0] <= 0
    assert evidence.log_e_within()[0] > 3


def test_rates_of_one_lie_on_the_end_of_a_line_with_a_difference() -> None:
    """As rates of 1 in both arms do."""
    evidence = start(1.0, 0.1)
    for _ in range(200):
        evidence = evidence.add(block(1e9, 1e9, 1e9, 1e9))
    assert evidence.log_e_worse()[0] <= 0 < evidence.log_e_within()[0]


def test_rows_without_any_request_say_nothing_and_warn_of_nothing() -> None:
    for evidence in (start(), start(1.25, 0.02)):
        nothing = evidence.add(block(0.0, 0.0, 0.0, 0.0)).all_at_once(np.array([True]))
        assert (nothing.log_e_worse()[0], nothing.log_e_within()[0]) == (0.0, 0.0)


def test_columns_bring_the_state_back_and_spoilt_ones_are_refused() -> None:
    evidence = ErrorEvidence.start(RateMargin.same(2, 1.5, 0.01)).add(
        block([10, 1000], [1, 40], [10, 1000], [0, 10])
    )
    again = ErrorEvidence.from_columns(evidence.columns(), evidence.margin)
    np.testing.assert_array_equal(again.columns(), evidence.columns())
    with pytest.raises(ValueError, match="2 margins"):
        ErrorEvidence.from_columns(evidence.columns()[:-1], evidence.margin)
    spoilt = evidence.columns()
    spoilt[1, 0] = 11
    with pytest.raises(ValueError, match="more errors"):
        ErrorEvidence.from_columns(spoilt, evidence.margin)


def hour(true_c: Floats, true_b: Floats, split: Floats, rollouts: int = 1000) -> NDArray[np.bool_]:
    """Which rollouts are called worse within an hour at 5 %, margin 0; rates and canary's share by minute."""
    rng = np.random.default_rng(7)
    evidence = ErrorEvidence.start(RateMargin.same(rollouts))
    found = np.zeros(rollouts, np.bool_)
    for c, b, share in zip(true_c, true_b, split, strict=True):
        n_c = rng.binomial(2000, share, rollouts)
        y_c, y_b = rng.binomial(n_c, c), rng.binomial(2000 - n_c, b)
        evidence = evidence.add(block(n_c, y_c, 2000 - n_c, y_b))
        found |= evidence.log_e_worse() >= log(20)
    return found


def test_rates_and_splits_that_change_for_both_raise_no_false_alarm() -> None:
    minutes = np.arange(60)
    common = 0.01 + 0.2 * (minutes % 17 == 3)
    split = np.array([0.05, 0.25, 0.5])[minutes // 20]
    assert np.mean(hour(common, common, split)) <= 0.05


def test_twice_the_errors_are_found() -> None:
    each = np.full(60, 0.01)
    assert np.mean(hour(2 * each, each, np.full(60, 0.05))) >= 0.95
