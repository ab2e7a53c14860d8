"""A worker that has more to do than it can says so, once a minute, and how far behind it is."""

from __future__ import annotations

from stream.agents.overload import TELL_EVERY_S, Overload


def test_short_waits_are_nothing_to_tell() -> None:
    overload = Overload()
    assert overload.look({"request-events[2]": 9.9}, 500, 0) is None
    assert (overload.text, overload.longest_wait_s) == (None, 9.9)
    assert overload.look({}, 0, 1) is None
    assert overload.longest_wait_s == 0


def test_overload_is_told_once_a_minute_and_readiness_always_knows_how_far_behind() -> None:
    overload, told = Overload(), []
    for second in range(180):
        waiting = {"request-events[2]": second + 10.0, "request-events[3]": second + 10.5, "short": 1.0}
        told.append(overload.look(waiting, 12_034 + second, second))
        assert overload.text == (
            f"overloaded: 2 partitions wait for their turn, request-events[3] for {second + 10.5:.0f} s; "
            f"{12_034 + second:,} records behind"
        )
        assert overload.longest_wait_s == second + 10.5
    assert [second for second, line in enumerate(told) if line] == [0, 60, 120]
    assert told[0] == (
        "overloaded: 2 partitions wait for their turn, request-events[3] for 10 s; 12,034 records behind; "
        "more workers share the load"
    )


def test_one_that_keeps_up_again_says_so_when_it_lasts() -> None:
    overload = Overload()
    overload.look({"a": 20.0}, 1, 0)
    assert overload.text == "overloaded: 1 partition waits for its turn, a for 20 s; 1 record behind"
    for second in (1, 30, 59):
        assert overload.look({"a": 1.0}, 1, second) is None
        assert overload.text is None
    assert overload.look({"a": 20.0}, 1, 60) is not None, "a minute has passed since it was told"
    assert overload.look({}, 0, 61) is None
    assert overload.look({}, 0, 61 + TELL_EVERY_S) == (
        "no longer overloaded: every partition comes to its turn"
    )
    assert overload.look({}, 0, 200) is None


def test_what_is_on_the_brink_is_not_told_every_few_seconds() -> None:
    overload = Overload()
    told = [overload.look({"a": 9.0 + second % 2 * 2}, 1, second) for second in range(121)]
    assert [second for second, line in enumerate(told) if line] == [1, 61]
