"""What Ctrl-C does while there is nothing to tidy up: it ends the process at once, and says nothing.

Imports take a good part of a short command's time, and a ``KeyboardInterrupt`` in the midst of one is a
traceback. So :mod:`stream.__main__` begins with :func:`end_at_once`, and a command that has something to tidy
up calls :func:`raise_again` when its imports are done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


class _TerminatedError(BaseException):
    """SIGTERM came."""


@contextmanager
def tidied_up() -> Iterator[None]:
    """SIGTERM unwinds what is under way, as Ctrl-C does, and then ends the process as it would have."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _unwind)
    try:
        yield
    except _TerminatedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that would end the process wait until this is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unwind(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the tidying up
    raise _TerminatedError


def _end(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)
