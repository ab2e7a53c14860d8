"""Which files a path stands for: the one walk by which the loader reads, and by which a change is noticed.

A directory is walked recursively, ``*.yaml`` and ``*.yml``, in the order of the names on the way; names with
a leading dot are passed over, as the shell's ``*`` does (a mounted ConfigMap keeps its files twice, once
below ``..data``). A path that is named itself is taken whatever it is called. A file that is reached twice,
by two paths or through links, is taken once, where it is met first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".yaml", ".yml")
_OTHERS = (".json",)

Fingerprint = tuple[tuple[str, tuple[int, ...]], ...]
"""By file: its path, and what tells one content from another."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be read, or a place that could not be looked at."""

    path: Path
    error: OSError | None = None


def passed_over(paths: Sequence[Path]) -> Iterator[Path]:
    """JSON files of directories: they could be read, and are not."""
    named = {os.path.realpath(path) for path in paths}
    found = (one.path for one in walk(paths, _OTHERS) if one.error is None)
    return (path for path in found if os.path.realpath(path) not in named)


def walk(paths: Sequence[Path], suffixes: Sequence[str] = SUFFIXES) -> Iterator[Found]:
    """What paths stand for, in order. Raises nothing: what vanishes meanwhile, or is out of reach, is found
    with its error."""
    seen: set[str] = set()
    for path in paths:
        waiting = [path]
        while waiting:
            current = waiting.pop()
            real = os.path.realpath(current)
            if real in seen:
                continue
            seen.add(real)
            try:
                if current.is_dir():
                    waiting.extend(reversed(_entries(current, suffixes)))
                    continue
                if current is not path and not current.is_file():
                    current.stat()  # says why, for a link that leads nowhere
                    raise OSError("not a regular file")
            except OSError as error:
                yield Found(current, error)
            else:
                yield Found(current)


def fingerprint(paths: Sequence[Path]) -> Fingerprint:
    """Differs when a file came, went, or may have another content."""
    return tuple((str(found.path), _told_apart(found)) for found in walk(paths))


def _told_apart(found: Found) -> tuple[int, ...]:
    """Of the file behind all links: where it is, when it changed (a copy may keep the time of its content)
    and how long it is. Of what cannot be looked at, the reason."""
    if found.error is not None:
        return (found.error.errno or 0,)
    try:
        status = found.path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _entries(directory: Path, suffixes: Sequence[str]) -> list[Path]:
    """What is read of a directory, by name: its directories and its SLO files."""
    return [
        entry
        for entry in sorted(directory.iterdir())
        if not entry.name.startswith(".") and (entry.name.endswith(tuple(suffixes)) or entry.is_dir())
    ]
