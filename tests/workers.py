"""Worker processes for tests: started as a user would, ended by their own process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class WorkerProcess:
    """``burngate worker`` in a process of its own, or another ``program``; its log goes to a file."""

    def __init__(
        self,
        brokers: str,
        app: str,
        slos: Path,
        log: Path,
        options: Sequence[str] = (),
        program: Sequence[str] = ("-m", "stream"),
    ) -> None:
        self.log = log
        command = [sys.executable, *program, "worker", "--brokers", brokers, "--slos", str(slos)]
        command += ["--app", app, "--topic-prefix", f"{app}-", "--metrics-port", "0", *options]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=log.parent, env=environment
            )

    def kill(self) -> None:
        """SIGKILL: nothing is checkpointed, nobody leaves the group."""
        self.process.kill()
        self.process.wait()

    def stop(self, limit_s: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the worker did not stop within {limit_s} s:\n{self.log.read_text()}"
            ) from None
