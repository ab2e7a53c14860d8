"""The ``burngate`` command. Thin: a command reads its options and calls what does the work.

Imports of the work stay inside the commands: ``--help`` answers at once, ``replay`` loads no Kafka client.
Exit codes: 0, 1 bad configuration, 2 usage or unreadable input, 3 no progress, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer
import typer.core

from stream.errors import UsageError, UserError
from stream.interrupts import INTERRUPTED, end_at_once, raise_again
from stream.setting_sources import LOAD_NAMES, REPLAY_NAMES, Row, explain, load_part
from stream.setting_sources import load as load_settings
from stream.setting_values import SettingsError
from stream.settings import definitions

_LEAST_WITH_HELP = 80
"""Columns that ``burngate settings`` needs to say what each one is for."""


class _Commands(typer.core.TyperGroup):
    """Ends with what a command returns, and shows the users' faults as text, never as a traceback."""

    def invoke(self, ctx: Any) -> NoReturn:
        status, fault = 0, None
        try:
            try:
                status = super().invoke(ctx)
            except UserError as error:
                status, fault = error.exit_code, str(error)
            except typer.BadParameter as error:
                error.message = _plain(error.message)
                raise
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output, such as head, has seen enough; nothing may be left to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if fault is not None:
            _say(fault)
        raise SystemExit(status)


def _plain(message: str) -> str:
    """What typer says of a value, without the words of the library that it asks."""
    text = re.sub(r"^Value error, ", "", message)
    text = re.sub(r"^Input should be a valid (\w+).*", r"must be a valid \1", text)
    return re.sub(r"^Input should be ", "must be ", text)


app = typer.Typer(
    cls=_Commands,
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
    _open_what_is_closed()
    try:
        try:
            app(prog_name="burngate")
        finally:
            end_at_once()
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        # A full disk, most likely; nothing may be left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say(f"cannot write the output: {error.strerror}")
        raise SystemExit(1) from None


def _open_what_is_closed() -> None:
    """Some supervisors start programs without these: what is opened next would take their place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


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
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _with_settings(command: Callable[..., int], only: Sequence[str] | None = None) -> Callable[..., int]:
    """A command with an option for each setting, or for those named, besides the options of its own.

    ``command`` gets the settings that were given by name, in its first parameter. Their values are checked by
    :mod:`stream.settings`, together with the environment's.
    """
    own = [*inspect.signature(command, eval_str=True).parameters.values()][1:]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    for setting in definitions():
        if setting.option is None or (only is not None and setting.name not in only):
            continue
        default = f" [default: {setting.default}]" if setting.default and not setting.boolean else ""
        names = [setting.option]
        if setting.boolean:
            names = [f"{setting.option}/--no-{setting.option.removeprefix('--')}"]
        option = typer.Option(
            *names,
            metavar=None if setting.boolean else setting.metavar,
            help=f"{setting.help}{default}",
            show_default=False,
        )
        kind: Any = bool if setting.boolean else list[str] if setting.repeated else str
        parameters.append(
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[Optional[kind], option],  # noqa: UP045 - evaluated at run time
            )
        )

    @functools.wraps(command)
    def wrapper(**options: Any) -> int:
        kept = {parameter.name: options.pop(parameter.name) for parameter in own}
        return command(options, **kept)

    del wrapper.__wrapped__  # typer follows it to the signature
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


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


app.command("worker")(_with_settings(_worker))


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
) -> int:
    """Run recorded events through SLOs, without Kafka."""
    from stream.replay import run

    try:
        settings = load_part(options, REPLAY_NAMES)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    raise_again()
    return run(
        slos, inputs, output, allowed_lateness=settings.allowed_lateness, max_series=settings.max_series
    )


app.command("replay")(_with_settings(_replay, REPLAY_NAMES))


@app.command()
def validate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="SLO files or directories.", show_default=False)
    ],
    report_format: FormatOption = Format.text,
) -> int:
    """Check SLO files and list every problem with its place."""
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
        typer.echo(render_text(report))
    return 1 if report.problems else 0


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
    seed: Annotated[int, typer.Option(help="Another one gives other traffic, the same one the same.")] = 1,
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
    seed: Annotated[int, typer.Option(help="Another one gives other traffic, the same one the same.")] = 1,
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
        report=_say,
    )


app.command("load")(_with_settings(_load, LOAD_NAMES))


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
    serve(None if data_dir is None else Path(data_dir), port, _say)
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
    columns = [Column("Setting", no_wrap=True), Column("Value", overflow="fold"), Column("Source")]
    with_help = console.width >= _LEAST_WITH_HELP
    table = Table(*columns, *(["What it does"] if with_help else []), box=box.SIMPLE)
    for row in rows:
        cells = [row.setting.option or row.setting.variable, row.value, row.source, row.setting.help]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


app.command("settings")(_with_settings(_settings))
