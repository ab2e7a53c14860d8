"""The peers on the JVM: their jars, pinned; their jobs, compiled on first use by a compiler that is a jar."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import Job, Prepared, Report, UnavailableError
from stream.errors import UserError
from stream.kafka import jars

_HERE = Path(__file__).parent
# What Flink's own scripts pass: its serializers and its memory look into these.
_OPENS = ("java.util", "java.lang", "java.nio", "java.net", "java.time")
_LIMIT_S = 300


def prepare(
    room: Path, main: str, artifact: str, environment: Mapping[str, str]
) -> Callable[[Report], Prepared]:
    """What fetches the room's jars and compiles its job. The peer's version is that of ``artifact``."""

    def get(report: Report) -> Prepared:
        try:
            java = str(jars.find_java())
            cache = jars.cache_directory() / "peers"
            pinned = jars.parsed((room / "jars.txt").read_text(encoding="utf-8"))
            libraries = jars.class_path_of(room.name, pinned, cache / "jars", report)
            classes = _compiled(java, room, libraries, cache, report)
        except UserError as error:
            raise UnavailableError(str(error)) from error
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS]
        logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        # The parallel collector took less CPU time than G1 for both jobs; both need far less than a gigabyte.
        command = (
            java,
            "-Xmx1g",
            "-XX:+UseParallelGC",
            *opens,
            logging,
            "-cp",
            f"{classes}:{libraries}",
            main,
        )
        return Prepared(version(pinned, artifact), lambda run: Job(command, environment))

    return get


def version(pinned: Sequence[jars.Jar], artifact: str) -> str:
    """The version of one of the jars."""
    coordinates = (jar.coordinate.split(":") for jar in pinned)
    return next(number for _, name, number in coordinates if name == artifact)


def _compiled(java: str, room: Path, libraries: str, cache: Path, report: Report) -> Path:
    """The directory of the job's classes; a changed source or jar makes a new one."""
    sources = sorted([*_HERE.glob("*.java"), *room.glob("*.java")])
    digest = hashlib.sha256(libraries.encode())
    for source in sources:
        digest.update(source.read_bytes())
    classes = cache / "classes" / f"{room.name}-{digest.hexdigest()[:16]}"
    if (classes / ".complete").exists():
        return classes
    pinned = jars.parsed((_HERE / "compiler.txt").read_text(encoding="utf-8"))
    compiler = jars.class_path_of("the Java compiler", pinned, cache / "jars", report)
    # Not --release, for which a runtime without a compiler lacks the tables.
    command = [java, "-cp", compiler, "org.eclipse.jdt.internal.compiler.batch.Main"]
    command += [
        "-source",
        "17",
        "-target",
        "17",
        "-nowarn",
        "-d",
        str(classes),
        "-cp",
        libraries,
        *map(str, sources),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if ended.returncode:
        raise UnavailableError(f"its job does not compile: {ended.stderr[-2000:]}")
    (classes / ".complete").touch()
    return classes
