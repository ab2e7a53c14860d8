"""What Ctrl-C does while there is nothing to tidy up: it ends the process at once, and says nothing.

Imports take a good part of a short command's time, and a ``KeyboardInterrupt`` in the midst of one is a
traceback. So :mod:`stream.__main__` begins with :func:`end_at_once`, and a command that has something to tidy
up calls :func:`raise_again` when its imports are done.
"""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""What the process ends with: 128 and the signal's number, as shells have it."""


def end_at_once() -> None:
    """From now on SIGINT ends the process, unless whoever started it has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """From now on SIGINT raises ``KeyboardInterrupt``."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)
