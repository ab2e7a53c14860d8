"""The plain view: a line for each thing that happens, for pipes, logs and terminals that can do no more."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from stream.console import text
from stream.console.board import Board, Happening, Kind
from stream.console.progress import Progress

_INDENT = " " * 20


def say(console: Console, *lines: Text | str) -> None:
    """Print lines as they are: not wrapped, not interpreted, and in ASCII where there is nothing else."""
    for line in lines:
        shown = line.copy() if isinstance(line, Text) else Text(line)
        if console.options.ascii_only:
            shown.plain = text.to_ascii(shown.plain)
        console.print(shown, soft_wrap=True)


def happening_lines(happening: Happening) -> list[str]:
    """The line of a happening, and one for each of its details."""
    word = "" if happening.kind is Kind.NOTE else happening.kind.upper()
    return [
        f"{text.clock(happening.at_ms)}  {word:<8}  {happening.text}",
        *(_INDENT + detail for detail in happening.details),
    ]


def status_line(board: Board, progress: Progress) -> str:
    """How far things are, in one line."""
    parts = [
        f"{text.stopwatch(progress.elapsed_s)} on the clock",
        f"{text.count(progress.events_per_s)} events/s",
        f"{text.count(progress.sent)} sent",
    ]
    if board.dead_letters:
        parts.append(text.number(board.dead_letters.total(), "dead letter"))
    rows = board.objectives.values()
    firing = sum(len(row.firing) for row in rows)
    if firing:
        parts.append(f"{text.number(firing, 'alert')} firing")
    if rows:
        least = min(rows, key=lambda row: row.remaining_pct)
        parts.append(f"least budget: {least.name} {text.percent(least.remaining_pct)}")
    return f"{text.clock(progress.told_ms)}  {'status':<8}  {', '.join(parts)}"
