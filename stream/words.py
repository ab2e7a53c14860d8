"""Numbers with their nouns, and text of others as it may be printed."""

from __future__ import annotations

import json


def counted(how_many: int, what: str, plural: str | None = None) -> str:
    """``1 alert``, ``12,034 alerts``, ``2 analyses``."""
    return f"{how_many:,} {what if how_many == 1 else plural or what + 's'}"


def printable(text: object) -> str:
    """Names, ids, paths as they may reach a log or a terminal: control characters, line ends, marks that turn
    the direction of writing and halves of surrogate pairs are escaped, and cannot colour, move or forge
    anything."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in shown)


def printable_lines(text: object) -> str:
    """The same of whole lines, whose ends stay."""
    return "\n".join(map(printable, str(text).split("\n")))
