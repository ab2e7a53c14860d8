"""The kind ``ServiceGraph``: its keys, one line each, and what they mean.

The files of a namespace make one graph. What several say of a service is put together; only ``critical`` can
contradict. A service that is called but not declared anywhere is a fault: most likely a name is misspelt, and
a change there would be said to affect nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import partial

from stream.config.header import NO_METADATA, Link, Links, Metadata, Reading, read_metadata
from stream.config.section import FaultError, Section, Value
from stream.config.values import flag, list_of, name
from stream.errors import Problem
from stream.model.graph import MAX_SERVICES, Node, ServiceGraph
from stream.words import printable, suggest

MAX_UNKNOWN = 200
"""Of one file, listed."""


def read_graph(document: Section) -> Reading:
    """Reads what stands beside ``apiVersion`` and ``kind``."""
    metadata = document.required("metadata", read_metadata) or NO_METADATA
    links = Links(metadata.namespace)
    graph = document.required("spec", partial(_spec, metadata, links))
    return Reading(metadata.identity, metadata.mark, graph, "service graph", links)


def _spec(metadata: Metadata, links: Links, value: Value) -> ServiceGraph | None:
    with value.section() as spec:
        services = spec.required("services", partial(_services, links))
    if metadata.name is None or services is None:
        return None
    return ServiceGraph(metadata.namespace, metadata.name, services)


def _services(links: Links, value: Value) -> tuple[Node, ...]:
    found: dict[str, Node] = {}
    first_at: dict[str, int] = {}
    items = value.items()
    if not items:
        raise FaultError("must name at least one service")
    if len(items) > MAX_SERVICES:
        raise FaultError(f"must name at most {MAX_SERVICES} services, found {len(items)}")
    for item in items:
        node = item.read(partial(_service, links))
        if node is None:
            continue
        line = first_at.setdefault(node.name, item.node.mark.line)
        if node.name in found:
            item.report(f"the service {printable(node.name)} is already on line {line}")
        found.setdefault(node.name, node)
    return tuple(found.values())


def _service(links: Links, value: Value) -> Node | None:
    with value.section() as service:
        called = service.required("name", name)
        depends_on = service.optional("dependsOn", list_of(partial(_call, links, called), "service"), [])
        resources = service.optional("resources", list_of(name, "resource"), [])
        critical = service.optional("critical", partial(_critical, links, called), None)
    if called is None:
        return None
    links.declared.add(called)
    return Node(called, tuple(dict.fromkeys(depends_on)), tuple(dict.fromkeys(resources)), critical)


def _call(links: Links, caller: str | None, value: Value) -> str:
    called = name(value)
    if called == caller:
        raise FaultError(f"{printable(called)} cannot depend on itself")
    links.calls.append(Link(value.node.mark, value.path, called))
    return called


def _critical(links: Links, service: str | None, value: Value) -> bool:
    critical = flag(value)
    if service is not None:
        links.critical.append((Link(value.node.mark, value.path, service), critical))
    return critical


def graph_problems(files: Sequence[tuple[str, Links]]) -> Iterator[Problem]:
    """What no file shows by itself. ``files``: every service graph with its file, faulty ones included."""
    declared: dict[str, set[str]] = {}
    for _, links in files:
        declared.setdefault(links.namespace, set()).update(links.declared)
    for file, links in files:
        yield from _unknown(file, links, declared[links.namespace])
    yield from _contradictions(files)
    yield from _too_many(files, declared)


def _unknown(file: str, links: Links, declared: Set[str]) -> Iterator[Problem]:
    known = sorted(declared)
    unknown = [link for link in links.calls if link.service not in declared]
    for link in unknown[:MAX_UNKNOWN]:
        message = f"there is no service {printable(link.service)} in a graph of {printable(links.namespace)}"
        hint = suggest(link.service, known) or "declare it, if only by its name"
        yield Problem(file, link.mark.line, link.mark.column, link.path, message, hint)
    if len(unknown) > MAX_UNKNOWN:
        message = f"{len(unknown) - MAX_UNKNOWN} further services that are called are in no graph"
        yield Problem(file, 1, 1, "", message)


def _contradictions(files: Sequence[tuple[str, Links]]) -> Iterator[Problem]:
    first: dict[tuple[str, str], tuple[bool, str]] = {}
    for file, links in files:
        for link, critical in links.critical:
            here = f"{file}:{link.mark.line}:{link.mark.column}"
            said, there = first.setdefault((links.namespace, link.service), (critical, here))
            if said != critical:
                message = f"contradicts {there}, where {printable(link.service)} is {str(said).lower()}"
                yield Problem(file, link.mark.line, link.mark.column, link.path, message)


def _too_many(files: Sequence[tuple[str, Links]], declared: dict[str, set[str]]) -> Iterator[Problem]:
    last = {links.namespace: file for file, links in files}
    counts = Counter({namespace: len(services) for namespace, services in declared.items()})
    for namespace, count in counts.items():
        if count > MAX_SERVICES:
            message = f"{printable(namespace)} has {count} services in its graphs, more than {MAX_SERVICES}"
            yield Problem(last[namespace], 1, 1, "", message)
