"""Paths in, objectives or every problem out: the I/O of this room. Which files a path stands for is said in
:mod:`stream.config.files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.config.files import SUFFIXES, Found, passed_over, walk
from stream.config.graph import graph_problems
from stream.config.header import Links, Meaning, Reading
from stream.config.kinds import read_document
from stream.config.section import Problems, TooManyProblemsError, Value
from stream.config.tree import Mark, Node, Unreadable, mark_at, read_documents
from stream.errors import ConfigError, Problem, UsageError
from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.graph import ServiceGraph
from stream.model.names import identity
from stream.model.objective import Objective
from stream.model.ruleset import Ruleset
from stream.words import printable

MAX_FILE_BYTES = 16 * 1024 * 1024
"""The largest file: some ten thousand SLOs."""


@dataclass(frozen=True, slots=True)
class Located:
    """What a document means and where its name stands; line and column count from 1."""

    meaning: Meaning
    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that was read: the files in order, the faultless documents in order of files and documents, and
    every problem, sorted by place."""

    files: tuple[str, ...]
    located: tuple[Located, ...]
    problems: tuple[Problem, ...]
    is_unreadable: bool = False
    """Whether some of the problems are the system's: another attempt may go well."""
    warnings: tuple[Problem, ...] = ()
    """What is valid, but most likely not what was meant; sorted by place."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return tuple(found.meaning for found in self.located if isinstance(found.meaning, Objective))

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        return tuple(found.meaning for found in self.located if isinstance(found.meaning, Analysis))

    @property
    def graphs(self) -> tuple[ServiceGraph, ...]:
        return tuple(found.meaning for found in self.located if isinstance(found.meaning, ServiceGraph))

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(found.meaning for found in self.located if isinstance(found.meaning, Comparison))


class MissingPathsError(UsageError):
    """``paths`` do not exist."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        super().__init__("\n".join(f"{_shown(path)}: no such file or directory" for path in paths))


class UnreadableFilesError(ConfigError):
    """Some of the files could not be read; the problems of the others are told as well."""


def load_objectives(paths: Sequence[Path]) -> tuple[Objective, ...]:
    """As :func:`load_rules`: the objectives alone."""
    return load_rules(paths).objectives


def load_rules(paths: Sequence[Path]) -> Ruleset:
    """What files and directories say, in order of files, then of documents.

    Raises :class:`ConfigError` with every problem of every file, also when there is no SLO at all
    (:class:`UnreadableFilesError` where the system refused some of them), and :class:`MissingPathsError` for
    paths that do not exist.
    """
    report = check_paths(paths)
    if report.is_unreadable:
        raise UnreadableFilesError(report.problems)
    if report.problems:
        raise ConfigError(report.problems)
    return Ruleset(report.objectives, report.analyses, report.graphs, report.comparisons)


def check_paths(paths: Sequence[Path]) -> Report:
    """Reads everything; raises only :class:`MissingPathsError`, for paths that do not exist."""
    missing = [path for path in paths if not _exists(path)]
    if missing:
        raise MissingPathsError(missing)
    reader = _Reader()
    for found in walk(paths):
        reader.read(found)
    reader.check_slos_named()
    reader.check_one_of_a_kind_a_service()
    reader.problems.extend(graph_problems(reader.links))
    if not reader.located and not reader.problems:
        where = ", ".join(_shown(path) for path in paths) or "(no path)"
        hint = "every document is empty" if reader.files else "there is no *.yaml or *.yml file"
        reader.problems.append(Problem(where, 1, 1, "", "no SLO found", hint))
    for path in passed_over(paths):
        hint = f"name it *{SUFFIXES[0]}: JSON is YAML"
        reader.warnings.append(Problem(_shown(path), 1, 1, "", "not read, for its name", hint))
    return Report(
        tuple(reader.files),
        tuple(reader.located),
        tuple(sorted(reader.problems)),
        reader.is_unreadable,
        tuple(sorted(reader.warnings)),
    )


@dataclass(slots=True)
class _Reader:
    """What has been read so far, over all paths."""

    files: list[str] = field(default_factory=list)
    located: list[Located] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    first: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """The place at which each identity was met first."""
    links: list[tuple[str, Links]] = field(default_factory=list)
    """Of each service graph, with its file."""
    is_unreadable: bool = False

    def read(self, found: Found) -> None:
        """Reads a file, or tells why it cannot be."""
        problems = Problems(_shown(found.path))
        try:
            if found.error is not None:
                raise found.error
            self.files.append(problems.file)
            self._read_text(_text(found.path), problems)
        except _NotTextError as error:
            problems.found.append(error.problem(problems.file))
        except OSError as error:
            self.is_unreadable = True
            reason = (error.strerror or str(error)).lower()
            problems.found.append(Problem(problems.file, 1, 1, "", f"cannot be read: {reason}"))
        except TooManyProblemsError:
            pass  # one of them says so
        self.problems.extend(problems.found)
        self.warnings.extend(problems.warnings)

    def _read_text(self, text: str, problems: Problems) -> None:
        root: Node | Unreadable | None = None
        for root in read_documents(text):
            if isinstance(root, Unreadable):
                problems.add(root.mark, "", root.message, root.hint)
                continue
            before = len(problems.found)
            reading = Value(root, "", problems).read(read_document)
            if reading is None:
                continue
            if reading.identity is not None:
                self._check_duplicate(reading, problems)
            if reading.links is not None:
                self.links.append((problems.file, reading.links))
            if reading.meaning is not None and len(problems.found) == before:
                mark = reading.mark
                self.located.append(Located(reading.meaning, problems.file, mark.line, mark.column))
        if root is None:
            problems.warn(Mark(1, 1), "", "there is no document in this file")

    def _check_duplicate(self, reading: Reading, problems: Problems) -> None:
        mark, noun = reading.mark, reading.noun
        here = f"{problems.file}:{mark.line}:{mark.column}"
        first = self.first.setdefault((noun, reading.identity), here)
        if first != here:
            message = f"the {noun} {printable(str(reading.identity))} is already defined at {first}"
            problems.add(mark, "metadata.name", message)

    def check_one_of_a_kind_a_service(self) -> None:
        """A service has one canary analysis and one shadow comparison: records go by its name."""
        first: dict[tuple[str, str], str] = {}
        for found in self.located:
            meaning = found.meaning
            if not isinstance(meaning, Analysis | Comparison):
                continue
            here = f"{found.file}:{found.line}:{found.column}"
            where = first.setdefault((type(meaning).__name__, meaning.service_key), here)
            if where != here:
                done = "analysed" if isinstance(meaning, Analysis) else "compared"
                message = f"{printable(meaning.service_key)} is already {done} by the one at {where}"
                self.problems.append(Problem(found.file, found.line, found.column, "spec.service", message))

    def check_slos_named(self) -> None:
        """Every SLO that an analysis or a comparison names must be one of its service, in whatever file."""
        slos = {
            (o.namespace, o.service, o.name)
            for o in (found.meaning for found in self.located)
            if isinstance(o, Objective)
        }
        for found in self.located:
            named = found.meaning
            match named:
                case Objective() | ServiceGraph():
                    continue
                case Analysis():
                    names, path = [metric.slo for metric in named.metrics], "spec.metrics"
                case Comparison():
                    names, path = [named.slo], "spec.compare"
            for name in names:
                if name and (named.namespace, named.service, name) not in slos:
                    shown = printable(identity(named.namespace, name))
                    message = f"there is no SLO {shown} of {printable(named.service)}"
                    self.problems.append(Problem(found.file, found.line, found.column, path, message))


class _NotTextError(Exception):
    def __init__(self, message: str, mark: Mark) -> None:
        self.message = message
        self.mark = mark

    def problem(self, file: str) -> Problem:
        return Problem(file, self.mark.line, self.mark.column, "", self.message)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _NotTextError(f"larger than {MAX_FILE_BYTES // 1024**2} MiB: split it", Mark(1, 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        before = error.object[: error.start].decode("utf-8")
        raise _NotTextError(f"not UTF-8: the byte 0x{bad:02x}", mark_at(before, len(before))) from None


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return False
    except OSError:
        return True  # there, but out of reach: a problem of the file, told with its reason
    return True


def _shown(path: Path) -> str:
    return printable(str(path))
