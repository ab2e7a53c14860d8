"""Stats are plain objects: filled by agents, read from a copy."""

from __future__ import annotations

import pytest
from worker_stats import full, slo

from stream.model.stats import Histogram, Readings, Stats


def test_a_bound_belongs_to_its_own_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.count, histogram.sum) == ([2, 2, 1], 5, 7.5)


@pytest.mark.parametrize("bounds", [(2.0, 1.0), (1.0, 1.0)])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        Histogram(bounds)


def test_a_snapshot_does_not_change_with_the_worker() -> None:
    stats = full()
    snapshot = stats.snapshot()
    stats.events += 1
    stats.dead_letters["not_json"] += 1
    stats.batch_seconds.observe(1)
    stats.lag["request-events", 1] = 5
    stats.readings[3] = Readings((slo("another"),))
    expected = full()
    assert snapshot.events == expected.events
    assert snapshot.dead_letters == expected.dead_letters
    assert (snapshot.batch_seconds.counts, snapshot.batch_seconds.sum) == (expected.batch_seconds.counts, 0.3)
    assert snapshot.lag == expected.lag
    assert snapshot.readings == expected.readings


def test_two_workers_share_nothing() -> None:
    one, other = Stats(), Stats()
    one.dead_letters["empty"] += 1
    one.batch_seconds.observe(1)
    assert not other.dead_letters
    assert other.batch_seconds.count == 0


def test_a_partition_that_was_given_up_leaves_nothing_behind() -> None:
    stats = full()
    stats.forget_partition(3)
    stats.forget_partition(3)
    assert not any((stats.series, stats.watermark_s, stats.readings, stats.checkpoint_at_s))
    assert stats.lag  # a partition of the input
