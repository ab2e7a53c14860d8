"""The ``burngate`` command. Thin: a command reads its options and calls what does the work.

Imports of the work stay inside the commands: ``--help`` answers at once, ``replay`` loads no Kafka client.
Exit codes: 0, 1 bad configuration, 2 usage or unreadable input, 3 no progress, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stream.commands import Commands, run_to_the_end, say, with_settings
from stream.errors import UsageError
from stream.interrupts import raise_again
from stream.setting_sources import LOAD_NAMES, REPLAY_NAMES, Row, explain, load_part
from stream.setting_sources import load as load_settings
from stream.setting_values import SettingsError
from stream.words import printable, printable_lines

_LEAST_FOR_A_TABLE = 60
_LEAST_WITH_HELP = 80
"""Columns that ``burngate settings`` needs to say what each one is for."""


app = typer.Typer(
    cls=Commands,
    help="SLOs on a stream of request events: alerts, error budgets, deploy freezes and rollbacks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SloPaths = Annotated[
    list[Path],
    typer.Option("--slos", metavar="PATH", help="SLO file or directory; may be given several times."),
]


class Format(StrEnum):
    """How a report is written."""

    text = "text"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="For people or for programs.")]


def main() -> None:
    """Run the command line and exit."""
    run_to_the_end(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"burngate {version('burngate')}")
        raise typer.Exit


@app.callback()
def _burngate(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _print_json(value: object) -> None:
    # What is escaped in its strings means the same; orjson would refuse what is no text.
    typer.echo(printable_lines(json.dumps(value, indent=2, ensure_ascii=False)))


def _worker(options: dict[str, Any]) -> int:
    """Run a worker: request events in; alerts, budgets, freezes out.

    Every option is also a variable: --metrics-port is BURNGATE_METRICS_PORT.
    SIGTERM stops it in an orderly way.
    """
    from stream.logs import faults_as_lines

    with faults_as_lines(options.get("log_format") or os.environ.get("BURNGATE_LOG_FORMAT"), "stream.app"):
        settings = load_settings(options)
        from stream.app import run_worker

        return run_worker(settings)


app.command("worker")(with_settings(_worker))


def _replay(
    options: dict[str, Any],
    slos: SloPaths,
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input",
            metavar="FILE",
            help="NDJSON of request events, .gz or .zst too; - is stdin. Several are read in this order.",
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets one <topic>.ndjson for each output topic.")
    ],
    deploys: Annotated[
        list[str] | None,
        typer.Option("--deploys", metavar="FILE", help="NDJSON of deploy events."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--changes", metavar="FILE", help="NDJSON of change events."),
    ] = None,
) -> int:
    """Run recorded events through SLOs and canary analyses, without Kafka."""
    from stream.replay import run

    try:
        settings = load_part(options, REPLAY_NAMES)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    raise_again()
    return run(
        slos,
        inputs,
        output,
        deploys=deploys or (),
        changes=changes or (),
        allowed_lateness=settings.allowed_lateness,
        max_series=settings.max_series,
    )


app.command("replay")(with_settings(_replay, REPLAY_NAMES))


@app.command()
def validate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="SLO files or directories.", show_default=False)
    ],
    report_format: FormatOption = Format.text,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
) -> int:
    """Check SLO files and list every problem, and what is most likely not meant, with its place."""
    from stream.config import MissingPathsError, check_paths, render_json, render_missing, render_text

    try:
        report = check_paths(paths)
    except MissingPathsError as error:
        if report_format is Format.json:
            _print_json(render_missing(error.paths))
        raise
    if report_format is Format.json:
        _print_json(render_json(report))
    else:
        typer.echo(printable_lines(render_text(report)))
    return 1 if report.problems or (strict and report.warnings) else 0


@app.command()
def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Plain lines instead of the live screen.")
    ] = False,
    duration: Annotated[
        Optional[float],  # noqa: UP045 - evaluated at run time
        typer.Option(metavar="SECONDS", help="How long it runs, by the clock: 5 to 3600; by default 60."),
    ] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Go on after the story until Ctrl-C.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another one gives other traffic.")] = 1,
) -> int:
    """Watch a small shop have an incident, on a real local Kafka."""
    from stream.demo import run

    raise_again()
    return run(headless=headless, duration_s=duration, keep_running=keep_running, seed=seed)


def _load(
    options: dict[str, Any],
    rate: Annotated[
        float, typer.Option(metavar="N", help="Events a second of event time, in the mean.")
    ] = 200.0,
    speed: Annotated[
        float, typer.Option(metavar="FACTOR", help="Event time by the clock; above 1 it starts an hour back.")
    ] = 1.0,
    duration: Annotated[
        Optional[float],  # noqa: UP045 - evaluated at run time
        typer.Option(metavar="SECONDS", help="How long, by the clock; without it until SIGTERM or Ctrl-C."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another one gives other traffic.")] = 1,
) -> int:
    """Play the demo's shop into request-events, to try a worker with."""
    from stream.demo import load as play
    from stream.kafka.security import security_of

    settings = load_part(options, LOAD_NAMES)
    return play(
        settings.brokers,
        rate=rate,
        duration_s=duration,
        speed=speed,
        seed=seed,
        topic_prefix=settings.topic_prefix,
        partitions=settings.partitions,
        connect_timeout_s=settings.connect_timeout.total_seconds(),
        security=security_of(settings),
        report=say,
    )


app.command("load")(with_settings(_load, LOAD_NAMES))


@app.command()
def kafka(
    port: Annotated[int, typer.Option(metavar="N", help="Port on 127.0.0.1; 0 for a free one.")] = 9092,
    data_dir: Annotated[
        Optional[str],  # noqa: UP045 - evaluated at run time
        typer.Option(metavar="DIR", help="Keeps the topics for the next start; without one nothing is kept."),
    ] = None,
) -> int:
    """Run a local Apache Kafka in the foreground.

    Prints "ready HOST:PORT" once it answers. SIGTERM or Ctrl-C stops it.
    """
    from stream.kafka.local import serve

    if data_dir == "":  # as a variable that is not set gives it; a Path would be the current directory
        raise UsageError("--data-dir '': a directory is expected")
    raise_again()
    serve(None if data_dir is None else Path(data_dir), port, say)
    return 0


def _settings(
    options: dict[str, Any],
    report_format: FormatOption = Format.text,
) -> int:
    """Show every setting, its value and where that comes from; exit 1 where a worker would."""
    rows, problems = explain(options)
    if report_format is Format.json:
        _print_json({"settings": [row.as_json() for row in rows], "problems": problems})
    else:
        _show_settings(rows)
    if problems:
        raise SettingsError("\n".join(problems))
    return 0


def _show_settings(rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    # A file or a pipe has no width to fit in.
    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if fits else 200, markup=False, highlight=False)
    if console.width < _LEAST_FOR_A_TABLE:
        for row in rows:
            console.print(
                printable(f"{row.setting.option or row.setting.variable} = {row.value} ({row.source})")
            )
        return
    columns = [Column("Setting", no_wrap=True), Column("Value", overflow="fold"), Column("Source")]
    with_help = console.width >= _LEAST_WITH_HELP
    table = Table(*columns, *(["What it does"] if with_help else []), box=box.SIMPLE)
    for row in rows:
        cells = [
            row.setting.option or row.setting.variable,
            printable(row.value),
            row.source,
            row.setting.help,
        ]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


app.command("settings")(with_settings(_settings))
