"""The plain view: a line for each thing that happens, for pipes, logs and terminals that can do no more."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from stream.console import text
from stream.console.board import Board, Happening, Kind
from stream.console.progress import Progress
from stream.words import counted, printable_lines

_INDENT = " " * 20


def say(console: Console, *lines: Text | str) -> None:
    """Print lines as they are: not wrapped, not interpreted, and in ASCII where there is nothing else."""
    for line in lines:
        shown = line.copy() if isinstance(line, Text) else Text(printable_lines(line))
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


class Chronicle:
    """The happenings of a board in order of event time, each told once.

    ``patient``: one is told when all objectives are decided up to it, at most a minute of event time later;
    else as soon as it is known, and what another partition decides later may be of an earlier time.
    """

    def __init__(self, board: Board, start_ms: int, *, patient: bool) -> None:
        self._board = board
        self._patient = patient
        self._told = len(board.happenings)
        self._waiting: list[Happening] = []
        self.at_ms = start_ms
        """Event time of the newest line."""

    def news(self, *, everything: bool = False) -> list[Happening]:
        """What can be told by now; ``everything``: for there will be no more."""
        self._waiting += self._board.happenings[self._told :]
        self._told = len(self._board.happenings)
        decided_ms = self._board.decided_ms
        self._waiting.sort(key=lambda one: one.at_ms)
        if everything or not self._patient:
            ready = len(self._waiting)
        else:
            ready = sum(decided_ms is not None and one.at_ms <= decided_ms for one in self._waiting)
        news, self._waiting = self._waiting[:ready], self._waiting[ready:]
        self.at_ms = max([self.at_ms, *(one.at_ms for one in news), decided_ms or 0])
        return news


def status_line(board: Board, progress: Progress, at_ms: int) -> str:
    """How far things are, in one line; ``at_ms``: up to when lines have been told."""
    parts = [
        f"{text.stopwatch(progress.elapsed_s)} on the clock",
        f"{text.count(progress.events_per_s)} events/s",
        f"{text.count(progress.sent)} sent up to {text.clock(progress.told_ms)}",
    ]
    if board.dead_letters:
        parts.append(counted(board.dead_letters.total(), "dead letter"))
    rows = board.objectives.values()
    firing = sum(len(row.firing) for row in rows)
    if firing:
        parts.append(f"{counted(firing, 'alert')} firing")
    if board.on_trial:
        parts.append(f"{', '.join(board.on_trial)} on trial")
    if rows:
        least = min(rows, key=lambda row: row.remaining_pct)
        parts.append(f"least budget: {least.name} {text.percent(least.remaining_pct)}")
    return f"{text.clock(at_ms)}  {'status':<8}  {', '.join(parts)}"
