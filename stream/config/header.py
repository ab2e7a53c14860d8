"""What every kind of document begins with, and what reading one gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.config.section import Value
from stream.config.tree import Mark
from stream.config.values import name, text
from stream.model.analysis import Analysis
from stream.model.comparison import Comparison
from stream.model.graph import ServiceGraph
from stream.model.names import identity
from stream.model.objective import Objective

Meaning = Objective | Analysis | Comparison | ServiceGraph
_TOP = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Link:
    """A service that is named, and where."""

    mark: Mark
    path: str
    service: str


@dataclass(slots=True)
class Links:
    """What a service graph says that only all files of its namespace together can confirm."""

    namespace: str
    declared: set[str] = field(default_factory=set)
    calls: list[Link] = field(default_factory=list)
    critical: list[tuple[Link, bool]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """A document: its identity (None when unknown), where that stands, and what it means, without a fault."""

    identity: str | None
    mark: Mark
    meaning: Meaning | None
    noun: str = "SLO"
    """What a person calls such a document."""
    links: Links | None = None
    """Of a service graph, faulty or not."""


@dataclass(frozen=True, slots=True)
class Metadata:
    name: str | None = None
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    mark: Mark = _TOP

    @property
    def identity(self) -> str | None:
        return identity(self.namespace, self.name) if self.name else None


NO_METADATA = Metadata()


def read_metadata(value: Value) -> Metadata:
    with value.section() as metadata:
        return Metadata(
            name=metadata.required("name", name),
            namespace=metadata.optional("namespace", name, "default"),
            labels=metadata.optional("labels", _labels, ()),
            mark=metadata.mark("name"),
        )


def _labels(value: Value) -> tuple[tuple[str, str], ...]:
    with value.section() as labels:
        return tuple(sorted(labels.each(text)))
