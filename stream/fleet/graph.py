"""The graph of one namespace: who is affected by a change to a service or to a resource.

Trouble travels from a service to those that call it, and on to their callers; and from a service to those
that share a resource with it, and on to *their* callers. It does not travel from there through further
resources: in most shops everything would be connected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stream.model.graph import Node, ServiceGraph

MAX_REMEMBERED = 1_000
"""Answers that are kept; a graph with more places of change forgets them all and begins anew."""


class Route(StrEnum):
    """How a change reaches a service; at equal distance the first of these holds."""

    CHANGED = "changed"
    CALLS = "calls"
    SHARES = "shares"


@dataclass(frozen=True, slots=True)
class Affected:
    service: str
    distance: int
    """Steps from what is changed; 0 is the changed service itself."""
    route: Route
    via: str | None
    """The service that it calls, or the resource that it shares, on a shortest way."""


@dataclass(slots=True)
class Graph:
    """All of a namespace's service graphs together."""

    services: dict[str, Node] = field(default_factory=dict)
    _callers: dict[str, set[str]] = field(default_factory=dict)
    _users: dict[str, set[str]] = field(default_factory=dict)
    """By resource."""
    _answers: dict[tuple[str | None, str | None], tuple[Affected, ...]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """What one more file says of a service."""
        known = self.services.get(node.name, Node(node.name))
        self.services[node.name] = Node(
            node.name,
            tuple(dict.fromkeys(known.depends_on + node.depends_on)),
            tuple(dict.fromkeys(known.resources + node.resources)),
            known.critical or node.critical,
        )
        for called in node.depends_on:
            self._callers.setdefault(called, set()).add(node.name)
        for resource in node.resources:
            self._users.setdefault(resource, set()).add(node.name)
        self._answers.clear()

    def is_critical(self, service: str) -> bool:
        node = self.services.get(service)
        return node is not None and bool(node.critical)

    def knows(self, service: str | None, resource: str | None) -> bool:
        return service in self.services or resource in self._users

    def affected(self, service: str | None, resource: str | None) -> tuple[Affected, ...]:
        """Everyone whom a change to a service, or to a resource, may touch: by distance, then by name.

        A service that is in no graph affects itself; a resource that nobody uses affects nobody.
        """
        place = service, resource
        if place not in self._answers:
            if len(self._answers) >= MAX_REMEMBERED:
                self._answers.clear()
            self._answers[place] = self._reach(service, resource)
        return self._answers[place]

    def _reach(self, service: str | None, resource: str | None) -> tuple[Affected, ...]:
        found: dict[str, Affected] = {}
        if service is not None:
            found[service] = Affected(service, 0, Route.CHANGED, None)
        near = self._calling(found.values())
        near += [
            Affected(user, 1, Route.SHARES, shared)
            for shared in self._shared(service, resource)
            for user in self._users.get(shared, ())
        ]
        while near:
            ring: dict[str, Affected] = {}
            for one in sorted(near, key=_preference):
                if one.service not in found:
                    ring.setdefault(one.service, one)
            found |= ring
            near = self._calling(ring.values())
        return tuple(sorted(found.values(), key=lambda one: (one.distance, one.service)))

    def _shared(self, service: str | None, resource: str | None) -> Iterable[str]:
        if resource is not None:
            return (resource,)
        node = self.services.get(service) if service is not None else None
        return node.resources if node else ()

    def _calling(self, ring: Iterable[Affected]) -> list[Affected]:
        return [
            Affected(caller, one.distance + 1, Route.CALLS, one.service)
            for one in ring
            for caller in self._callers.get(one.service, ())
        ]


_RANK = {route: rank for rank, route in enumerate(Route)}


def _preference(one: Affected) -> tuple[int, str]:
    return _RANK[one.route], one.via or ""


def merge(files: Iterable[ServiceGraph]) -> Mapping[str, Graph]:
    """One graph a namespace."""
    graphs: dict[str, Graph] = {}
    for file in files:
        graph = graphs.setdefault(file.namespace, Graph())
        for node in file.services:
            graph.add(node)
    return graphs
