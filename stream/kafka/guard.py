"""Runs one program and outlives its own parent just long enough to end it.

    python guard.py DIRECTORY_TO_REMOVE_OR_EMPTY PROGRAM [ARGUMENT …]

The parent holds the other end of standard input. When it closes that, or dies in whatever way, the program
gets SIGTERM, and SIGKILL if it does not go; then the directory, which is nobody's any more, is removed. The
program's process id is the one line on standard output. Should this process be killed itself, Linux ends the
program with it.

Run as a file, without the package: it has to start in no time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType

_GRACE_S = 20.0
_PR_SET_PDEATHSIG = 1


def main(directory: str, command: list[str]) -> int:
    """Run ``command`` to its end; its exit status, 128 + signal if a signal ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_me() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    child = subprocess.Popen(  # noqa: S603 - the caller's command
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=die_with_me,  # noqa: PLW1509 - this process has no other thread yet
    )

    def on_sigterm(_number: int, _frame: FrameType | None) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, on_sigterm)
    # A dead parent cannot read it.
    with contextlib.suppress(OSError):
        os.write(1, f"{child.pid}\n".encode())
    abandoned = threading.Event()
    threading.Thread(target=_end_with_parent, args=[child, abandoned], daemon=True).start()
    status = child.wait()
    if abandoned.is_set() and directory:
        shutil.rmtree(directory, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _end_with_parent(child: subprocess.Popen[bytes], abandoned: threading.Event) -> None:
    while os.read(0, 1):
        pass
    abandoned.set()
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    exit_status = main(sys.argv[1], sys.argv[2:])
    # Not sys.exit: the thread above may still sit in a read.
    os._exit(exit_status)
