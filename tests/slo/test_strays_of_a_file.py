"""Replay names the lines whose time is far ahead, if something came late because of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from stream.replay import replay
from stream.slo import strays
from stream.slo.strays import Strays

MINUTE_MS = 60_000
T0_MS = 1_790_000_000_000
SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up}
spec: {service: s, sli: {metric: availability}, target: 99.9, timeWindow: {type: rolling, duration: 30d}}
"""


def found(times_ms: list[int], size: int = 10**9) -> list[tuple[str, int]]:
    """(line, events that came late because of it), the lines read so many at a time."""
    one, largest = Strays(5_000), -(2**60)
    for begin in range(0, len(times_ms), size):
        ts_ms = np.array(times_ms[begin : begin + size], np.int64)
        above = np.maximum.accumulate(ts_ms)
        before = np.concatenate(([largest], np.maximum(above[:-1], largest)))
        one.look(ts_ms, before, lambda i, begin=begin: str(begin + i + 1))  # type: ignore[misc]
        largest = max(largest, int(above[-1]))
    return [(jump.name, jump.late) for jump in one.found()]


def minutes(*values: float) -> list[int]:
    return [T0_MS + int(value * MINUTE_MS) for value in values]


def test_a_stray_is_named_with_what_came_late_because_of_it() -> None:
    assert found(minutes(0, 1, 56, 2, 3, 4)) == [("3", 3)]


def test_a_stream_that_goes_on_after_a_pause_has_no_stray() -> None:
    assert found(minutes(0, 1, 4_000, 4_001, 4_000.5, 4_002)) == []


def test_ten_minutes_above_are_no_stray_and_a_millisecond_more_is() -> None:
    assert found([*minutes(0, 10), *minutes(1)]) == []
    assert found([T0_MS, T0_MS + 600_001, *minutes(1)]) == [("2", 1)]


def test_what_would_have_been_late_without_it_is_not_its_fault() -> None:
    assert found(minutes(0, 5, 4, 60, 4, 6)) == [("4", 1)]


def test_each_event_is_due_to_the_line_that_passed_over_its_time() -> None:
    assert found(minutes(0, 60, 1, 2, 120, 61, 62, 63, 3)) == [("2", 3), ("5", 3)]


def test_time_that_has_come_to_the_stray_is_late_no_more() -> None:
    assert found(minutes(0, 20, *range(1, 31))) == [("2", 19)]


@pytest.mark.parametrize("seed", range(5))
def test_blocks_of_any_size_name_the_same(seed: int) -> None:
    rng = random.Random(seed)
    times = [T0_MS + i * 30_000 + rng.choice([0, 0, 0, -40_000, 700_000, 5_000_000]) for i in range(200)]
    whole = found(times)
    assert whole
    assert found(times, 7) == found(times, 1) == whole


def test_a_file_of_nothing_but_pauses_is_remembered_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MAX_JUMPS", 10)
    times = minutes(0, 30, 1, *(60 + 20 * i for i in range(1, 100)), 2_020)
    one = Strays(5_000)
    before = np.concatenate(([-(2**60)], np.maximum.accumulate(times)[:-1]))
    for i in range(len(times)):
        one.look(np.array(times[i : i + 1]), before[i : i + 1], lambda _, i=i: str(i + 1))  # type: ignore[misc]
        assert len(one._jumps) <= 10
    assert [(jump.name, jump.late) for jump in one.found()][:1] == [("2", 1)]


def test_the_summary_names_file_and_line_and_how_many(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(SLO)
    lines = [json.dumps({"service": "s", "status": 200, "ts": ts}) for ts in minutes(0, 1, 56, 2, 3)]
    events = tmp_path / "events.ndjson"
    events.write_text("\n".join([lines[0], "", *lines[1:]]))
    summary = replay([tmp_path / "slo.yaml"], [str(events)], tmp_path / "out")
    assert (
        f"\n{events}:4: ts is 55 min above all before it: 2 events behind it came late because of it\n"
        in str(summary)
    )
    events.write_text("\n".join(lines[:2]))
    assert "above all before it" not in str(replay([tmp_path / "slo.yaml"], [str(events)], tmp_path / "out"))
