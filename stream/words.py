"""Numbers with their nouns."""

from __future__ import annotations


def counted(how_many: int, what: str, plural: str | None = None) -> str:
    """``1 alert``, ``12,034 alerts``, ``2 analyses``."""
    return f"{how_many:,} {what if how_many == 1 else plural or what + 's'}"
