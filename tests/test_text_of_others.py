"""Names, ids and paths of others reach a log or a terminal without their control characters."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stream.console.board import Board
from stream.console.plain import happening_lines, say
from stream.errors import UserError
from stream.logs import FIELDS, _Formatter, _Json
from stream.words import printable, printable_lines

ROOT = Path(__file__).parents[1]
ODD = "pay\x1b[31m\x07ment\r\n2026 CRITICAL forged\u202e\x9b\x7f\udcff\u2028"
"""Colour, a bell, a line of its own, writing turned round, half of a pair."""


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@given(st.text(st.characters()) | st.text("\x00\x1b\n\r\x85\u2028\u202e\ud800 a"))
def test_what_is_shown_of_a_text_is_harmless_and_tells_texts_apart(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()  # no half of a pair is left, which no encoding has
    if text.isprintable():
        assert shown == text
    assert printable_lines(text).count("\n") == text.count("\n")
    if "\\" not in text and '"' not in text:
        assert json.loads(f'"{shown}"', strict=True) == text.encode("utf-16", "surrogatepass").decode(
            "utf-16", "surrogatepass"
        )


# --- log lines


def line_of(formatter: logging.Formatter, message: object, *args: object, **fields: object) -> str:
    record = logging.LogRecord("stream.x", logging.INFO, "x.py", 1, message, args or None, None)
    for name, value in fields.items():
        setattr(record, name, value)
    return formatter.format(record)


@pytest.mark.parametrize("formatter", [_Formatter("%(levelname)s %(message)s"), _Json()])
@pytest.mark.parametrize(
    "line",
    [
        ("%s is odd", ODD),
        ("%s is odd", Path(ODD)),
        ("%r is odd", ODD),
        ("%s and %r", ValueError(ODD), ValueError(ODD)),
        (f"{ODD} is odd".replace("\n", ""),),
        ("%(name)s is odd".replace("(name)", ""), [ODD]),
    ],
)
def test_a_log_line_is_one_line_whatever_it_tells_of(formatter: logging.Formatter, line: tuple) -> None:
    shown = line_of(formatter, *line)
    assert shown.isprintable()
    assert shown.encode()


def test_the_lines_of_a_users_fault_stay_lines_and_are_harmless() -> None:
    shown = line_of(_Formatter("%(message)s"), "faults:\n%s", UserError(f"one\x1b[0m\ntwo {ODD}"))
    assert shown.startswith("faults:\none\\u001b[0m\ntwo ")
    assert is_harmless(shown)


def test_json_has_the_fields_that_its_caller_gives_and_never_fails_on_them() -> None:
    fields = dict.fromkeys(FIELDS, ODD) | {"partition": 3}
    found = json.loads(line_of(_Json(), "about %s", ODD, **fields))
    assert found["partition"] == 3
    assert {name: found[name] for name in FIELDS if name != "partition"} == dict.fromkeys(
        (name for name in FIELDS if name != "partition"), printable(ODD)
    )
    assert "partition" not in json.loads(line_of(_Json(), "about nothing"))
    named = json.loads(line_of(_Json(), "%s[%d] was made again: reading from %d", "request-events", 3, 70))
    assert (named["topic"], named["partition"]) == ("request-events", 3)
    numbered = json.loads(line_of(_Json(), "partition %d went to another worker: %s", 3, "x"))
    assert (numbered.get("topic"), numbered["partition"]) == (None, 3)


def test_a_traceback_is_harmless() -> None:
    try:
        raise ValueError(ODD)
    except ValueError:
        info = sys.exc_info()
    for formatter in (_Formatter("%(message)s"), _Json()):
        record = logging.LogRecord("stream.x", logging.ERROR, "x.py", 1, "failed", None, info)
        assert is_harmless(formatter.format(record))


# --- what commands print


def burngate(*arguments: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")} | variables
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: availability, namespace: shop}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
PATH = "odd\x1b[31m\n\udcffname.yaml"


def test_paths_and_names_that_commands_tell_of_are_harmless(tmp_path: Path) -> None:
    (tmp_path / PATH).write_text(SLO.replace("99", "199"))
    (tmp_path / "good.yaml").write_text(SLO)
    event = {"ts": 1_700_000_000_000, "namespace": ODD.replace("\udcff", ""), "service": "x\x1b[2J"}
    (tmp_path / "e.ndjson").write_text(json.dumps(event | {"status": 200}) + "\n")
    (tmp_path / "file").write_text("")
    commands = [
        ("validate", PATH),
        ("validate", "--format", "json", PATH),
        ("validate", f"missing{PATH}"),
        ("validate", "--format", "json", f"missing{PATH}"),
        ("replay", "--slos", PATH, "--input", "e.ndjson", "--output", "out"),
        ("replay", "--slos", "good.yaml", "--input", f"missing{PATH}", "--output", "out"),
        ("replay", "--slos", "good.yaml", "--input", "e.ndjson", "--output", f"file/{PATH}"),
        ("replay", "--slos", "good.yaml", "--input", "e.ndjson", "--output", "out"),
        ("kafka", "--data-dir", f"file/{PATH}"),
        ("worker", "--brokers", "127.0.0.1:1", "--slos", PATH),
        ("worker", "--brokers", "127.0.0.1:1", "--slos", PATH, "--log-format", "json"),
        ("worker", "--brokers", "127.0.0.1:1", "--slos", f"missing{PATH}", "--log-format", "json"),
        ("worker", "--brokers", f"{PATH}", "--slos", "good.yaml"),
        ("worker", f"--{PATH}", "1"),
        ("settings", "--slos", PATH, "--brokers", "h:1"),
        ("settings", "--slos", PATH, "--brokers", "h:1", "--format", "json"),
        (f"no{PATH}",),
    ]
    for command in commands:
        for variables in ({}, {"COLUMNS": "40"}) if command[0] == "settings" else ({},):
            ended = burngate(*command, directory=tmp_path, **variables)
            assert is_harmless(ended.stdout), (command, ended.stdout)
            assert is_harmless(ended.stderr), (command, ended.stderr)
            assert "Traceback" not in ended.stderr, (command, ended.stderr)
            assert "forged" not in [line[:6] for line in ended.stderr.splitlines()]
            if "json" in command and command[0] != "worker":
                json.loads(ended.stdout)
            if "json" in command and command[0] == "worker":
                for line in ended.stderr.splitlines():
                    json.loads(line)


def test_names_on_a_board_are_harmless() -> None:
    board, console = Board(), Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    at = "2026-11-23T10:00:00Z"
    board.apply(
        "deploy-freezes",
        {
            "evaluated_at": at,
            "namespace": "shop",
            "service": ODD,
            "state": "frozen",
            "since": at,
            "reasons": [{"slo": ODD, "threshold_pct": 10.0, "budget_remaining_pct": 1.0}],
        },
    )
    for happening in board.happenings:
        for line in happening_lines(happening):
            assert line.isprintable()
            say(console, line)
    assert board.happenings


# --- whoever writes


SHOWN = {"printable", "printable_lines"}
ALLOWED = {
    # where → why nothing of others is in it
    ("stream/kafka/local.py", "print"): "an address that we chose",
    ("stream/cli.py", "echo"): "the version",
}


def writers(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls that write to the standard streams or a console."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        is_stream = re.search("stdout|stderr|console", called) is not None
        if called == "print" or name in ({"echo", "write", "writelines", "print"} if is_stream else {"echo"}):
            yield name, node


def is_shown(node: ast.expr) -> bool:
    """Whether a value has gone through the function, is a constant, or is put together of such."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in SHOWN
    if isinstance(node, ast.JoinedStr):
        return all(is_shown(one.value) for one in node.values if isinstance(one, ast.FormattedValue))
    return isinstance(node, ast.Constant)


RICH = {"stream/console/plain.py", "stream/cli.py", "stream/demo/showing.py"}
"""They print what rich lays out: `say` escapes lines, cells of a table are escaped, a board escapes names."""


def test_nobody_writes_what_has_not_gone_through_the_function() -> None:
    found = []
    for path in sorted((ROOT / "stream").rglob("*.py")):
        place = str(path.relative_to(ROOT))
        if place == "stream/kafka/guard.py":
            continue  # a program of its own, which writes a process id
        for name, call in writers(path):
            if all(map(is_shown, call.args)) or (place, name) in ALLOWED:
                continue
            if name == "print" and place in RICH and "console" in ast.unparse(call.func).lower():
                continue
            found.append(f"{place}:{call.lineno}: {ast.unparse(call)}")
    assert not found


def test_log_lines_are_made_by_our_formatters_alone() -> None:
    for path in sorted((ROOT / "stream").rglob("*.py")):
        text = path.read_text()
        if path.name != "logs.py":
            assert "StreamHandler" not in text, path
            assert "logging.Formatter" not in text, path
            assert "basicConfig" not in text, path
