"""A job's process and all its children: what they use, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_HZ = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.1
_STOP_LIMIT_S = 30.0
_LOG_LINES, _LOG_CHARACTERS = 8, 800


class JobProcess:
    """Starts a command; a context manager that leaves none of its processes behind."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                cwd=log.parent,
            )
        self._log = log
        self.usage = Usage(self._process.pid)

    def check(self) -> None:
        """Raises RuntimeError with the end of its log if it has ended."""
        if (status := self._process.poll()) is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            said = [line.strip() for line in lines if not line.startswith("\t")]  # Java's frames
            raise RuntimeError(f"it ended with {status}: {' / '.join(said[-_LOG_LINES:])[:_LOG_CHARACTERS]}")

    def kill(self) -> None:
        """SIGKILL, all at once, as a crash of the machine would."""
        self.usage.stop()
        for pid in tree(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not go."""
        self.usage.stop()
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_LIMIT_S)
                return
        self.kill()

    def __enter__(self) -> JobProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Usage:
    """Samples a process tree's CPU time and memory until it is stopped."""

    def __init__(self, root: int) -> None:
        self._root = root
        self.began_s = time.time()
        self._at_s: list[float] = []
        self._cpu_s: list[float] = []
        self.peak_mb = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def cpu_s_at(self, at_s: float) -> float:
        """CPU seconds used until then, by the samples around it."""
        return interpolated(self._at_s, self._cpu_s, at_s)

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_S):
            pids = tree(self._root)
            self._at_s.append(time.time())
            # A child that has ended is in its parent's time; the sum never falls.
            self._cpu_s.append(max(sum(map(_cpu_s, pids)), self._cpu_s[-1] if self._cpu_s else 0.0))
            self.peak_mb = max(self.peak_mb, sum(map(_resident_mb, pids)))


def interpolated(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """``y`` at ``x`` on the line through the points; the nearest one's outside of them."""
    place = bisect_left(xs, x)
    if place == 0 or place == len(xs):
        return ys[min(place, len(xs) - 1)]
    part = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
    return ys[place - 1] + part * (ys[place] - ys[place - 1])


def tree(root: int) -> list[int]:
    """A process and its descendants, as of now."""
    found, at = [root], 0
    while at < len(found):
        with suppress(OSError):
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                with suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
        at += 1
    return found


def _cpu_s(pid: int) -> float:
    """User and system time of all its threads, and of the children that it has waited for."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _HZ
    return 0.0


def _resident_mb(pid: int) -> float:
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    return 0.0
