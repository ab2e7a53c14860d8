"""What a set of digests keeps exactly, and what it may be given."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.sketch import DigestSet, from_bytes, to_bytes

KEYED = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, 7.5]), st.floats(0, 1e9)),
        st.sampled_from([1.0, 2.5, 10.0]),
    ),
    min_size=1,
    max_size=300,
)
Rows = list[tuple[int, float, float]]


def build(rows: Rows) -> DigestSet:
    keys, values, weights = zip(*rows, strict=True)
    return DigestSet.from_values(np.array(keys), np.array(values), np.array(weights))


def columns(digests: DigestSet) -> list[bytes]:
    return [getattr(digests, name).tobytes() for name in DigestSet.__slots__]  # type: ignore[attr-defined]


@given(KEYED, st.randoms())
def test_the_order_of_values_does_not_matter(rows: Rows, random: object) -> None:
    other = list(rows)
    random.shuffle(other)  # type: ignore[attr-defined]
    one, two = build(rows), build(other)
    assert columns(one)[:2] == columns(two)[:2]
    np.testing.assert_allclose(one.means, two.means, rtol=1e-12)
    np.testing.assert_array_equal(one.offsets, two.offsets)


@given(st.lists(KEYED, min_size=1, max_size=6), st.randoms())
def test_the_order_of_merging_does_not_matter(parts: list[Rows], random: object) -> None:
    sets = [build(rows) for rows in parts]
    one = DigestSet.merge(sets)
    random.shuffle(sets)  # type: ignore[attr-defined]
    assert columns(one) == columns(DigestSet.merge(sets))


@given(st.lists(KEYED, min_size=1, max_size=6))
def test_counts_weights_and_extremes_are_exact(parts: list[Rows]) -> None:
    merged = DigestSet.merge([build(rows) for rows in parts])
    rows = [row for part in parts for row in part]
    assert merged.keys.tolist() == sorted({key for key, _, _ in rows})
    for i, key in enumerate(merged.keys.tolist()):
        mine = [(value, weight) for k, value, weight in rows if k == key]
        assert merged.count[i] == len(mine)
        assert merged.weight[i] == pytest.approx(sum(weight for _, weight in mine))
        assert merged.low[i] == min(value for value, _ in mine)
        assert merged.high[i] == max(value for value, _ in mine)
        total = sum(value * weight for value, weight in mine)
        assert merged.averages()[i] == pytest.approx(total / sum(w for _, w in mine), rel=1e-9, abs=1e-300)


def test_values_around_the_largest_number_there_is_have_a_mean_and_quantiles() -> None:
    """Their sum has none. No warning either: pytest would fail."""
    largest = float(np.finfo(np.float64).max)
    rows = [(0, largest / 400 * share, weight) for share in range(1, 401) for weight in (1.0, 1e6)]
    merged = DigestSet.merge([build(rows), build([(key, value / 2, weight) for key, value, weight in rows])])
    assert 0 < merged.averages()[0] <= largest
    found = merged.quantiles([0.5, 0.999])[0]
    assert largest / 4 < found[0] < found[1] <= largest


@given(KEYED)
def test_quantiles_ascend_and_stay_within_the_extremes(rows: Rows) -> None:
    digests = build(rows)
    quantiles = digests.quantiles(np.linspace(0, 1, 41).tolist())
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles >= digests.low[:, None]).all()
    assert (quantiles <= digests.high[:, None]).all()


def test_few_values_are_kept_and_read_as_hazen_does() -> None:
    values = np.array([5.0, 1.0, 9.0, 3.0, 7.0])
    digests = DigestSet.from_values(np.zeros(5, np.int64), values)
    qs = [0.1, 0.3, 0.5, 0.62, 0.9]
    np.testing.assert_allclose(digests.quantiles(qs)[0], np.quantile(values, qs, method="hazen"))


def test_an_atom_is_a_step_not_a_slope() -> None:
    values = np.concatenate([np.full(600, 10.0), np.linspace(20, 30, 400)])
    digests = DigestSet.from_values(np.zeros(1000, np.int64), values)
    assert digests.quantiles([0.01, 0.3, 0.59])[0].tolist() == [10.0, 10.0, 10.0]
    assert digests.quantiles([0.61])[0, 0] >= 20.0


@given(KEYED)
def test_bytes_bring_everything_back(rows: Rows) -> None:
    digests = build(rows)
    back = from_bytes(to_bytes(digests))
    assert columns(back) == columns(digests)


@given(KEYED, st.integers(0, 10**6), st.integers(0, 255))
def test_spoilt_bytes_are_refused_or_read_but_never_crash(rows: Rows, place: int, byte: int) -> None:
    data = bytearray(to_bytes(build(rows)))
    data[place % len(data)] = byte
    with contextlib.suppress(ValueError):
        from_bytes(bytes(data))
    for cut in (0, 5, len(data) - 1):
        with pytest.raises(ValueError, match=r"digests|bytes"):
            from_bytes(bytes(data[:cut]))


@given(KEYED)
def test_keys_that_become_one_merge(rows: Rows) -> None:
    digests = build(rows)
    whole = digests.remap(np.zeros(len(digests), np.int64))
    assert whole.keys.tolist() == [0]
    assert whole.count[0] == len(rows)
    assert whole.low[0] == min(value for _, value, _ in rows)


@given(KEYED)
def test_a_selection_holds_the_chosen_keys_untouched(rows: Rows) -> None:
    digests = build(rows)
    odd = digests.select(digests.keys % 2 == 1)
    assert odd.keys.tolist() == [k for k in digests.keys.tolist() if k % 2]
    np.testing.assert_array_equal(odd.quantiles([0.5]), digests.quantiles([0.5])[digests.keys % 2 == 1])


def test_the_empty_set_is_a_set() -> None:
    empty = DigestSet.merge([])
    assert len(empty) == 0
    assert len(from_bytes(to_bytes(empty))) == 0
    assert empty.quantiles([0.5]).shape == (0, 1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_what_is_merged_in_shares_is_what_is_merged_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(int(rng.integers(2, 6))):
        keys = rng.integers(0, 40, size=int(rng.integers(0, 3_000)))
        sets.append(DigestSet.from_values(keys, np.round(rng.lognormal(3, 1, len(keys)), 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.sketch.digest_set._AT_ONCE", 2**60)
        at_once = DigestSet.merge(sets)
        patch.setattr("stream.sketch.digest_set._AT_ONCE", int(rng.integers(1, 500)))
        in_shares = DigestSet.merge(sets)
    for name in ("keys", "count", "weight", "total", "low", "high", "offsets", "means", "weights"):
        np.testing.assert_array_equal(getattr(in_shares, name), getattr(at_once, name))
