"""The live producer (``benchmarks.live``) as a child process."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any


class LiveProducer:
    """A context manager: entering starts it, leaving stops it."""

    def __init__(self, broker: str, topic: str, rate: int, behind_s: float = 0.0, seed: int = 1) -> None:
        self._command = [sys.executable, "-m", "benchmarks.live", broker, topic]
        self._command += [str(rate), str(behind_s), str(seed)]

    def __enter__(self) -> LiveProducer:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def wait_until_level(self) -> int:
        """Until it has reached the present; how many events it has sent."""
        return int(self._line()["level"])

    def stop(self) -> dict[str, Any]:
        """What it prints at its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        said = self._line()
        while "sent" not in said:
            said = self._line()
        self._process.wait(60)
        return said

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the producer ended")
        found: dict[str, Any] = json.loads(line)
        return found
