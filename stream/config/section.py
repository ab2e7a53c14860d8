"""Reading a tree: values with their path, sections that know which keys were asked for.

A key is allowed because some line of a reader asks for it, so a new key is one line, and the list of what
is allowed can never differ from what is read. A parser takes a :class:`Value` and returns what it means;
it raises :class:`FaultError` when it cannot, or returns None when the fault was already reported further
down. Reading goes on after a fault: every problem of a file is found at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from stream.config.tree import Kind, Listing, Mapping, Mark, Node, Scalar
from stream.errors import Problem
from stream.words import printable, suggest

MAX_PROBLEMS = 1000
"""Problems of one file that are listed, one of them saying that there may be more."""

T = TypeVar("T")
D = TypeVar("D")

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_SHOWN = 60


class FaultError(Exception):
    """A value that means nothing: what is expected of it, and how to mend it."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class TooManyProblemsError(Exception):
    """The limit of problems for one file is reached: nothing more of it is read."""


@dataclass(slots=True)
class Problems:
    """The problems of one file so far."""

    file: str
    found: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    """What is valid, and most likely not what was meant."""

    def warn(self, mark: Mark, path: str, message: str, hint: str = "") -> None:
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(Problem(self.file, mark.line, mark.column, path, message, hint))

    def add(self, mark: Mark, path: str, message: str, hint: str = "") -> None:
        self.found.append(Problem(self.file, mark.line, mark.column, path, message, hint))
        if len(self.found) == MAX_PROBLEMS - 1:
            message = f"only the first {MAX_PROBLEMS - 1} problems found in this file are listed"
            self.found.append(Problem(self.file, 1, 1, "", message))
            raise TooManyProblemsError


@dataclass(frozen=True, slots=True)
class Value:
    """A node, its path in the document, and where its problems go."""

    node: Node
    path: str
    problems: Problems

    @property
    def is_null(self) -> bool:
        return isinstance(self.node, Scalar) and self.node.kind is Kind.NULL

    def report(self, message: str, hint: str = "") -> None:
        self.problems.add(self.node.mark, self.path, message, hint)

    def warn(self, message: str, hint: str = "") -> None:
        """Say that the value is valid, but most likely not meant."""
        self.problems.warn(self.node.mark, self.path, message, hint)

    def read(self, parse: Callable[[Value], T]) -> T | None:
        """What the value means, or None once the reason why it means nothing is reported."""
        try:
            return parse(self)
        except FaultError as fault:
            self.report(fault.message, fault.hint)
            return None

    def items(self) -> list[Value]:
        """The items of a list, each with its own path."""
        if not isinstance(self.node, Listing):
            raise expected("a list", self)
        items = enumerate(self.node.items)
        return [Value(item, f"{self.path}[{index}]", self.problems) for index, item in items]

    def section(self) -> Section:
        if not isinstance(self.node, Mapping):
            raise expected("a mapping", self)
        return Section(self, self.node)


class Section:
    """A mapping whose keys are asked for one by one; leaving it (``with``) reports the keys nobody asked for.

    A key whose value is null counts as absent, as in events. Merge keys (``<<``) are followed; a key of the
    mapping itself goes before a merged one.
    """

    def __init__(self, value: Value, node: Mapping) -> None:
        self._value = value
        self._entries: dict[str, tuple[Scalar, Node]] = {}
        self._asked: list[str] = []
        self._elsewhere: dict[str, str] = {}
        self._collect(node)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        for name, (key, _) in self._entries.items():
            if name in self._elsewhere:
                self._report(key, name, f"unknown key here: it {self._elsewhere[name]}", self._allowed())
            elif name not in self._asked:
                self._report(
                    key, name, "unknown key", f"{suggest(name, self._asked)} {self._allowed()}".lstrip()
                )

    def required(self, name: str, parse: Callable[[Value], T]) -> T | None:
        """None when absent or faulty; that is reported."""
        self._asked.append(name)
        if name not in self._entries:
            path = join(self._value.path, name)
            self._value.problems.add(self._value.node.mark, path, "required, but missing")
            return None
        key, _ = self._entries[name]
        value = self._of(name)
        if value.is_null:
            self._report(key, name, "required, but empty")
            return None
        return value.read(parse)

    def optional(self, name: str, parse: Callable[[Value], T | None], default: D) -> T | D:
        """The default when absent; also when faulty, which is reported."""
        self._asked.append(name)
        if name not in self._entries or self._of(name).is_null:
            return default
        result = self._of(name).read(parse)
        return default if result is None else result

    def each(self, parse: Callable[[Value], T | None]) -> list[tuple[str, T]]:
        """All entries of a mapping whose keys are free."""
        self._asked.extend(self._entries)
        read = ((name, self._of(name).read(parse)) for name in self._entries)
        return [(name, result) for name, result in read if result is not None]

    def elsewhere(self, names: Iterable[str], why: str) -> None:
        """Keys that are known, but do not belong here: the message says so."""
        self._elsewhere |= dict.fromkeys(names, why)

    def mark(self, name: str) -> Mark:
        """Where the value of a key begins; without the key, where the section does."""
        return self._entries[name][1].mark if name in self._entries else self._value.node.mark

    def warn(self, name: str, message: str, hint: str = "") -> None:
        """Say that the value of a key is valid, but most likely not meant."""
        self._value.problems.warn(self.mark(name), join(self._value.path, name), message, hint)

    def _of(self, name: str) -> Value:
        return Value(self._entries[name][1], join(self._value.path, name), self._value.problems)

    def _report(self, key: Scalar, name: str, message: str, hint: str = "") -> None:
        self._value.problems.add(key.mark, join(self._value.path, name), message, hint)

    def _allowed(self) -> str:
        return f"allowed: {', '.join(sorted(self._asked))}"

    def _collect(self, node: Mapping) -> None:
        """The mapping's own keys first, then what it merges."""
        own: dict[str, Scalar] = {}
        merged: list[Node] = []
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                self._value.problems.add(
                    key.mark, self._value.path, f"a key must be text, found {describe(key)}"
                )
            elif key.kind is Kind.MERGE:
                merged.append(value)
            elif key.text in own:
                self._report(key, key.text, f"given twice, first on line {own[key.text].mark.line}")
            else:
                own[key.text] = key
                self._entries.setdefault(key.text, (key, value))
        for source in merged:
            for part in source.items if isinstance(source, Listing) else (source,):
                if isinstance(part, Mapping):
                    self._collect(part)
                else:
                    path = join(self._value.path, "<<")
                    message = f"must be a mapping or a list of mappings, found {describe(part)}"
                    self._value.problems.add(part.mark, path, message)


def expected(what: str, value: Value, hint: str = "") -> FaultError:
    """The fault of a value that is not ``what``."""
    return FaultError(f"must be {what}, found {describe(value.node)}", hint)


def describe(node: Node) -> str:
    """A value as messages show it: short, and safe to print."""
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    match node.kind:
        case Kind.NULL:
            return "nothing"
        case Kind.STRING | Kind.MERGE:
            return quoted(node.text)
        case Kind.NUMBER:
            return shown(node.text)
        case _:
            return f"{shown(node.text)} ({node.kind})"


def quoted(text: str) -> str:
    return f'"{shown(text)}"'


def shown(text: str) -> str:
    """Text cut to a readable length, with what cannot be printed escaped."""
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


def join(path: str, key: str) -> str:
    """``spec`` and ``target`` → ``spec.target``; a key that is no plain word goes into brackets."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key
