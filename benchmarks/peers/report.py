"""The rows as a table for the terminal, as one for the documentation, and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.peers.measure import Count, Row

_COLUMNS = (
    "engine",
    "thousand events/s",
    "CPU s per million",
    "start-up CPU s",
    "peak MB",
    "lost while catching up",
    "counted after SIGKILL",
)


def table(rows: Sequence[Row]) -> Table:
    made = Table(*_COLUMNS, title="The same job, one worker process each")
    for row in rows:
        made.add_row(*_cells(row))
    made.caption = "\n".join(_remarks(rows))
    return made


def markdown(rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join([*lines, "", machine(), *_remarks(rows)])


def write(path: Path, rows: Sequence[Row], events: int, uneven_events: int) -> None:
    found = {
        "machine": machine(),
        "events": events,
        "uneven_events": uneven_events,
        "peers": [row.as_json() for row in rows],
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """What it ran on, in a line."""
    cpu = ""
    if (info := Path("/proc/cpuinfo")).exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((f" ({line.partition(':')[2].strip()})" for line in lines if "model name" in line), "")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores{cpu}, {memory_gb:.0f} GB, {system}, Python {platform.python_version()}"


def _cells(row: Row) -> list[str]:
    speeds = row.speeds
    return [
        f"{row.title} {row.version}".strip(),
        _spread([one.events_per_s / 1e3 for one in speeds], 1 if _slow(row) else 0),
        _spread([one.cpu_s_per_million for one in speeds], 0 if _slow(row) else 2),
        _spread([one.start_cpu_seconds for one in speeds], 1),
        f"{max(one.peak_mb for one in speeds):,.0f}" if speeds else "–",
        _lost(row.caught_up),
        _counted(row.crashed),
    ]


def _slow(row: Row) -> bool:
    return bool(row.speeds) and min(one.events_per_s for one in row.speeds) < 10_000


def _spread(values: Sequence[float], digits: int) -> str:
    """The median, and the extremes if there is more than one value."""
    if not values:
        return "–"
    text = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def _lost(count: Count | None) -> str:
    return "–" if count is None else f"{count.lost:,} of {count.expected:,}"


def _counted(count: Count | None) -> str:
    if count is None:
        return "–"
    wrong = [f"{count.lost:,} lost"] * bool(count.lost) + [f"{count.doubled:,} twice"] * bool(count.doubled)
    return f"{count.counted:,} of {count.expected:,}" + (f" ({', '.join(wrong)})" if wrong else "")


def _remarks(rows: Sequence[Row]) -> list[str]:
    return [f"{row.title}: {remark}" for row in rows for remark in row.remarks]
