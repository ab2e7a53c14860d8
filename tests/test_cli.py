"""The command line: quick, exact about exit codes, never a traceback for a fault of the user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = ("worker", "replay", "validate", "demo", "kafka", "settings")


def burngate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BURNGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        capture_output=True,
        text=True,
        env={**kept, "COLUMNS": "100", **environment},
        timeout=60,
        check=False,
    )


def test_help_names_every_command_and_imports_none_of_the_work() -> None:
    code = (
        "import sys, stream.cli\n"
        "try: stream.cli.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('faust', 'aiokafka', 'numpy', 'rich.table', 'yaml') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("[]\n"), done.stdout
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help(command: str) -> None:
    done = burngate(command, "--help")
    assert done.returncode == 0
    assert "Usage: burngate " + command in done.stdout


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert burngate("--version").stdout == f"burngate {project['version']}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["worker", "--nonsense"],
        ["replay"],
        ["replay", "--slos", "x", "--input", "-"],
        ["validate"],
        ["validate", "--format", "xml", "."],
        ["validate", "/no/such/path"],
        ["kafka", "--port", "x"],
        ["kafka", "--port", "70000"],
        ["kafka", "--data-dir", ""],
    ],
)
def test_wrong_usage_exits_2_without_a_traceback(arguments: list[str]) -> None:
    done = burngate(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "--format", "xml", "."],
        ["kafka", "--port", "x"],
        ["load", "--brokers", "a:1", "--rate", "x"],
        ["demo", "--seed", "1.5"],
        ["demo", "--duration", "x"],
        ["demo", "--duration", "nan"],
        ["demo", "--duration", "2"],
    ],
)
def test_a_value_that_is_refused_is_told_in_plain_words(arguments: list[str]) -> None:
    done = burngate(*arguments)
    assert done.returncode == 2
    assert arguments[-2 if arguments[-1] != "." else 1] in done.stderr
    for word in ("Value error", "Input should", "parse", "Traceback"):
        assert word not in done.stderr


def test_a_worker_with_bad_settings_lists_them_and_exits_1() -> None:
    done = burngate("worker", "--partitions", "0", BURNGATE_METRICS_PORTS="1", BURNGATE_START="soon")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(":")[0].split(" ")[0] for line in lines] == [
        "BURNGATE_METRICS_PORTS",
        "--brokers",
        "--slos",
        "--partitions",
        "BURNGATE_START",
    ]


def test_settings_are_shown_with_their_sources() -> None:
    done = burngate(
        "settings", "--no-create-topics", "--slos", "a", "--slos", "b,c", BURNGATE_BROKERS="k:1,l:2"
    )
    assert done.returncode == 0
    rows = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines() if line.strip()}
    assert rows["--create-topics"] == ["false", "--create-topics"]
    assert rows["--brokers"] == ["k:1,l:2", "BURNGATE_BROKERS"]
    assert rows["--slos"] == ["a,b,c", "--slos"]
    assert rows["--app"] == ["burngate", "default"]


def test_settings_with_faults_are_shown_and_end_as_a_worker_would() -> None:
    done = burngate("settings", "--brokers", "a:1", BURNGATE_PARTITIONS="x")
    assert done.returncode == 1
    assert "--metrics-port" in done.stdout
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "--slos is missing (or BURNGATE_SLOS)",
        "BURNGATE_PARTITIONS",
    ]


def test_settings_are_there_for_programs_too() -> None:
    done = burngate("settings", "--format", "json", "--slos", "a", BURNGATE_SASL_PASSWORD="geheim")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr.splitlines() == told["problems"]
    by_name = {row["name"]: row for row in told["settings"]}
    assert (by_name["slos"]["value"], by_name["slos"]["source"]) == ("a", "--slos")
    assert (by_name["brokers"]["value"], by_name["brokers"]["source"]) == (None, "not set")
    assert by_name["sasl_password"]["option"] is None
    assert "geheim" not in done.stdout


@pytest.mark.parametrize("columns", [40, 80, 132])
def test_settings_fit_the_columns_given(columns: int) -> None:
    done = burngate("settings", "--brokers", "a:1", "--slos", "a", COLUMNS=str(columns))
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= columns


def test_validate_lists_problems_and_exits_1_or_0(tmp_path: Path) -> None:
    examples = sorted((ROOT / "tests" / "config" / "data").rglob("*.yaml"))
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: Nonsense\n")
    assert examples
    done = burngate("validate", str(bad))
    assert done.returncode == 1
    assert f"{bad}:1:" in done.stdout
    told = json.loads(burngate("validate", "--format", "json", str(bad)).stdout)
    assert told["valid"] is False
    assert told["problems"]


def test_validate_prints_json_for_paths_that_do_not_exist_too(tmp_path: Path) -> None:
    missing = [str(tmp_path / name) for name in ("a", "b")]
    done = burngate("validate", "--format", "json", str(ROOT / "deploy" / "slos"), *missing)
    told = json.loads(done.stdout)
    assert (done.returncode, told["valid"]) == (2, False)
    assert [problem["file"] for problem in told["problems"]] == missing
    assert done.stderr == "".join(f"{path}: no such file or directory\n" for path in missing)


def test_ctrl_c_exits_130_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "slos.yaml"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "stream", "validate", str(fifo)], stderr=subprocess.PIPE, text=True
    )
    with fifo.open("w"):  # it is reading now
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["--help", "worker", "demo", "settings", "validate", "replay"])
def test_ctrl_c_at_any_moment_of_the_start_is_no_traceback(command: str) -> None:
    """The signal comes with the first import, the 20th, and so on."""
    code = (
        "import builtins, os, signal, sys\n"
        "real, left = builtins.__import__, int({left})\n"
        "def slow(*args, **kwargs):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left == 0: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(*args, **kwargs)\n"
        "sys.argv[1:] = [{command!r}]\n"
        "import stream.__main__ as entry\n"
        "builtins.__import__ = slow\n"
        "entry.main()\n"
    )
    for left in (1, 20, 300, 1000):
        done = subprocess.run(
            [sys.executable, "-c", code.format(left=left, command=command)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (130, ""), left


@pytest.mark.broker
def test_the_local_kafka_says_when_it_is_ready_and_goes_on_sigterm() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream", "kafka", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("ready 127.0.0.1:"), process.communicate()
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["settings", "--brokers", "a:1", "--slos", "x"], ["--version"], ["--help"]]
)
def test_a_full_disk_is_no_traceback(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "stream", *arguments],
            check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == "cannot write the output: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize(
    "command", [["validate", "deploy/slos"], ["validate", "--help"], ["settings", "--brokers", "a:1"]]
)
def test_what_an_encoding_lacks_is_shown_as_a_question_mark(encoding: str, command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "stream", *command],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding, "BURNGATE_SLOS": "deploy/slos"},
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_closed_streams_are_no_traceback(closed: str) -> None:
    command = f'exec "$0" -m stream settings --brokers a:1 --slos x {closed}>&-'
    ended = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(("lateness", "late"), [("0s", 1), ("2s", 0)])
def test_replay_takes_the_workers_lateness_and_its_bound_of_series(
    tmp_path: Path, lateness: str, late: int
) -> None:
    slos = ROOT / "tests" / "config" / "data" / "good" / "minimal.yaml"
    times = [1_790_000_000_000 + ms for ms in (5_000, 20_000, 18_500, 40_000)]
    events = [{"ts": ts, "service": "checkout", "status": 500} for ts in times]
    (tmp_path / "in.ndjson").write_text("\n".join(map(json.dumps, events)))
    command = ("replay", "--slos", str(slos), "--input", str(tmp_path / "in.ndjson"), "--output")
    done = burngate(*command, str(tmp_path / "out"), "--max-series", "1", "--allowed-lateness", lateness)
    assert done.returncode == 0, done.stderr
    assert "replayed 4 events in" in done.stderr
    assert f"; {late} late, 0 too late" in done.stderr
    done = burngate(*command, str(tmp_path / "none"), "--max-series", "0", BURNGATE_ALLOWED_LATENESS="5")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "BURNGATE_ALLOWED_LATENESS",
        "--max-series",
    ]
    assert not (tmp_path / "none").exists()


def test_replay_does_not_replace_its_own_input(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(
        (Path(__file__).parent / "config" / "data" / "slo-examples.yaml").read_text()
    )
    recorded = tmp_path / "slo-alerts.ndjson"
    recorded.write_text('{"ts": 1790000000001, "service": "a"}\n')
    command = [sys.executable, "-m", "stream", "replay", "--slos", str(tmp_path / "slo.yaml")]
    command += ["--input", str(recorded), "--output", str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == f"{recorded}: the output would replace this input\n"
    assert recorded.read_text() == '{"ts": 1790000000001, "service": "a"}\n'
