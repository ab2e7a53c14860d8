"""Other people's programs: found, started, waited for, and ended by their own process id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

NAMES = ("kcat", "nginx", "prometheus", "promtool", "tail", "wrk")
POLL_S = 0.2
END_LIMIT_S = 10.0


def find() -> dict[str, str]:
    """Where each program is. Skips the test when one is missing."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=path) for name in NAMES}
    missing = [name for name, file in found.items() if file is None]
    if missing:
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: apt-get install nginx wrk kcat prometheus)"
        )
    return {name: file for name, file in found.items() if file is not None}


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process while the block runs; it is asked to end, and made to. Its output goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, **{"stdout": output, "stderr": output, **options})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def wait_for(what: str, look: Callable[[], T | None], limit_s: float, *logs: Path) -> T:
    """What ``look`` finds, once it finds something. Fails with the ends of ``logs`` after ``limit_s``."""
    deadline_s = time.monotonic() + limit_s
    while not (found := look()):
        if time.monotonic() > deadline_s:
            tails = [f"--- {log}\n{log.read_text(errors='replace')[-4000:]}" for log in logs if log.exists()]
            raise AssertionError("\n".join([f"{what}: not within {limit_s:g} s", *tails]))
        time.sleep(POLL_S)
    return found


def free_port() -> int:
    """A port below those that the system gives to outgoing connections."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def get(url: str, headers: Mapping[str, str] | None = None) -> bytes | None:
    """The body of an answer of status 200, else None."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=dict(headers or {})), timeout=5
        ) as answer:
            return bytes(answer.read())
    except OSError:
        return None


class Kcat:
    """Produces and consumes with kcat."""

    def __init__(self, program: str, broker: str, prefix: str) -> None:
        self.program, self.broker, self.prefix = program, broker, prefix

    def producer(self, topic: str) -> list[str]:
        """A command that sends each line of its input to a topic."""
        return [self.program, "-P", "-b", self.broker, "-t", self.prefix + topic, "-X", "acks=all"]

    def produce(self, topic: str, partition: int, line: str) -> None:
        command = [*self.producer(topic), "-p", str(partition)]
        subprocess.run(command, input=line.encode(), check=True, timeout=30)

    def consume(self, topic: str) -> list[tuple[str, dict[str, Any]]]:
        """(key, record) of everything committed that is on an output topic now."""
        command = [self.program, "-C", "-q", "-e", "-b", self.broker, "-t", self.prefix + topic]
        command += ["-X", "isolation.level=read_committed", "-o", "beginning", "-f", "%k\t%s\n"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=30, text=True)
        pairs = (line.split("\t", 1) for line in done.stdout.splitlines())
        return [(key, json.loads(value)) for key, value in pairs]


def query(prometheus: str, expression: str) -> float | None:
    """The value of an expression that has one sample, by Prometheus' HTTP API; None when it has none."""
    body = get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    if body is None:
        return None
    result = json.loads(body)["data"]["result"]
    assert len(result) <= 1, result
    return float(result[0]["value"][1]) if result else None
