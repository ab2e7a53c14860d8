"""The C library's memory: what a worker frees should go back to the system, where others need it.

glibc keeps pages that lie between used ones, and an arena for every few threads. Elsewhere nothing of this is
there, and nothing is done.
"""

from __future__ import annotations

import ctypes
from typing import Any

_M_ARENA_MAX = -8


def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *arguments: 0


def use_one_arena() -> None:
    """At the start of a process: threads of Python seldom allocate at the same time."""
    _function("mallopt")(_M_ARENA_MAX, 1)


def return_free_memory() -> None:
    """After a restore, which frees as much as it keeps, and from time to time. Takes milliseconds: to be
    called in a thread."""
    _function("malloc_trim")(0)
