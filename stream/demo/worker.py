"""A worker as a child process that does not outlive its parent (see :mod:`stream.kafka.guard`)."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType

from stream.errors import StalledError

_HOST = "127.0.0.1"
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0
_POLL_S = 0.1
_LOG_TAIL_LINES = 12


class WorkerError(StalledError):
    """The worker ended, or did not start; the text has the end of its log."""


class WorkerProcess:
    """``burngate worker`` with the options given and a free metrics port. A context manager.

    Entering starts it and waits until it is ready; leaving stops it in an orderly way. Its log goes to a file
    that is removed afterwards, unless the worker failed. Raises :class:`WorkerError`.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._directory = Path(tempfile.mkdtemp(prefix="burngate-demo-"))
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._port = _free_port()
        self._failed = False

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would look."""
        return f"http://{_HOST}:{self._port}/metrics"

    @property
    def log_path(self) -> Path:
        """What the worker says."""
        return self._directory / "worker.log"

    def check(self) -> None:
        """Raise :class:`WorkerError` if the worker has ended."""
        assert self._guard is not None, "the worker was not started"
        status = self._guard.poll()
        if status is not None:
            raise self._failure(f"the worker ended with status {status}")

    def __enter__(self) -> WorkerProcess:
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        worker = [sys.executable, "-P", "-m", "stream", "worker", *self._options]
        worker += ["--metrics-port", str(self._port), "--metrics-host", _HOST]
        guard = str(files("stream.kafka").joinpath("guard.py"))
        # The demo's worker has the demo's settings, whatever those of the user's workers are.
        environment = {name: text for name, text in os.environ.items() if not name.startswith("BURNGATE_")}
        with self.log_path.open("wb") as log:
            self._guard = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-I", "-S", guard, str(self._directory), *worker],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                # Ctrl-C on the terminal is for us: the worker goes when we say so.
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self._pid = int(self._guard.stdout.readline() or b"0")

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_LIMIT_S
        while not _is_ready(self._port):
            self.check()
            if time.monotonic() > deadline_s:
                raise self._failure(f"the worker was not ready after {_START_LIMIT_S:g} s")
            time.sleep(_POLL_S)

    def _stop(self) -> None:
        if (guard := self._guard) is not None:
            assert guard.stdin is not None
            assert guard.stdout is not None
            if guard.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGTERM)
                try:
                    guard.wait(_STOP_LIMIT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(guard.pid, signal.SIGKILL)
                    guard.wait()
            guard.stdin.close()
            guard.stdout.close()
            self._guard = None
        if not self._failed:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _failure(self, what: str) -> WorkerError:
        self._failed = True
        log = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = [f"  {line}" for line in log[-_LOG_TAIL_LINES:]]
        return WorkerError("\n".join([f"{what}; the end of {self.log_path}:", *tail]))


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
