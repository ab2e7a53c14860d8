"""The watchdog barks at work that lies undone, and at nothing else."""

from __future__ import annotations

import pytest

from stream.agents.watchdog import Watchdog, Work
from stream.errors import StalledError


def test_a_partition_with_work_that_does_not_move_is_a_stall() -> None:
    dog = Watchdog(stall_s=30)
    dog.check({"a": Work(5, 9)}, 0)
    dog.check({"a": Work(5, 9)}, 29)
    with pytest.raises(StalledError, match=r"a has not moved from 5 for 30 s, with 4 records"):
        dog.check({"a": Work(5, 9)}, 30)


def test_moving_and_having_nothing_to_do_are_no_stall() -> None:
    dog = Watchdog(stall_s=30)
    for second in range(0, 300, 10):
        dog.check({"moves": Work(second, 10_000), "done": Work(7, 7)}, second)


def test_time_without_work_does_not_count() -> None:
    dog = Watchdog(stall_s=30)
    dog.check({"a": Work(5, 5)}, 0)
    dog.check({"a": Work(5, 5)}, 100)
    dog.check({"a": Work(5, 6)}, 101)
    dog.check({"a": Work(5, 6)}, 129)


def test_a_partition_that_was_given_up_starts_anew() -> None:
    dog = Watchdog(stall_s=30)
    dog.check({"a": Work(5, 9)}, 0)
    dog.check({}, 10)
    dog.check({"a": Work(5, 9)}, 40)
