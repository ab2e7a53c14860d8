"""Giving memory back to the system where the C library keeps what was freed."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _trimming() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def return_free_memory() -> None:
    """Of glibc, which keeps pages that lie between used ones; a restore leaves many. Elsewhere nothing."""
    if (trim := _trimming()) is not None:
        trim(0)
