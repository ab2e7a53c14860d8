"""The watchdog barks at work that lies undone, and at nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from faust.types import TP

from stream.agents.watchdog import STALL_S, Turns, Watchdog, Work
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


def test_time_that_the_loop_did_not_have_does_not_count() -> None:
    dog = Watchdog(stall_s=30)
    dog.check({"a": Work(5, 9)}, 0)
    for second in range(1, 300):
        dog.check({"a": Work(5, 9)}, second, late_s=0.3)
    for second in range(300, 329):
        dog.check({"a": Work(5, 9)}, second, late_s=0.1)
    with pytest.raises(StalledError, match="has not moved from 5 for 30 s"):
        dog.check({"a": Work(5, 9)}, 329, late_s=0.1)


PLACES = [TP("request-events", number) for number in range(200)]


class Agent:
    """Serves its partitions one after the other, each for a while; by a clock of its own."""

    def __init__(self, each_s: float) -> None:
        self.now_s = 0.0
        self.each_s = each_s
        self.turns = Turns(lambda: self.now_s)
        self.done = dict.fromkeys(PLACES, 0)
        self.available = dict.fromkeys(PLACES, 1_000)

    def work(self) -> dict[str, Work]:
        return {
            str(tp.partition): Work(done, self.available[tp], others_s=self.turns.others_s(tp, done))
            for tp, done in self.done.items()
        }

    def life(self, dog: Watchdog, seconds: float) -> Iterator[float]:
        """Yields after each of the watchdog's looks, one a second."""
        end_s, next_s = self.now_s + seconds, self.now_s
        while True:
            busy = False
            for tp in PLACES:
                if self.done[tp] >= self.available[tp]:
                    continue
                busy = True
                with self.turns.turn(tp):
                    turn_ends_s = self.now_s + self.each_s
                    while self.now_s < turn_ends_s:
                        step_s = min(turn_ends_s, next_s) - self.now_s
                        self.now_s += max(step_s, 0.001)
                        if self.now_s >= next_s:
                            dog.check(self.work(), self.now_s)
                            next_s += 1
                            yield self.now_s
                    self.done[tp] += 1
                if self.now_s >= end_s:
                    return
            if not busy:
                self.now_s = next_s
                dog.check(self.work(), self.now_s)
                next_s += 1
                yield self.now_s
                if self.now_s >= end_s:
                    return


def test_partitions_that_wait_while_others_are_served_are_no_stall() -> None:
    """200 of them, half a second each: every one waits for 100 s."""
    dog, agent = Watchdog(), Agent(each_s=0.5)
    longest_s = 0.0
    for now_s in agent.life(dog, 600):
        longest_s = max([longest_s, *dog.waiting(agent.work(), now_s).values()])
    assert 99 <= longest_s <= 102


def test_a_turn_that_takes_minutes_and_moves_lets_the_others_wait() -> None:
    clock = [0.0]
    dog, turns = Watchdog(), Turns(lambda: clock[0])
    long, other = PLACES[:2]
    with turns.turn(long):
        for second in range(300):
            clock[0] = second
            work = {"long": Work(0, 9, steps=second, others_s=turns.others_s(long, second))}
            work["other"] = Work(0, 9, others_s=turns.others_s(other, 0))
            dog.check(work, second)


def barks(dog: Watchdog, work: Callable[[], dict[str, Work]], clock: list[float]) -> tuple[int, str]:
    """In which second, and what it says."""
    for second in range(300):
        clock[0] = second
        try:
            dog.check(work(), second)
        except StalledError as error:
            return second, str(error)
    raise AssertionError("it did not bark")


def test_an_agent_that_hangs_in_one_turn_is_a_stall_of_that_partition() -> None:
    clock = [0.0]
    turns = Turns(lambda: clock[0])
    hung, other = PLACES[:2]

    def work() -> dict[str, Work]:
        waits = {"other": Work(0, 9, others_s=turns.others_s(other, 0))}
        return waits | {"hung": Work(0, 9, others_s=turns.others_s(hung, 0))}

    with turns.turn(hung):
        assert barks(Watchdog(), work, clock) == (
            *(30, "hung has not moved from 0 for 30 s, with 9 records to read"),
        )


def test_an_agent_that_hangs_in_a_turn_that_left_nothing_to_do_is_noticed_by_the_others() -> None:
    """Its partition was counted as done before it came to its end."""
    clock = [0.0]
    turns = Turns(lambda: clock[0])
    hung, other = PLACES[:2]

    def work() -> dict[str, Work]:
        waits = {"other": Work(0, 9, others_s=turns.others_s(other, 0))}
        return waits | {"hung": Work(9, 9, others_s=turns.others_s(hung, 9))}

    with turns.turn(hung):
        second, said = barks(Watchdog(), work, clock)
    assert second <= 2 * STALL_S + 1
    assert said.startswith("other has not moved from 0")


def test_a_partition_that_is_passed_over_is_a_stall_when_there_was_time() -> None:
    """A tenth of the time goes to another one: after 34 s half a minute was to spare."""
    clock = [0.0]
    turns = Turns(lambda: clock[0])
    passed_over, busy = PLACES[:2]

    def work() -> dict[str, Work]:
        with turns.turn(busy):
            clock[0] += 0.1
        return {"a": Work(0, 5, others_s=turns.others_s(passed_over, 0))}

    second, said = barks(Watchdog(), work, clock)
    assert 33 <= second <= 35
    assert said == "a has not moved from 0 for 31 s, with 5 records to read"


def test_what_a_partition_took_itself_was_not_taken_by_others() -> None:
    clock = [0.0]
    turns = Turns(lambda: clock[0])
    one, other = PLACES[:2]
    for tp, seconds in ((one, 5.0), (other, 3.0), (one, 2.0)):
        with turns.turn(tp):
            clock[0] += seconds
    assert (turns.others_s(one, 0), turns.others_s(other, 0)) == (3.0, 7.0)
    with turns.turn(one):
        clock[0] += 1.0
        assert (turns.others_s(one, 0), turns.others_s(other, 0)) == (3.0, 8.0)


def test_who_waits_although_there_was_time_is_not_told_as_overload() -> None:
    dog = Watchdog()
    for second in range(20):
        dog.check({"a": Work(5, 9)}, second)
        assert dog.waiting({"a": Work(5, 9)}, second) in ({}, {"a": 0})
