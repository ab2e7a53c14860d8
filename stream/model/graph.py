"""What ServiceGraph files say: which service calls which, and what services share."""

from __future__ import annotations

from dataclasses import dataclass

from stream.model import names

MAX_SERVICES = 2_000
"""Of one namespace, over all of its files."""


@dataclass(frozen=True, slots=True)
class Node:
    """A service. Several files may tell of one: what they say is put together."""

    name: str
    depends_on: tuple[str, ...] = ()
    """Services that it calls."""
    resources: tuple[str, ...] = ()
    """What it may share with others: databases, queues, caches."""
    critical: bool | None = None
    """None: this file does not say."""


@dataclass(frozen=True, slots=True)
class ServiceGraph:
    """One file's part of the graph of its namespace."""

    namespace: str
    name: str
    services: tuple[Node, ...]

    @property
    def identity(self) -> str:
        return names.identity(self.namespace, self.name)
