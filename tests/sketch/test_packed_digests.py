"""Digests at rest: fewer bytes, and the same to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sketch import DigestSet, PackedDigests
from stream.sketch.narrow import Column

NUMBERS = st.lists(
    st.one_of(
        st.integers(0, 300).map(float),
        st.integers(0, 2**33).map(float),
        st.integers(0, 10**10).map(lambda n: n / 10),
        st.integers(0, 10**10).map(lambda n: n / 1000),
        st.floats(0, 1e308),
        st.floats(0, 2.0**100, width=32),
    ).map(lambda x: x + 0.0),
    max_size=80,
)


@given(NUMBERS, st.data())
def test_a_column_brings_every_bit_back(numbers: list[float], data: st.DataObject) -> None:
    whole = np.array(numbers, np.float64)
    column = Column.of(whole)
    first = data.draw(st.integers(0, len(numbers)))
    last = data.draw(st.integers(first, len(numbers)))
    places = np.array(
        sorted(data.draw(st.sets(st.integers(0, len(numbers) - 1)))) if numbers else [], np.int64
    )
    assert column.numbers(first, last).tobytes() == whole[first:last].tobytes()
    assert column.at(places).tobytes() == whole[places].tobytes()


@pytest.mark.parametrize(
    ("what", "numbers", "bytes_each"),
    [
        ("small weights", np.arange(1.0, 201), 1),
        ("whole milliseconds", np.arange(1000.0, 1200), 2),
        ("tenths", np.arange(1, 201) / 10, 2),
        ("thousandths", np.arange(1, 201) / 1000, 4),
        ("float32", np.sqrt(np.arange(2, 202, dtype=np.float32)).astype(float), 4),
        ("thousandths among float32", np.tile([0.001, 12.345, 0.1 + 2**-30, 1 / 1024], 50), 8),
        ("anything", np.sqrt(np.arange(2.0, 202)), 8),
    ],
)
def test_common_columns_take_few_bytes(what: str, numbers: np.ndarray, bytes_each: int) -> None:
    assert Column.of(numbers).nbytes <= bytes_each * len(numbers), what


def test_a_few_odd_numbers_do_not_widen_a_column() -> None:
    numbers = np.arange(1.0, 1001)
    numbers[[3, 500, 999]] = [np.pi, 1e9, 65_536.0]
    assert Column.of(numbers).nbytes < 2 * 1000 + 50


def build(rng: np.random.Generator, values: int) -> DigestSet:
    keys = rng.integers(0, 40, size=values)
    return DigestSet.from_values(keys, np.round(rng.lognormal(3, 1, values), int(rng.integers(0, 5))))


def assert_same(one: DigestSet, two: DigestSet) -> None:
    for name in ("keys", "count", "weight", "total", "low", "high", "offsets", "means", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), strict=True)


@given(st.integers(0, 2**32 - 1))
def test_what_is_taken_from_packed_digests_is_what_was_packed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    digests = build(rng, int(rng.integers(0, 9_000)))
    packed = PackedDigests.pack(digests)
    assert_same(packed.unpacked(), digests)
    low, high = sorted(rng.integers(-1, 45, 2).tolist())
    assert_same(packed.between(low, high), digests.between(low, high))
    wanted = np.flatnonzero(rng.random(50) < 0.5).astype(np.int64)
    assert_same(packed.of(wanted), digests.of(wanted))
    assert digests.of(wanted).keys.tolist() == [k for k in digests.keys.tolist() if k in set(wanted.tolist())]
    assert (packed.centroids, packed.sizes.tolist()) == (digests.centroids, digests.sizes.tolist())


def test_repeated_values_that_are_no_float32_keep_their_rank() -> None:
    """A third of all values is one decimal, few in each minute: rounded, its whole third would be off."""
    value = 50.1
    minutes = [
        PackedDigests.pack(
            DigestSet.from_values(np.zeros(3, np.int64), np.array([10.1 + m, value, 90.1 + m]))
        )
        for m in range(30)
    ]
    assert DigestSet.merge(minutes).quantiles([0.4, 0.5, 0.6])[0].tolist() == [value] * 3


def test_values_within_one_step_of_float32_stay_apart() -> None:
    values = 1e6 + np.arange(100_000) / 100_000
    digests = PackedDigests.pack(DigestSet.from_values(np.zeros(len(values), np.int64), values)).unpacked()
    np.testing.assert_allclose(digests.quantiles([0.5, 0.99])[0], [1e6 + 0.5, 1e6 + 0.99], rtol=0, atol=2e-4)


@pytest.mark.parametrize(("decimals", "share"), [(0, 0.3), (1, 0.3), (3, 0.35), (12, 0.6)])
def test_a_minute_at_rest_takes_a_third_of_its_bytes(decimals: int, share: float) -> None:
    """Of 16 a centroid; where values are no short decimals, what weights save is all there is."""
    rng = np.random.default_rng(1)
    keys = np.repeat(np.arange(100), 60)
    digests = DigestSet.from_values(keys, np.round(rng.lognormal(3.5, 0.6, len(keys)), decimals))
    assert PackedDigests.pack(digests).nbytes < share * 16 * digests.centroids
