"""YAML text as a tree in which every value knows its line, its column and its exact spelling.

It is built from the parser's events and not by its constructor, for four reasons: numbers keep the digits
that were written, no tag can build an object, aliases are shared and never copied, and depth and size are
bounded while reading, so that hostile input costs no more than its length.

A file is cut at its ``---`` lines first (at the margin they can be nothing else), so that a syntax error
in one document does not hide the problems of the others.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import yaml
from yaml.reader import Reader
from yaml.resolver import Resolver

MAX_DEPTH = 32
"""Levels of nesting in one document, aliases followed (an SLO needs six)."""

MAX_VALUES = 50_000
"""Values in one document, each alias counted as all that it stands for."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = Resolver()
_STD = "tag:yaml.org,2002:"
_DOCUMENT_START = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_EXPONENT_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+")


class Kind(StrEnum):
    """What a scalar is, by YAML's rules; the value is how messages call it."""

    STRING = "a string"
    NUMBER = "a number"
    BOOLEAN = "a boolean"
    NULL = "nothing"
    DATE = "a date"
    MERGE = "a merge key"


_KINDS = {
    f"{_STD}str": Kind.STRING,
    f"{_STD}int": Kind.NUMBER,
    f"{_STD}float": Kind.NUMBER,
    f"{_STD}bool": Kind.BOOLEAN,
    f"{_STD}null": Kind.NULL,
    f"{_STD}timestamp": Kind.DATE,
    f"{_STD}merge": Kind.MERGE,
    f"{_STD}value": Kind.STRING,
}


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    text: str
    kind: Kind
    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A YAML sequence."""

    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A YAML mapping as written: repeated keys and merge keys are still in it."""

    pairs: tuple[tuple[Node, Node], ...]
    mark: Mark


Node = Scalar | Listing | Mapping


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in for a document that is not YAML, or not YAML that is read here."""

    mark: Mark
    message: str
    hint: str = ""


def read_documents(text: str) -> Iterator[Node | Unreadable]:
    """The documents of a file in order; empty ones are skipped."""
    stray = Reader.NON_PRINTABLE.search(text)
    if stray is not None:
        yield Unreadable(mark_at(text, stray.start()), f"not valid YAML: the character U+{ord(stray[0]):04X}")
        return
    line = 0
    for piece in _pieces(text):
        try:
            for root in _Composer(line).documents(piece):
                if not (isinstance(root, Scalar) and root.kind is Kind.NULL):
                    yield root
        except _RefusedError as refused:
            yield refused.unreadable
        except yaml.YAMLError as error:
            yield _syntax_error(error, line, piece)
        line += piece.count("\n")


def mark_at(text: str, index: int) -> Mark:
    """The place of ``text[index]``."""
    return Mark(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _pieces(text: str) -> Iterator[str]:
    """The text cut before each ``---`` line and the directives (``%YAML …``) that belong to it."""
    start = 0
    for match in _DOCUMENT_START.finditer(text):
        end = match.start()
        while end > start and text.startswith("%", before := text.rfind("\n", start, end - 1) + 1 or start):
            end = before
        if end > start:
            yield text[start:end]
            start = end
    yield text[start:]


def _syntax_error(error: yaml.YAMLError, line: int, piece: str) -> Unreadable:
    """``line`` is that of the file at which ``piece`` begins, from 0."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Unreadable(Mark(line + 1, 1), f"not valid YAML: {error}")
    mark = Mark(line + error.problem_mark.line + 1, error.problem_mark.column + 1)
    if _is_tab(piece, error.problem_mark):
        return Unreadable(
            mark, "not valid YAML: a tab where YAML wants spaces", "indent with spaces, not tabs"
        )
    message = f"not valid YAML: {error.problem}"
    if error.context:
        message += f", {error.context}"
        if error.context_mark is not None and error.context_mark.line != error.problem_mark.line:
            message += f" that starts on line {line + error.context_mark.line + 1}"
    return Unreadable(mark, message)


def _is_tab(text: str, mark: yaml.Mark) -> bool:
    """Whether a tab is there, or in the blanks before."""
    lines = text.split("\n")
    before = lines[mark.line][: mark.column + 1] if mark.line < len(lines) else ""
    return before.endswith("\t") or (not before[:-1].strip() and "\t" in before)


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except (OverflowError, ValueError) as error:  # the parser without libyaml, on "\\UFFFFFFFF"
        raise yaml.YAMLError(str(error)) from error


class _RefusedError(Exception):
    def __init__(self, mark: Mark, message: str) -> None:
        self.unreadable = Unreadable(mark, message)


@dataclass(slots=True, eq=False)
class _Part:
    """A node with what it costs to walk it: values and levels below, aliases followed."""

    node: Node
    values: int = 1
    levels: int = 1


@dataclass(slots=True, eq=False)
class _Open:
    """A collection whose end has not been reached yet."""

    mapping: bool
    mark: Mark
    anchor: str | None
    children: list[Node] = field(default_factory=list)
    values: int = 1
    levels: int = 1

    def add(self, part: _Part) -> None:
        self.children.append(part.node)
        self.values += part.values
        self.levels = max(self.levels, part.levels + 1)

    def close(self) -> _Part:
        node: Node
        if self.mapping:
            node = Mapping(tuple(zip(self.children[::2], self.children[1::2], strict=True)), self.mark)
        else:
            node = Listing(tuple(self.children), self.mark)
        return _Part(node, self.values, self.levels)


class _Composer:
    """Builds the documents of one piece of a file, whose first line is ``line`` (from 0) of the file."""

    def __init__(self, line: int) -> None:
        self._line = line
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Part | None] = {}  # None: still open

    def documents(self, text: str) -> Iterator[Node]:
        for event in _events(text):
            part = self._take(event)
            if part is None:
                continue
            if not self._stack:
                yield part.node
                continue
            self._stack[-1].add(part)
            self._check_bounds(self._mark(event), part.levels)

    def _take(self, event: yaml.Event) -> _Part | None:
        """What the event completes: a scalar, an alias, or a collection that ends."""
        mark = self._mark(event)
        match event:
            case yaml.DocumentStartEvent():
                self._anchors.clear()
                return None
            case yaml.CollectionStartEvent():
                _check_tag(event.tag, mark, {f"{_STD}seq", f"{_STD}map"})
                self._stack.append(_Open(isinstance(event, yaml.MappingStartEvent), mark, event.anchor))
                self._check_bounds(mark, 0)
                return self._anchor(event.anchor, None)
            case yaml.CollectionEndEvent():
                closed = self._stack.pop()
                return self._anchor(closed.anchor, closed.close())
            case yaml.ScalarEvent():
                return self._anchor(event.anchor, _Part(Scalar(event.value, _kind(event, mark), mark)))
            case yaml.AliasEvent():
                return self._aliased(event.anchor or "", mark)
            case _:
                return None  # start and end of the stream, end of a document

    def _anchor(self, name: str | None, part: _Part | None) -> _Part | None:
        if name is not None:
            self._anchors[name] = part
        return part

    def _aliased(self, name: str, mark: Mark) -> _Part:
        if name not in self._anchors:
            raise _RefusedError(mark, f"the alias *{name} has no anchor &{name} before it in this document")
        part = self._anchors[name]
        if part is None:
            raise _RefusedError(mark, f"the alias *{name} stands for something that holds it")
        return part

    def _check_bounds(self, mark: Mark, levels_below: int) -> None:
        if len(self._stack) + levels_below > MAX_DEPTH:
            raise _RefusedError(mark, f"nested more than {MAX_DEPTH} levels deep")
        if self._stack[-1].values > MAX_VALUES:
            raise _RefusedError(mark, f"holds more than {MAX_VALUES} values")

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        assert start is not None, "the parser marks every event"
        return Mark(self._line + start.line + 1, start.column + 1)


def _kind(event: yaml.ScalarEvent, mark: Mark) -> Kind:
    tag: str | None = event.tag
    if tag == "!" or (tag is None and not event.implicit[0]):
        return Kind.STRING  # quoted
    if tag is None and _EXPONENT_NUMBER.fullmatch(event.value):
        return Kind.NUMBER  # 1e3 is a string to YAML 1.1, a number to 1.2 and to its readers
    if tag is None:
        tag = str(_RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False)))  # type: ignore[no-untyped-call]
    _check_tag(tag, mark, _KINDS)
    return _KINDS[tag]


def _check_tag(tag: str | None, mark: Mark, known: Container[str]) -> None:
    if tag is not None and tag != "!" and tag not in known:
        raise _RefusedError(mark, f"the tag {tag.replace(_STD, '!!')} means nothing here")
