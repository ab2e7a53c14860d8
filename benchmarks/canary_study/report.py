"""The study's table, for a terminal and for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from benchmarks.canary_study.rows import Row
from benchmarks.canary_study.running import Found

MARKER = "canary-study"


def table(results: Sequence[tuple[Row, Found]], *, markdown: bool = False) -> Table:
    """Shares of rollouts that fail, and the median minute in which they do."""
    found = Table(
        "what",
        "sequential: fails",
        "minutes",
        "passes",
        "fixed, each minute",
        "minutes",
        "Kayenta, each minute",
        "minutes",
        "fixed, once at the end",
        "must",
        "met",
        box=box.MARKDOWN if markdown else box.HEAVY_HEAD,
    )
    group = None
    for row, one in results:
        if row.group != group:
            group = row.group
            found.add_row(f"**{group}**" if markdown else f"[bold]{group}[/]")
        found.add_row(
            row.what,
            _share(one.sequential),
            _minutes(one.sequential),
            _share(one.passed),
            _share(one.fixed),
            _minutes(one.fixed),
            _share(one.kayenta),
            _minutes(one.kayenta),
            _share(one.at_the_end),
            _must(row),
            _met(row, one),
        )
    return found


def missed(results: Sequence[tuple[Row, Found]]) -> list[str]:
    return [f"{row.group}: {row.what}" for row, one in results if _met(row, one) == "no"]


def _share(minutes: Sequence[int] | object) -> str:
    return f"{100 * Found.share(minutes):.1f} %"  # type: ignore[arg-type]


def _minutes(minutes: object) -> str:
    median = Found.median(minutes)  # type: ignore[arg-type]
    return "–" if median is None else f"{median:.0f}"


def _must(row: Row) -> str:
    if row.at_most is not None:
        return f"≤ {100 * row.at_most:.0f} %"
    return f"≥ {100 * row.at_least:.0f} %" if row.at_least is not None else ""


def _met(row: Row, one: Found) -> str:
    share = Found.share(one.sequential)
    if row.at_most is not None:
        return "yes" if share <= row.at_most else "no"
    if row.at_least is not None:
        return "yes" if share >= row.at_least else "no"
    return ""


def write_into(page: Path, text: str) -> None:
    """Replaces what stands between the page's markers."""
    before, after = f"<!-- {MARKER} -->\n", f"<!-- /{MARKER} -->"
    whole = page.read_text(encoding="utf-8")
    head, rest = whole.split(before, 1)
    _, tail = rest.split(after, 1)
    page.write_text(f"{head}{before}{text.strip()}\n{after}{tail}", encoding="utf-8")
