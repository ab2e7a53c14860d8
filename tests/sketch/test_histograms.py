"""Log histograms: where a value belongs, that merging is exact adding, and what their bytes may be."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.sketch import HistogramSet, LogHistogram, histograms_from_bytes, histograms_to_bytes
from stream.sketch.buckets import (
    HIGHEST,
    LOWEST,
    PER_OCTAVE,
    ZERO,
    buckets_of,
    ratio_of_shift,
    shift_of_ratio,
    upper_edges,
)
from stream.sketch.histogram import ONE
from stream.sketch.whole import times

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 1024.0, 5e-324, 1e300]), st.floats(0, 1e9), st.integers(0, 3000)
)
WEIGHTS = st.sampled_from([ONE, 3_333_333, 100 * ONE, 10**12])
Rows = list[tuple[int, float, int]]
KEYED = st.lists(st.tuples(st.integers(0, 5), VALUES.map(float), WEIGHTS), min_size=1, max_size=200)


def build(rows: Rows) -> HistogramSet:
    keys, values, weights = zip(*rows, strict=True)
    return HistogramSet.from_values(
        np.array(keys, np.int64), np.array(values, np.float64), np.array(weights, np.int64)
    )


def columns(histograms: HistogramSet) -> list[tuple[str, list[int]]]:
    held = [getattr(histograms, name) for name in HistogramSet.__slots__]  # type: ignore[attr-defined]
    return [(str(column.dtype), column.tolist()) for column in held]


@given(st.floats(2.0**-20, 2.0**39, exclude_min=True))
def test_a_bucket_covers_what_lies_between_its_edges_exactly(value: float) -> None:
    bucket = int(buckets_of(np.array([value]))[0])
    exact = Fraction(value) ** PER_OCTAVE
    assert Fraction(2) ** (bucket - 1) < exact <= Fraction(2) ** bucket


def test_edges_belong_to_the_bucket_below_them() -> None:
    buckets = np.arange(LOWEST, HIGHEST)
    edges = upper_edges(buckets)
    np.testing.assert_array_equal(buckets_of(edges), buckets)
    np.testing.assert_array_equal(buckets_of(np.nextafter(edges, np.inf)), buckets + 1)


def test_zero_the_tiny_and_the_huge_have_their_buckets() -> None:
    assert buckets_of(np.array([0.0, -0.0, 5e-324, 1e-300, 1e18, 1.7e308])).tolist() == [
        *(ZERO, ZERO, LOWEST, LOWEST, HIGHEST, HIGHEST)
    ]
    assert upper_edges(np.array([ZERO])).tolist() == [0.0]


def test_a_margin_becomes_the_fewest_buckets_that_hold_it() -> None:
    assert shift_of_ratio(1.0) == 0
    assert shift_of_ratio(2.0) == PER_OCTAVE
    assert [shift_of_ratio(float(ratio_of_shift(shift))) for shift in range(-99, 99)] == list(range(-99, 99))
    assert ratio_of_shift(shift_of_ratio(1.1)) >= 1.1 > ratio_of_shift(shift_of_ratio(1.1) - 1)


@given(KEYED)
def test_weights_counts_and_squares_are_those_of_the_values(rows: Rows) -> None:
    histograms = build(rows)
    assert histograms.keys.tolist() == sorted({key for key, _, _ in rows})
    for i, key in enumerate(histograms.keys.tolist()):
        mine = [(int(buckets_of(np.array([v]))[0]), w) for k, v, w in rows if k == key]
        expected = {bucket: sum(w for b, w in mine if b == bucket) for bucket, _ in mine}
        span = slice(*histograms.offsets[i : i + 2])
        found = zip(histograms.buckets[span].tolist(), histograms.weights[span].tolist(), strict=True)
        assert list(found) == sorted(expected.items())
        assert histograms.count[i] == len(mine)
        total, squares = sum(w for _, w in mine), sum(w * w for _, w in mine)
        assert histograms.totals()[i] == total
        assert histograms.effective_sizes()[i] == pytest.approx(total * total / squares, rel=0.03)


@given(st.lists(KEYED, min_size=1, max_size=6), st.randoms())
def test_however_values_are_cut_and_ordered_the_histograms_are_the_same(
    parts: list[Rows], random: object
) -> None:
    whole = [row for rows in parts for row in rows]
    one = HistogramSet.merge([build(rows) for rows in parts])
    random.shuffle(whole)  # type: ignore[attr-defined]
    assert columns(one) == columns(build(whole))


def test_equal_weights_take_the_short_way_to_the_same_histograms() -> None:
    rng = np.random.default_rng(1)
    keys, values = rng.integers(0, 9, 5000), rng.lognormal(3, 1, 5000)
    plain = HistogramSet.from_values(keys, values)
    halves = [HistogramSet.from_values(keys[i::2], values[i::2], np.full(2500, ONE)) for i in (0, 1)]
    assert columns(HistogramSet.merge(halves)) == columns(plain)


def heavy(exponents: Sequence[int]) -> list[HistogramSet]:
    """One for each, with so many times 2 to its power as many requests that stand for a million each."""
    million = 10**6 * ONE
    made = []
    for i, exponent in enumerate(exponents):
        n = 1 << exponent
        one = HistogramSet.from_values(
            np.array([1, 1, 7]), np.array([3.0, 40.0 + i, 9.0]), np.full(3, million)
        )
        made.append(
            HistogramSet(
                one.keys,
                one.count * n,
                times(one.squares, n),
                one.offsets,
                one.buckets,
                times(one.weights, n),
            )
        )
    return made


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.randoms())
def test_sums_beyond_64_bits_are_exact_and_can_be_taken_back(exponents: list[int], random: object) -> None:
    parts = heavy(exponents)
    total = sum(1 << exponent for exponent in exponents)
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    merged = HistogramSet.merge(shuffled)
    assert merged.count.tolist() == [2 * total, total]
    assert merged.totals().tolist() == [2 * total * 10**12, total * 10**12]
    assert merged.squares.tolist() == [2 * total * 16 * 10**12, total * 16 * 10**12]
    assert columns(merged) == columns(HistogramSet.merge(parts))
    assert columns(histograms_from_bytes(histograms_to_bytes(merged))) == columns(merged)
    assert merged.effective_sizes().tolist() == pytest.approx([2 * total, total], rel=1e-12)
    assert merged.quantiles(0.25)[0] == pytest.approx(3.0, rel=0.006)
    left = merged.minus(parts[0])
    assert columns(left) == columns(HistogramSet.merge(parts[1:]))
    assert left.squares.dtype == left.weights.dtype == np.int64 or total >= 1 << 17


def test_a_light_histogram_beside_a_heavy_one_keeps_its_quantiles() -> None:
    light = HistogramSet.from_values(np.full(4, 9), np.array([1.0, 2.0, 3.0, 4.0]))
    merged = HistogramSet.merge([*heavy([40, 45]), light])
    for p in (0.25, 0.5, 0.75, 1.0):
        assert merged.quantiles(p)[-1] == light.quantiles(p)[0]
    assert merged.totals()[-1] == 4 * ONE


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0.001, 1))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(values: list[float], p: float) -> None:
    histogram = LogHistogram.empty().add(np.array(values))
    exact = np.quantile(values, p, method="inverted_cdf")
    found = histogram.alone.quantile_buckets(p)[0]
    assert found == buckets_of(np.array([exact]))[0]
    assert histogram.quantile(p) == pytest.approx(exact, rel=0.006, abs=1e-6)


def test_of_nothing_there_is_no_quantile() -> None:
    assert LogHistogram.empty().quantile(0.5) is None
    assert LogHistogram.empty().effective_size == 0
    assert HistogramSet.empty().quantiles(0.5).tolist() == []
    aligned = HistogramSet.empty().aligned(np.array([3, 5]))
    assert aligned.quantiles(0.5).tolist() == [0, 0]


@given(KEYED, st.sets(st.integers(0, 7)))
def test_sets_can_be_asked_for_keys_and_lined_up_with_others(rows: Rows, wanted: set[int]) -> None:
    histograms = build(rows)
    keys = np.array(sorted(wanted), np.int64)
    there = [key for key in keys.tolist() if key in histograms.keys]
    assert histograms.of(keys).keys.tolist() == there
    aligned = histograms.aligned(keys)
    assert aligned.keys.tolist() == keys.tolist()
    assert aligned.select(aligned.count > 0).totals().tolist() == histograms.of(keys).totals().tolist()
    for key in there:
        assert columns(histograms.one(key).alone)[1:] == columns(histograms.of(np.array([key])))[1:]


@given(KEYED, st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_under_new_keys_those_that_share_one_are_added_up(rows: Rows, renamed: list[int]) -> None:
    histograms = build(rows)
    moved = histograms.remap(np.array([renamed[key] for key in histograms.keys.tolist()], np.int64))
    assert columns(moved) == columns(build([(renamed[key], v, w) for key, v, w in rows]))


@given(st.lists(KEYED, max_size=3), st.lists(st.integers(0, 1), min_size=9, max_size=9))
def test_empty_histograms_change_no_sum(parts: list[Rows], renamed: list[int]) -> None:
    """Lined up with others, most keys of a set have nothing: so it is with endpoints without latencies."""
    whole = HistogramSet.merge([build(rows) for rows in parts])
    gaps = [build(rows).aligned(np.arange(9)) for rows in parts]
    merged = HistogramSet.merge([*gaps, HistogramSet.empty(), HistogramSet.empty().aligned(np.arange(9))])
    assert columns(merged.select(merged.count > 0)) == columns(whole)
    left = merged.minus(gaps[0]) if gaps else merged
    rest = HistogramSet.merge([build(rows) for rows in parts[1:]])
    assert columns(left.select(left.count > 0))[0] == columns(rest)[0]
    moved = merged.remap(np.array(renamed, np.int64))
    assert moved.keys.tolist() == sorted(set(renamed))
    some = moved.select(moved.count > 0)
    mine = np.array([renamed[key] for key in whole.keys.tolist()], np.int64)
    assert columns(some) == columns(whole.remap(mine))
    assert moved.totals().sum() == whole.totals().sum()
    assert moved.quantile_buckets(0.5)[moved.count == 0].tolist() == [ZERO] * int((moved.count == 0).sum())


def test_sets_of_nothing_can_be_merged_and_renamed() -> None:
    nothing = HistogramSet.empty().aligned(np.array([2, 5]))
    for one in (HistogramSet.merge([nothing, nothing]), nothing.remap(np.array([2, 5]))):
        assert (one.keys.tolist(), one.sizes.tolist()) == ([2, 5], [0, 0])
    assert nothing.remap(np.zeros(2, np.int64)).sizes.tolist() == [0]
    assert HistogramSet.empty().remap(np.empty(0, np.int64)).keys.tolist() == []
    assert nothing.minus(HistogramSet.empty()).sizes.tolist() == [0, 0]


@given(KEYED)
def test_bytes_bring_everything_back(rows: Rows) -> None:
    histograms = build(rows)
    assert columns(histograms_from_bytes(histograms_to_bytes(histograms))) == columns(histograms)
    gaps = histograms.aligned(np.arange(7))
    assert columns(histograms_from_bytes(histograms_to_bytes(gaps))) == columns(gaps)


def test_bytes_of_unsampled_requests_are_few() -> None:
    values = np.random.default_rng(1).lognormal(3, 0.5, 10_000)
    histogram = LogHistogram.empty().add(values).alone
    assert len(histograms_to_bytes(histogram)) < 4 * len(histogram.buckets)


@given(KEYED, st.data())
@settings(max_examples=200)
def test_spoilt_bytes_are_refused_or_are_sound(rows: Rows, data: st.DataObject) -> None:
    good = bytearray(histograms_to_bytes(build(rows)))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    for spoilt in (bytes(good), bytes(good[:cut])):
        with contextlib.suppress(ValueError):
            assert (np.diff(histograms_from_bytes(spoilt).keys) > 0).all()
