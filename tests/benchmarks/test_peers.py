"""The accounting of ``make bench-peers``: what is counted, when, and at what cost. No peer runs here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.peers import java, load, python, report, traffic
from benchmarks.peers.__main__ import ROOMS
from benchmarks.peers.ledger import Ledger, Step
from benchmarks.peers.load import Cells, Load
from benchmarks.peers.measure import Count, Row, Speed, beyond, span
from benchmarks.peers.peer import Emission, Peer, UnavailableError, pane
from benchmarks.peers.process import JobProcess, interpolated, tree
from stream.kafka import jars

START = traffic.START_MS
TRUTH: Cells = {("a", START + 10_000): (4, 1), ("b", START + 10_000): (2, 0), ("a", START + 20_000): (3, 0)}


def said(scope: str, pane: int, count: int, errors: int = 0) -> Emission:
    return Emission(scope, START + 10_000 * pane, count, errors)


def test_the_newest_statement_about_a_pane_counts() -> None:
    ledger = Ledger(TRUTH)
    ledger.add(said("a", 1, 9), at_s=1.0)
    ledger.add(said("a", 1, 4, 1), at_s=2.0)
    assert (ledger.counted, ledger.errors, ledger.expected) == (4, 1, 9)


def test_too_few_and_too_many_do_not_make_up_for_each_other() -> None:
    ledger = Ledger(TRUTH)
    ledger.add(said("a", 1, 1), at_s=1.0)
    ledger.add(said("b", 1, 5), at_s=1.0)
    ledger.add(said("a", 2, 3), at_s=1.0)
    assert (ledger.counted, ledger.lost, ledger.doubled) == (9, 3, 3)


def test_events_of_a_pane_that_does_not_exist_are_too_many() -> None:
    ledger = Ledger(TRUTH)
    ledger.add(said("c", 1, 2), at_s=1.0)
    assert (ledger.lost, ledger.doubled) == (9, 2)


def test_a_job_is_complete_only_while_every_pane_is_right() -> None:
    ledger = Ledger(TRUTH)
    for emission in (said("a", 1, 4, 1), said("b", 1, 2), said("a", 2, 3)):
        assert not ledger.complete
        ledger.add(emission, at_s=1.0)
    assert ledger.complete
    ledger.add(said("b", 1, 3), at_s=2.0)
    assert not ledger.complete
    ledger.add(said("b", 1, 2), at_s=3.0)
    assert ledger.complete


def test_a_pane_is_done_when_it_and_those_before_it_were_last_spoken_of() -> None:
    ledger = Ledger(TRUTH)
    ledger.add(said("a", 1, 4, 1), at_s=1.0)
    ledger.add(said("a", 2, 3), at_s=2.0)
    ledger.add(said("b", 1, 2), at_s=5.0)
    assert ledger.steps() == [Step(START + 10_000, 5.0, 6), Step(START + 20_000, 5.0, 9)]


def test_of_totals_the_last_minute_is_the_whole() -> None:
    ledger = Ledger({("s", START + 10_000): (5, 0), ("s", START + 20_000): (8, 1)}, cumulative=True)
    ledger.add(said("s", 1, 5), at_s=1.0)
    assert (ledger.counted, ledger.lost) == (0, 8)
    ledger.add(said("s", 2, 8, 1), at_s=2.0)
    assert ledger.complete
    assert (ledger.counted, ledger.lost, ledger.doubled, ledger.errors) == (8, 0, 0, 1)
    assert [step.events for step in ledger.steps()] == [5, 8]


def test_half_of_event_time_is_reached_by_a_word_about_the_middle() -> None:
    ledger = Ledger({("a", START + 10_000 * number): (1, 0) for number in range(1, 12)})
    ledger.add(said("a", 5, 1), at_s=1.0)
    assert not ledger.reached(0.5)
    ledger.add(said("a", 6, 1), at_s=1.0)
    assert ledger.reached(0.5)


def test_speed_is_measured_after_a_minute_and_before_the_panes_that_are_closed_by_force() -> None:
    topic = Load(2_000, 20, "even")  # 100 s: the pane that ends at 100 s is closed by later events
    steps = [Step(START + 10_000 * number, float(number), number) for number in range(1, 11)]
    begin, end = span(steps, topic)
    assert (begin.end_ms - START, end.end_ms - START) == (60_000, 90_000)


def test_a_short_topic_is_measured_from_its_first_pane() -> None:
    topic = Load(800, 20, "even")  # 40 s
    steps = [Step(START + 10_000 * number, float(number), number) for number in range(1, 5)]
    begin, end = span(steps, topic)
    assert (begin.end_ms - START, end.end_ms - START) == (10_000, 30_000)
    with pytest.raises(ValueError, match="too little"):
        span(steps[:1], topic)


def test_of_a_whole_run_what_a_tenth_of_it_takes_tells_the_start() -> None:
    speed = beyond(Speed(1_000, 25.0, 14.0, 300.0, 6.0, 3.0), Speed(100, 7.0, 5.0, 100.0, 5.0, 4.0))
    assert (speed.events, speed.seconds, speed.cpu_seconds) == (900, 18.0, 9.0)
    assert (speed.peak_mb, speed.start_s, speed.start_cpu_seconds) == (300.0, 5.0, 4.0)


@pytest.mark.parametrize("layout", ["even", "uneven"])
def test_each_event_is_in_the_truth_once_and_totals_by_minute_end_in_all(layout: str) -> None:
    topic = Load(5_000, 40, layout)  # 125 s
    by_pane = load.panes(topic)
    assert sum(count for count, _ in by_pane.values()) == 5_000
    by_minute = load.minutes(by_pane, topic)
    totals: Counter[int] = Counter()
    for (_, end_ms), (count, _) in by_minute.items():
        totals[end_ms - START] += count
    assert totals == {60_000 - START % 60_000 + 60_000 * n: c for n, c in enumerate((2_400, 4_800, 5_000))}


def test_partitions_are_even_or_not_and_every_one_is_closed_for_every_series() -> None:
    series = traffic.SERVICES * traffic.ENDPOINTS
    for layout, shares in (("even", [500, 500, 500, 500]), ("uneven", [800, 600, 400, 200])):
        placed = Counter(partition for partition, _ in load._placed(Load(2_000, 20, layout)))
        assert [placed[number] - series for number in range(traffic.PARTITIONS)] == shares


def test_what_speaks_by_the_minute_gets_minutes_even_of_few_events() -> None:
    ordinary = Peer("x", "X", lambda report: pytest.fail("not run"))
    by_minute = Peer("y", "Y", lambda report: pytest.fail("not run"), cumulative=True, share=0.5)
    assert ordinary.load(31_000, "even") == Load(31_000, 20_000, "even")
    assert by_minute.load(62_000, "even") == Load(31_000, 100, "even")
    assert by_minute.load(100_000_000, "even").per_s == 20_000
    assert by_minute.load(62_000, "uneven").per_s == 20_000


def test_an_output_record_is_read_as_its_series_and_the_end_of_its_pane() -> None:
    record = {"service": "s", "endpoint": "/", "version": "1", "track": "stable", "pane_ms": START}
    assert pane({**record, "count": 3, "errors": 1}) == Emission("s|/|1|stable", START + 10_000, 3, 1)


@pytest.mark.parametrize(("x", "y"), [(0.0, 1.0), (2.0, 2.0), (2.5, 3.0), (9.0, 4.0)])
def test_between_samples_cpu_time_is_on_the_line(x: float, y: float) -> None:
    assert interpolated([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], x) == y


def test_a_jobs_children_count_as_the_job_and_go_with_it(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('ready', 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    with JobProcess([sys.executable, "-c", script], {}, tmp_path / "job.log") as job:
        ready = tmp_path / "ready"
        while not ready.exists() or not ready.read_text():
            job.check()
        child = int(ready.read_text())
        assert child in tree(os.getpid())
    deadline_s = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline_s


def _runs(pid: int) -> bool:
    """Whether it is more than an entry that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_job_that_ends_by_itself_says_why_without_javas_frames(tmp_path: Path) -> None:
    script = "print('why it ended\\n\\tat some.Frame', flush=True); raise SystemExit(3)"
    with JobProcess([sys.executable, "-c", script], {}, tmp_path / "job.log") as job:
        job._process.wait()
        with pytest.raises(RuntimeError, match=r"^it ended with 3: why it ended$"):
            job.check()


def test_a_row_shows_the_median_and_the_extremes_and_what_went_wrong() -> None:
    speeds = [Speed(1_000_000, seconds, 3.0, 700.0, 5.0, 6.0) for seconds in (2.0, 4.0, 8.0)]
    row = Row("x", "X", "1.0", speeds, Count(9, 7, 2, 0, 1, 5), Count(9, 10, 1, 2, 1, 5), ["slept"])
    cells = report.markdown([row]).splitlines()[2].strip("| ").split(" | ")
    assert cells[:5] == ["X 1.0", "250 (125–500)", "3.00 (3.00–3.00)", "6.0 (6.0–6.0)", "700"]
    assert cells[5:] == ["2 of 9", "10 of 9 (1 lost, 2 twice)"]
    assert "X: slept" in report.markdown([row])


def test_a_peer_that_cannot_be_installed_is_a_reason_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "no matching distribution")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(python.subprocess, "run", refuse)
    (tmp_path / "requirements.txt").write_text("nothing==1.0\n")
    with pytest.raises(UnavailableError, match="no matching distribution"):
        python.prepare(tmp_path)(lambda line: None)


def test_every_room_has_a_peer_of_its_own_with_its_versions_pinned() -> None:
    rooms = [import_module(f"benchmarks.peers.{room}") for room in ROOMS]
    assert len({room.PEER.name for room in rooms}) == len(ROOMS)
    for directory in (Path(str(room.__file__)).parent for room in rooms):
        if (directory / "jars.txt").exists():
            assert all(len(jar.sha256) == 64 for jar in jars.parsed((directory / "jars.txt").read_text()))
        if (directory / "requirements.txt").exists():
            lines = (directory / "requirements.txt").read_text().splitlines()
            assert all("==" in line for line in lines)
            assert python.version("\n".join(lines))
    pinned = jars.parsed("# a comment\norg.example:thing:1.2 00\n")
    assert java.version(pinned, "thing") == "1.2"
