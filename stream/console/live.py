"""The live view: one screen, drawn anew a few times a second from a board.

What does not fit is left out, the least important first: a narrow terminal loses the sparkline and the bar
before the numbers, a low one the older happenings, then the services (one line says what fires and what is
frozen), then the objectives that are well. Colours only repeat what words and marks say.
"""

from __future__ import annotations

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from stream.console import text
from stream.console.board import HISTORY, Board, Happening, Kind, Objective, Service
from stream.console.glyphs import ASCII, UNICODE, Glyphs
from stream.console.progress import Progress
from stream.words import counted

_WIDE, _MEDIUM, _NARROW, _TIGHT = 112, 92, 66, 50
_GAP = 2
_LEAST_HAPPENINGS = 3
_TABLE_HEAD = 2
_ALL = 1_000_000
_STYLES = {
    Kind.FIRING: "bold red",
    Kind.RESOLVED: "green",
    Kind.FROZEN: "bold cyan",
    Kind.OPEN: "cyan",
    Kind.ROLLBACK: "bold magenta",
    Kind.TRIAL: "yellow",
    Kind.FAILED: "bold red",
    Kind.PASSED: "green",
    Kind.PAUSED: "yellow",
    Kind.NOTE: "dim",
}
_TRIALS = {"running": ("on trial", "yellow"), "passed": ("passed", "green"), "paused": ("paused", "yellow")}
"""Of the states of a rollout, those that are to be seen beside the gate; a failure shows as a rollback."""
_SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


class LiveView:
    """A renderable; reads its board and progress anew each time it is drawn."""

    def __init__(self, board: Board, progress: Progress) -> None:
        self.board = board
        self.progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyphs = ASCII if options.ascii_only else UNICODE
        width, height = options.max_width, options.height or console.height
        free = options.reset_height()
        header = console.render_lines(_header(self.progress, self.board, width, glyphs), free)

        def objectives(most: int) -> list[list[Segment]]:
            return console.render_lines(_objectives(self.board, width, glyphs, most), free)

        services = console.render_lines(_services(self.board, width), free)
        blocks = [[*header, []], [*objectives(_ALL), []], [*services, []]]
        if sum(map(len, blocks)) > height - _LEAST_HAPPENINGS:
            header += console.render_lines(_essentials(self.board, glyphs), free)
            room = height - len(header) - _TABLE_HEAD - 3  # two blank lines and one happening
            blocks = [[*header, []], [*objectives(room), []]] if room > 0 else [header]
        lines: list[list[Segment]] = [line for block in blocks for line in block]
        told = _happenings(self.board, glyphs, room=height - len(lines))
        lines += console.render_lines(Padding(Group(*told), (0, 1)), free)
        for line in lines[:height]:
            for part, style, _ in line:
                yield Segment(text.to_ascii(part) if options.ascii_only else part, style)
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


def _header(progress: Progress, board: Board, width: int, glyphs: Glyphs) -> RenderableType:
    told = text.clock(progress.told_ms)
    decided = text.clock(board.event_ms) if board.event_ms is not None else "–"
    slower = f" ({progress.speed:.3g}× slower)" if progress.speed != 1 else ""
    facts = [
        ("event time ", f"{told} UTC"),
        ("", f"{text.count(progress.events_per_s)} events/s"),
        ("sent ", text.count(progress.sent)),
        ("clock ", text.stopwatch(progress.elapsed_s) + slower),
        ("decided up to ", decided),
    ]
    if board.dead_letters:
        facts.insert(3, ("dead letters ", text.count(board.dead_letters.total())))
    line = Text(no_wrap=True)
    for name, value in facts:
        separator = f" {glyphs.dot} " if line else ""
        if line.cell_len + len(separator + name + value) > width - 2:
            break
        line.append(separator + name, "dim").append(value)
    filled, empty = glyphs.bar(100 * progress.fraction, max(1, width - 2))
    bar = Text(filled, "blue", no_wrap=True).append(empty, "dim")
    title = Text.assemble(
        (" burngate ", "bold reverse"), "  ", progress.title, no_wrap=True, overflow="ellipsis"
    )
    return Padding(Group(title, line, bar), (0, 1))


def _essentials(board: Board, glyphs: Glyphs) -> RenderableType:
    """What must not be missed, in one line: what fires, what is frozen, and what is on trial."""
    firing = sum(len(row.firing) for row in board.objectives.values())
    frozen = [row.name for row in board.services.values() if row.frozen_since_ms is not None]
    parts = []
    if firing:
        parts.append((f"{glyphs.marks['firing']} {firing} FIRING", "bold red"))
    if frozen:
        parts.append((f"{glyphs.marks['frozen']} FROZEN {', '.join(frozen)}", "bold cyan"))
    if board.on_trial:
        parts.append((f"{glyphs.marks['trial']} ON TRIAL {', '.join(board.on_trial)}", "yellow"))
    line = Text("  ", no_wrap=True, overflow="ellipsis").join(Text(part, style) for part, style in parts)
    return Padding(line if line else Text("nothing fires, nothing is frozen", "dim"), (0, 1))


def _objectives(board: Board, width: int, glyphs: Glyphs, most: int) -> RenderableType:
    """At most so many rows; what burns and what has least budget left stays."""
    if not board.objectives:
        return Padding(Text("waiting for the first budgets", "dim"), (1, 1))
    rows = list(board.objectives.values())
    if len(rows) > most:
        worst = sorted(rows, key=lambda row: (not row.firing, row.least_left))[: max(1, most - 1)]
        kept = set(map(id, worst))
        rows = [row for row in rows if id(row) in kept]
    left_out = len(board.objectives) - len(rows)
    table = Padding(_objective_table(board, rows, width, glyphs), (0, 1))
    if not left_out or most < 2:
        return table
    more = Text(f"and {counted(left_out, 'objective')} more", "dim", no_wrap=True, overflow="ellipsis")
    return Group(table, Padding(more, (0, 1)))


def _objective_table(board: Board, rows: list[Objective], width: int, glyphs: Glyphs) -> Table:
    windows = board.windows()
    shown = windows if width >= _NARROW else windows[:1]
    bar_width = 20 if width >= _WIDE else 10 if width >= _MEDIUM else 6 if width >= _NARROW else 0
    longest = max(len(row.name) for row in rows)
    budget_width, burn_width, alert_width = max(11, bar_width + 8), 8, 8
    # Where names would have to be cut, the numbers first move together.
    is_tight = width < _NARROW and longest + budget_width + burn_width + alert_width + 3 * _GAP > width - 2
    if is_tight:
        budget_width, burn_width = 7, 5
    columns = [
        Column("objective", overflow="ellipsis", no_wrap=True, ratio=1),
        _numbers("target", 7),
        Column("errors", no_wrap=True),
        _numbers("left" if is_tight else "budget left", budget_width),
        *(_numbers(window if is_tight else f"burn {window}", burn_width) for window in shown),
        Column("alert", no_wrap=True, width=alert_width),
    ]
    has_target = width >= _MEDIUM
    taken = longest + sum((column.width or 0) + _GAP for column in columns) - (0 if has_target else 7 + _GAP)
    spark_width = min(HISTORY, width - 2 - taken)
    has_spark = spark_width >= len("errors")
    table = _table([one for one in columns if _is_shown(one, target=has_target, errors=has_spark)])
    for row in rows:
        cells: list[RenderableType] = [Text(row.name)]
        if has_target:
            cells.append(Text(f"{row.target_pct:g} %", "dim"))
        if has_spark:
            cells.append(_sparkline(row, spark_width, glyphs))
        cells.append(_budget(row, bar_width, glyphs))
        cells += [_burn(row, window) for window in shown]
        cells.append(Text(row.severity or "", _SEVERITY_STYLES.get(row.severity or "", "bold")))
        table.add_row(*cells)
    return table


def _numbers(header: str, width: int) -> Column:
    return Column(header, justify="right", no_wrap=True, width=width)


def _is_shown(column: Column, **has: bool) -> bool:
    return has.get(str(column.header), True)


def _table(columns: list[Column]) -> Table:
    return Table(
        *columns,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        expand=True,
        header_style="dim",
        border_style="dim",
    )


def _sparkline(row: Objective, width: int, glyphs: Glyphs) -> Text:
    line = Text()
    for cell, burn in glyphs.sparkline(row.history, width):
        line.append(cell, _burn_style(burn))
    return line


def _budget(row: Objective, width: int, glyphs: Glyphs) -> Text:
    left = row.remaining_pct
    if left is None:
        return Text(text.percent(left), "dim")
    style = "green" if left >= 50 else "yellow" if left >= 25 else "red"
    filled, empty = glyphs.bar(left, width)
    return Text.assemble(
        (filled, style), (empty, "dim"), (f"{' ' if width else ''}{text.percent(left):>7}", style)
    )


def _burn(row: Objective, window: str) -> Text:
    if window not in row.burn:
        return Text("")
    rate = row.burn[window]
    return Text(text.burn(rate), "bold red reverse" if row.is_firing(window) else _burn_style(rate))


def _burn_style(rate: float | None) -> str:
    if rate is None:
        return "dim"
    return "green" if rate <= 1 else "yellow" if rate <= 6 else "red"


def _services(board: Board, width: int) -> RenderableType:
    if not board.services:
        return Text("")
    columns = [
        Column("service", overflow="ellipsis", no_wrap=True, ratio=1),
        Column("requests/s", justify="right", no_wrap=True),
        Column("p50", justify="right", no_wrap=True),
        Column("p95", justify="right", no_wrap=True),
        Column("p99", justify="right", no_wrap=True),
        Column("deploys", no_wrap=True, overflow="ellipsis", ratio=2),
    ]
    hidden = slice(1, 4 if width < _TIGHT else 3 if width < _NARROW else 1)
    del columns[hidden]
    table = _table(columns)
    for row in board.services.values():
        latencies = [Text(text.latency(ms)) for ms in (row.p50_ms, row.p95_ms, row.p99_ms)]
        cells = [Text(row.name), Text(f"{row.requests_per_s:.1f}"), *latencies, _gate(row)]
        del cells[hidden]
        table.add_row(*cells)
    return Padding(table, (0, 1))


def _gate(row: Service) -> Text:
    gate = Text("open", "green")
    if row.frozen_since_ms is not None:
        gate = Text(f"FROZEN since {text.clock(row.frozen_since_ms)}", "bold cyan")
    if row.rollback is not None:
        gate.append(f"  rolled back {row.rollback['version'] or ''}".rstrip(), "magenta")
    if row.rollout is not None and (word := _TRIALS.get(row.rollout["state"])):
        gate.append(f"  {word[0]} {row.rollout['version'] or ''}".rstrip(), word[1])
    return gate


def _happenings(board: Board, glyphs: Glyphs, room: int) -> list[Text]:
    """As many lines as there is room for: the newest happenings, details only where all of them fit."""
    if room <= 0:
        return []
    told = sorted(board.happenings, key=lambda one: one.at_ms)
    lines = [_happening(happening, glyphs) for happening in told]
    if sum(map(len, lines)) > room:
        lines = [[head] for head, *_ in lines[:-1]] + [lines[-1][:room]]
    return [line for block in lines for line in block][-room:]


def _happening(happening: Happening, glyphs: Glyphs) -> list[Text]:
    """The line of a happening, then its details."""
    style = _STYLES[happening.kind]
    head = Text(f"{text.clock(happening.at_ms)}  ", "", no_wrap=True, overflow="ellipsis")
    head.stylize("dim")
    word = "" if happening.kind is Kind.NOTE else happening.kind.upper()
    head.append(f"{glyphs.marks[happening.kind]} {word:<8}  ", style)
    head.append(happening.text, "dim" if happening.kind is Kind.NOTE else "")
    indent = " " * head.plain.index(happening.text)
    return [
        head,
        *(Text(indent + detail, "dim", no_wrap=True, overflow="ellipsis") for detail in happening.details),
    ]
