"""A worker process to measure: started as a user would, seen through /metrics, /readyz and /proc."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.producing import PARTITIONS

_CLOCK_HZ = os.sysconf("SC_CLK_TCK")
_STOP_LIMIT_S = 60.0


class Worker:
    """A context manager: entering starts the process, leaving ends it, however far it has come.

    ``module``: what to run in place of the product, to look into it (``benchmarks.probed``).
    """

    def __init__(
        self,
        broker: str,
        app: str,
        slos: Path,
        log: Path,
        options: Sequence[str] = (),
        *,
        module: str = "stream",
    ) -> None:
        self.log = log
        self._command = [sys.executable, "-m", module, "worker", "--brokers", broker, "--slos", str(slos)]
        self._command += ["--app", app, "--partitions", str(PARTITIONS), *options]
        self._port = _free_port()
        self._command += ["--metrics-port", str(self._port), "--metrics-host", "127.0.0.1"]

    def __enter__(self) -> Worker:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")}
        with self.log.open("ab") as output:
            self.started_s = time.perf_counter()
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, env=environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, and wait: everything is checkpointed, the group left."""
        self._process.terminate()
        code = self._process.wait(_STOP_LIMIT_S)
        if code != 0:
            raise RuntimeError(f"the worker ended with {code}:\n{self._said()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def check(self) -> None:
        """Raises RuntimeError when the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the worker ended with {self._process.returncode}:\n{self._said()}")

    def _said(self) -> str:
        return self.log.read_text()[-2000:]

    def events(self) -> int:
        """Events that it has read and understood."""
        return int(self.metrics().get("burngate_events_total", 0))

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels; none before the port is open."""
        answer = self._get("/metrics")
        lines = answer[1].splitlines() if answer else []
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def readiness(self) -> tuple[int, str] | None:
        """(status, text) of /readyz; None before the port is open."""
        return self._get("/readyz")

    def _get(self, path: str) -> tuple[int, str] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return None
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """User and system time of all threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_HZ

    def memory_mb(self) -> float:
        return self._status("VmRSS:")

    def peak_mb(self) -> float:
        return self._status("VmHWM:")

    def _status(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(name)[1].split()[0]) / 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
