"""Numbers with their nouns."""

from __future__ import annotations


def counted(how_many: int, what: str) -> str:
    """``1 alert``, ``12,034 alerts``."""
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"
