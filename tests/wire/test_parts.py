"""State records in parts: joined as they were split, whatever they were before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.wire import parts
from stream.wire.parts import PART_BYTES, Parts
from stream.wire.state import key

KEYS = [key("pane", 10, 0), key("shard"), key("service", "shop", "a/b"), b"x", b""]


@given(
    rounds=st.lists(
        st.dictionaries(st.sampled_from(KEYS), st.none() | st.integers(0, 40)), min_size=1, max_size=8
    )
)
def test_whatever_grows_shrinks_or_goes_is_read_as_it_was_written(
    rounds: list[dict[bytes, int | None]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", 8)
        stored: dict[bytes, bytes] = {}
        expected: dict[bytes, bytes] = {}
        owner = Parts()
        for number, sizes in enumerate(rounds):
            values = {k: None if size is None else bytes([number]) * size for k, size in sizes.items()}
            for name, value in owner.split(values):
                if value is None:
                    stored.pop(name, None)
                else:
                    assert len(value) <= 8 + 16
                    stored[name] = value
            for name, value in values.items():
                if value is None:
                    expected.pop(name, None)
                else:
                    expected[name] = value
            if number % 2:
                owner = Parts()
                assert owner.join(stored) == expected
            assert Parts().join(stored) == expected


def test_records_that_are_small_enough_are_written_as_ever() -> None:
    value = bytes(PART_BYTES)
    assert list(Parts().split({b"a": value, b"b": None})) == [(b"a", value), (b"b", None)]


def test_a_part_and_its_key_fit_a_kafka_record() -> None:
    written = dict(Parts().split({b"k" * 2_000: bytes(5 * PART_BYTES + 1)}))
    assert [len(name) + len(value or b"") < 980_000 for name, value in written.items()] == [True] * 7


def test_a_part_that_is_missing_is_told() -> None:
    written = {name: value for name, value in Parts().split({b"k": bytes(3 * PART_BYTES)}) if value}
    for gone in written:
        with pytest.raises(ValueError, match="parts"):
            Parts().join({name: value for name, value in written.items() if name != gone})
    with pytest.raises(ValueError, match="parts"):
        Parts().join({**written, b"k": b"v"})
    with pytest.raises(ValueError, match="not a part"):
        Parts().join(dict.fromkeys(written, b"?"))
