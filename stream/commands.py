"""What every command of ``burngate`` has in common: how it ends, how faults are told, its settings."""

from __future__ import annotations

import errno
import functools
import inspect
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, Optional

import typer
import typer.core

from stream.errors import UserError
from stream.interrupts import INTERRUPTED, end_at_once
from stream.settings import definitions
from stream.words import printable_lines


class Commands(typer.core.TyperGroup):
    """Ends with what a command returns, and shows the users' faults as text, never as a traceback."""

    def invoke(self, ctx: Any) -> NoReturn:
        status, fault = 0, None
        try:
            try:
                status = super().invoke(ctx)
            except UserError as error:
                status, fault = error.exit_code, str(error)
            except Exception as error:
                usage: Any = error
                if hasattr(usage, "format_message"):  # a fault of usage, of whichever click typer brings
                    usage.message = printable_lines(_plain(str(usage.message)))
                raise
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output, such as head, has seen enough; nothing may be left to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if fault is not None:
            say(fault)
        raise SystemExit(status)


def _plain(message: str) -> str:
    """What typer says of a value, without the words of the library that it asks."""
    text = re.sub(r"^Value error, ", "", message)
    text = re.sub(r"^Input should be a valid (\w+).*", r"must be a valid \1", text)
    return re.sub(r"^Input should be ", "must be ", text)


def run_to_the_end(app: typer.Typer) -> None:
    """Run the command line and exit."""
    _open_what_is_closed()
    # numpy's, of numbers without a result: tests fail of them, and a user can do nothing about them.
    warnings.filterwarnings(
        "ignore", category=RuntimeWarning, message=r".*(encountered in|empty slice|Degrees of)"
    )
    for stream in (sys.stdout, sys.stderr):  # what an old encoding lacks is shown as a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
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
        say(f"cannot write the output: {error.strerror}")
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


def say(line: str) -> None:
    typer.echo(printable_lines(line), err=True)


def with_settings(command: Callable[..., int], only: Sequence[str] | None = None) -> Callable[..., int]:
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
