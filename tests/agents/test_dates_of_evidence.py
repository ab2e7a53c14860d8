"""Evidence is dated by what the broker is known to have stamped before it."""

from __future__ import annotations

from stream.agents.evidence import Stamps


def test_evidence_is_dated_by_the_newest_acknowledgement_that_had_come_by_then() -> None:
    stamps = Stamps()
    for heard_s, stamp_ms in ((10.0, 100_000), (11.0, 101_000), (12.0, 102_000)):
        stamps.add(heard_s, stamp_ms)
    assert [stamps.before(asked_s) for asked_s in (9.9, 10.0, 11.5, 99.0)] == [
        None,
        100_000,
        101_000,
        102_000,
    ]


def test_a_brokers_clock_that_is_set_back_is_believed() -> None:
    stamps = Stamps()
    stamps.add(1.0, 200_000)
    stamps.add(2.0, 190_000)
    assert stamps.before(3.0) == 190_000


def test_many_acknowledgements_do_not_crowd_out_the_older_ones() -> None:
    stamps = Stamps()
    for n in range(1_000_000):
        stamps.add(n / 100_000, n)
    assert stamps.before(0.0) == 0
    assert stamps.before(5.0) is not None
