"""The peers in Python: a virtual environment of its own for each, made on first use from pinned versions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.peer import Job, Prepared, Report, UnavailableError
from stream.kafka.jars import cache_directory

_LIMIT_S = 900


def prepare(room: Path, *arguments: str) -> Callable[[Report], Prepared]:
    """What installs the room's requirements; its job is ``job.py``."""

    def get(report: Report) -> Prepared:
        requirements = room / "requirements.txt"
        command = (str(_environment(room.name, requirements, report)), str(room / "job.py"), *arguments)
        return Prepared(version(requirements.read_text(encoding="utf-8")), lambda run: Job(command))

    return get


def version(requirements: str) -> str:
    """The version of the first requirement, which is the peer itself."""
    first = next(line for line in requirements.splitlines() if line and not line.startswith("#"))
    return first.partition("==")[2].partition(" ")[0].strip()


def _environment(name: str, requirements: Path, report: Report) -> Path:
    """The Python of the peer's environment; changed requirements make a new one."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = cache_directory() / "peers" / "venv" / f"{name}-{digest}"
    python = directory / "bin" / "python"
    if (directory / ".complete").exists():
        return python
    report(f"installing {name} into {directory}, once")
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(directory)])
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*install, "-r", str(requirements)])
    (directory / ".complete").touch()
    return python


def _run(command: list[str]) -> None:
    # The job must not see the packages that this process was started with.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"cannot be installed: {error}") from error
    if ended.returncode:
        raise UnavailableError(f"cannot be installed: {(ended.stderr or ended.stdout).strip()[-500:]}")
