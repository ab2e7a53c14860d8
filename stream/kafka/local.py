"""A real Apache Kafka on this machine: one process, broker and controller (KRaft), on loopback.

For the demo, the tests and for trying things out; nothing in it is replicated. It needs no Docker and no
installed Java (see :mod:`stream.kafka.jars`), answers three to five seconds after :meth:`LocalBroker.start`
and does not outlive the process that started it, however that ends (see :mod:`stream.kafka.guard`).
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import IO

from stream.errors import StalledError, UsageError, UserError
from stream.kafka.data_directory import HOST, META, SCRATCH, take, write_logging, write_properties
from stream.kafka.jars import class_path, find_java
from stream.kafka.probe import cluster_id

_START_LIMIT_S = 90.0
_STOP_LIMIT_S = 30.0
_POLL_S = 0.1
_ATTEMPTS = 8
_LOG_TAIL_LINES = 12
# Below the ports that systems give to outgoing connections (Linux 32768+, macOS 49152+): a client that keeps
# trying to reach a stopped broker on such a port can connect to itself and so occupy it.
_PORTS = range(20_000, 32_000)
_PORT_TAKEN = "Address already in use"
_JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.properties",
    # Compression libraries unpack themselves there; what a killed Kafka leaves goes at the next start.
    f"-Djava.io.tmpdir={SCRATCH}",
    "-XX:-UsePerfData",  # a file beyond our directory, which a killed Kafka would leave too
)


class BrokerError(UserError):
    """The local Kafka did not start; the text has the end of its log."""


class LocalBroker:
    """A Kafka broker as a child process. A context manager: entering starts it, leaving stops it.

    ``data_dir`` keeps the topics for the next start; without one, a temporary directory is used, and removed
    by :meth:`stop`. ``port`` 0 means a free one; it stays the same over :meth:`kill` and :meth:`restart`.
    ``report`` gets a line about anything that takes long.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        report: Callable[[str], object] = lambda line: None,
    ) -> None:
        if not 0 <= port < 1 << 16:
            raise UsageError(f"{port} is not a port: 0 (a free one) to 65535 is expected")
        self._port = port
        self._report = report
        self._temporary = data_dir is None
        self._directory = data_dir.resolve() if data_dir is not None else None
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def bootstrap(self) -> str:
        """``HOST:PORT`` for clients."""
        assert self._port, "the broker was never started"
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of Kafka itself, for those who want to slow it down or stop it from outside."""
        assert self._guard is not None, "the broker is not running"
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def log_path(self) -> Path:
        """Where Kafka's own warnings and errors go, start after start."""
        assert self._directory is not None, "the broker has no directory before its start"
        return self._directory / "kafka.log"

    def start(self) -> str:
        """Start Kafka and return :attr:`bootstrap` once it answers.

        Raises :class:`BrokerError` if it does not, ``MissingRuntimeError`` without Java or the jars,
        ``UsageError`` for a data directory that cannot be used.
        """
        assert not self.running, "the broker is running already"
        java = [str(find_java()), *_JVM, "-cp", class_path(self._report)]
        try:
            directory = self._take_directory()
            cluster = self._format(java, directory)
            for _ in range(_ATTEMPTS):
                if self._port and _is_taken(self._port):
                    raise BrokerError(f"port {self._port} is taken: choose another, or 0 for a free one")
                port = self._port or _free_port()
                if self._launch(java, directory, cluster, port):
                    self._port = port
                    return self.bootstrap
            raise BrokerError(f"every port tried was taken at once; {self._log_tail()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop Kafka in an orderly way. Temporary data are gone afterwards. Idempotent."""
        self._end(signal.SIGTERM)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._temporary and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End Kafka as a crash would (SIGKILL). Port and data stay for the next :meth:`start`."""
        self._end(signal.SIGKILL)

    def restart(self) -> str:
        """Stop Kafka, if it runs, and start it again on the same port with the same data."""
        self._end(signal.SIGTERM)
        return self.start()

    def wait(self) -> int:
        """Block until Kafka ends, for whatever reason; its exit status."""
        assert self._guard is not None, "the broker is not running"
        return self._guard.wait()

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_directory(self) -> Path:
        """The data directory, held against other brokers until :meth:`stop`."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="burngate-kafka-"))
        if self._lock is None:
            self._lock = take(self._directory)
        return self._directory

    def _format(self, java: list[str], directory: Path) -> str:
        """Prepare the data directory if it is new; the cluster's id."""
        shutil.rmtree(directory / SCRATCH, ignore_errors=True)
        (directory / SCRATCH).mkdir()
        meta = directory / META
        if not meta.is_file():
            write_logging(directory)
            write_properties(directory, port=1, controller_port=2)
            # A leading dash would be taken for an option.
            cluster = "b" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
            command = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
            with self.log_path.open("ab") as log:
                status = subprocess.run(  # noqa: S603 - our own command
                    [*command, "-t", cluster, "-c", "server.properties"],
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                ).returncode
            if status != 0 or not meta.is_file():
                raise BrokerError(f"the local Kafka cannot prepare its directory; {self._log_tail()}")
        pairs = (line.partition("=") for line in meta.read_text(encoding="utf-8").splitlines())
        return {key: value for key, _, value in pairs}["cluster.id"]

    def _launch(self, java: list[str], directory: Path, cluster: str, port: int) -> bool:
        """Start and wait until it answers; False if another program was quicker to take a port."""
        write_properties(directory, port, _free_port(but=port))
        guard = str(files("stream.kafka").joinpath("guard.py"))
        doomed = str(directory) if self._temporary else ""
        with self.log_path.open("ab") as log:
            logged_bytes = log.tell()
            self._guard = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-I", "-S", guard, doomed, *java, "kafka.Kafka", "server.properties"],
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C on the terminal is for us: Kafka goes when its clients have gone.
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self._pid = int(self._guard.stdout.readline() or b"0")
        deadline_s = time.monotonic() + _START_LIMIT_S
        while cluster_id(HOST, port) != cluster:
            if not self.running:
                self._end(signal.SIGKILL)
                with self.log_path.open("rb") as log:
                    log.seek(logged_bytes)
                    if _PORT_TAKEN.encode() in log.read():
                        return False
                raise BrokerError(f"the local Kafka ended at its start; {self._log_tail()}")
            if time.monotonic() > deadline_s:
                raise BrokerError(
                    f"no answer from the local Kafka in {_START_LIMIT_S:g} s; {self._log_tail()}"
                )
            time.sleep(_POLL_S)
        return True

    def _end(self, number: signal.Signals) -> None:
        """Send a signal to Kafka and wait until it is gone."""
        if (guard := self._guard) is None:
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        if guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)
            try:
                guard.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(guard.pid, signal.SIGKILL)
                guard.wait()
        guard.stdin.close()
        guard.stdout.close()
        self._guard, self._pid = None, 0

    def _log_tail(self) -> str:
        """The log's last lines and a file to read on in, which stays when a temporary directory goes."""
        path = self.log_path
        if self._temporary and path.exists():
            handle, name = tempfile.mkstemp(prefix="burngate-kafka-", suffix=".log")
            os.close(handle)
            path = Path(shutil.copyfile(path, name))
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        lines = text.split("\n")[-_LOG_TAIL_LINES - 1 :]
        return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines if line)])


@contextlib.contextmanager
def existing_or_local(report: Callable[[str], object] = lambda line: None) -> Iterator[str]:
    """The brokers to use: what ``BURNGATE_KAFKA`` names, else a local Kafka while the block runs."""
    if existing := os.environ.get("BURNGATE_KAFKA"):
        yield existing
        return
    with LocalBroker(report=report) as broker:
        yield broker.bootstrap


def serve(data_dir: Path | None, port: int, report: Callable[[str], object]) -> None:
    """Run a local Kafka until SIGTERM or SIGINT; prints ``ready HOST:PORT`` once it answers.

    Raises :class:`StalledError` if Kafka ends by itself.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        with LocalBroker(data_dir, port, report) as broker:
            print(f"ready {broker.bootstrap}", flush=True)  # noqa: T201 - what callers wait for
            status = broker.wait()
            raise StalledError(f"Kafka ended by itself with status {status}; {broker._log_tail()}")
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, previous)


def _free_port(but: int = 0) -> int:
    """A port that was free a moment ago; who gets it is settled when Kafka binds it."""
    candidates = random.sample(_PORTS, len(_PORTS))
    return next(port for port in candidates if port != but and not _is_taken(port))


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
