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

MAX_REMEMBERED = 10_000
"""Reaches that are kept; with more places of change than that all are forgotten."""


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


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a change touches, as one number: a history of a thousand changes is gone through in one go."""

    place: str | None
    """The changed service, be it in the graph or not."""
    bits: int
    numbers: Mapping[str, int]

    def __contains__(self, service: object) -> bool:
        if service == self.place:
            return True
        number = self.numbers.get(service) if isinstance(service, str) else None
        return number is not None and bool(self.bits >> number & 1)


@dataclass(slots=True)
class Graph:
    """All of a namespace's service graphs together."""

    services: dict[str, Node] = field(default_factory=dict)
    _callers: dict[str, set[str]] = field(default_factory=dict)
    _users: dict[str, set[str]] = field(default_factory=dict)
    """By resource."""
    _numbers: dict[str, int] = field(default_factory=dict)
    _caller_bits: list[int] = field(default_factory=list)
    """By number: the callers of a service."""
    _reaches: dict[tuple[str | None, str | None], Reach] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """What one more file says of a service."""
        known = self.services.get(node.name, Node(node.name))
        self.services[node.name] = Node(
            node.name,
            tuple(dict.fromkeys(known.depends_on + node.depends_on)),
            tuple(dict.fromkeys(known.resources + node.resources)),
            known.critical or node.critical,
        )
        bit = 1 << self._number(node.name)
        for called in node.depends_on:
            self._callers.setdefault(called, set()).add(node.name)
            self._caller_bits[self._number(called)] |= bit
        for resource in node.resources:
            self._users.setdefault(resource, set()).add(node.name)
        self._reaches.clear()

    def _number(self, service: str) -> int:
        number = self._numbers.setdefault(service, len(self._numbers))
        if number == len(self._caller_bits):
            self._caller_bits.append(0)
        return number

    def is_critical(self, service: str) -> bool:
        node = self.services.get(service)
        return node is not None and bool(node.critical)

    def knows(self, service: str | None, resource: str | None) -> bool:
        return service in self.services or resource in self._users

    def affected(self, service: str | None, resource: str | None) -> tuple[Affected, ...]:
        """Everyone whom a change to a service, or to a resource, may touch: by distance, then by name.

        A service that is in no graph affects itself; a resource that nobody uses affects nobody.
        """
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

    def reach(self, service: str | None, resource: str | None) -> Reach:
        """As :meth:`affected`: who, without how."""
        place = service, resource
        if place not in self._reaches:
            if len(self._reaches) >= MAX_REMEMBERED:
                self._reaches.clear()
            self._reaches[place] = Reach(service, self._reached_bits(service, resource), self._numbers)
        return self._reaches[place]

    def _reached_bits(self, service: str | None, resource: str | None) -> int:
        first = [] if service is None else [service]
        first += [user for shared in self._shared(service, resource) for user in self._users.get(shared, ())]
        found = 0
        for name in first:
            if name in self._numbers:
                found |= 1 << self._numbers[name]
        waiting = found
        while waiting:
            lowest = waiting & -waiting
            new = self._caller_bits[lowest.bit_length() - 1] & ~found
            found |= new
            waiting = waiting ^ lowest | new
        return found

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
