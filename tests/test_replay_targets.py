"""Replay replaces all of its outputs or none, and leaves nothing behind when it does not end well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.replay import replay

SLOS = Path(__file__).parent / "config" / "data" / "slo-examples.yaml"
EVENT = b'{"ts":1790000000001,"service":"payment"}\n'


@pytest.mark.parametrize("topic", ["slo-alerts", "dead-letters"])
def test_a_target_that_cannot_be_replaced_keeps_all_others_as_they_are(tmp_path: Path, topic: str) -> None:
    events, out = tmp_path / "events.ndjson", tmp_path / "out"
    events.write_bytes(EVENT)
    replay([SLOS], [str(events)], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / f"{topic}.ndjson").unlink()
    (out / f"{topic}.ndjson").mkdir()
    events.write_bytes(EVENT * 3 + b"bad\n")
    with pytest.raises(UsageError, match=f"{topic}.ndjson: is a directory"):
        replay([SLOS], [str(events)], out)
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert after == {name: data for name, data in before.items() if name != f"{topic}.ndjson"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_replay_that_is_ended_leaves_nothing_behind(tmp_path: Path, number: int, is_there: bool) -> None:
    out = tmp_path / "new" / "out"
    if is_there:
        out.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "stream",
        "replay",
        "--slos",
        str(SLOS),
        "--input",
        "-",
        "--output",
        str(out),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(EVENT)
        running.stdin.flush()
        limit = time.monotonic() + 60
        while not (out.exists() and any(out.iterdir())):
            assert time.monotonic() < limit
            assert running.poll() is None
            time.sleep(0.01)
        os.kill(running.pid, number)
        code = running.wait(timeout=60)
        assert running.stderr.read() == b""
    assert code == (-signal.SIGTERM if number == signal.SIGTERM else 130)
    assert [*tmp_path.rglob("*")] == ([out.parent, out] if is_there else [])


def test_no_warning_of_numpy_reaches_a_user() -> None:
    """Should one come up in spite of all tests."""
    program = (
        "import numpy, sys, typer, warnings\n"
        "from stream.commands import run_to_the_end\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def divide():\n"
        "    numpy.ones(1) / numpy.zeros(1)\n"
        "    numpy.zeros(0).mean()\n"
        "run_to_the_end(app)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
