"""Numbers with their nouns, and text of others as it may be printed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

_LONGEST_GUESS = 60


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


def suggest(text: str, allowed: Sequence[str]) -> str:
    """``did you mean …?``, or nothing."""
    if len(text) > _LONGEST_GUESS:
        return ""
    lower = {word.lower(): word for word in reversed(allowed)}
    close = difflib.get_close_matches(text.lower(), lower, n=1)
    return f"did you mean {lower[close[0]]}?" if close else ""


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def lasting(seconds: float) -> str:
    """``40 d``, ``55 min``, ``12 s``: in the largest unit of which there are two or more."""
    return next(
        (f"{seconds / of:.0f} {name}" for name, of in _UNITS if seconds >= 2 * of), f"{seconds:.0f} s"
    )
