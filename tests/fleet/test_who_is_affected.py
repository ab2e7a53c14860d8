"""Whom a change touches, against walking every path there is."""

from __future__ import annotations

from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from stream.fleet.graph import MAX_REMEMBERED, Affected, Graph, Route, merge
from stream.model.graph import Node, ServiceGraph

NAMES = "abcdef"
RESOURCES = "xyz"


def graph(*nodes: Node) -> Graph:
    return merge([ServiceGraph("shop", "all", nodes)])["shop"]


def reached(found: tuple[Affected, ...]) -> list[tuple[str, int, str, str | None]]:
    return [(one.service, one.distance, one.route.value, one.via) for one in found]


SHOP = graph(
    Node("web", ("checkout", "search"), (), True),
    Node("checkout", ("payment", "catalogue"), ("orders-db",), True),
    Node("payment", (), ("orders-db", "ledger")),
    Node("catalogue", (), ("cache",)),
    Node("search", ("catalogue",), ("cache",)),
    Node("reports", (), ("ledger",)),
)


def test_those_who_call_a_service_are_affected_and_those_who_call_them() -> None:
    assert reached(SHOP.affected("catalogue", None)) == [
        ("catalogue", 0, "changed", None),
        ("checkout", 1, "calls", "catalogue"),
        ("search", 1, "calls", "catalogue"),
        ("web", 2, "calls", "checkout"),
    ]


def test_what_a_service_calls_is_not_affected_by_it() -> None:
    assert [one.service for one in SHOP.affected("web", None)] == ["web"]


def test_those_who_share_a_resource_and_their_callers_are_affected_but_nobody_beyond() -> None:
    both = graph(
        Node("a", (), ("db",)), Node("b", (), ("db", "queue")), Node("c", (), ("queue",)), Node("d", ("b",))
    )
    assert reached(both.affected("a", None)) == [
        ("a", 0, "changed", None),
        ("b", 1, "shares", "db"),
        ("d", 2, "calls", "b"),
    ]


def test_at_equal_distance_a_call_goes_before_a_shared_resource() -> None:
    assert reached(SHOP.affected("payment", None))[1:] == [
        ("checkout", 1, "calls", "payment"),
        ("reports", 1, "shares", "ledger"),
        ("web", 2, "calls", "checkout"),
    ]


def test_a_change_to_a_resource_affects_its_users_and_their_callers() -> None:
    assert reached(SHOP.affected(None, "cache")) == [
        ("catalogue", 1, "shares", "cache"),
        ("search", 1, "shares", "cache"),
        ("checkout", 2, "calls", "catalogue"),
        ("web", 2, "calls", "search"),
    ]


def test_a_cycle_ends() -> None:
    ring = graph(Node("a", ("b",)), Node("b", ("c",)), Node("c", ("a",)))
    assert reached(ring.affected("a", None)) == [
        ("a", 0, "changed", None),
        ("c", 1, "calls", "a"),
        ("b", 2, "calls", "c"),
    ]


def test_a_service_of_no_graph_affects_itself_and_an_unused_resource_nobody() -> None:
    assert reached(SHOP.affected("stranger", None)) == [("stranger", 0, "changed", None)]
    assert SHOP.affected(None, "unused") == ()
    assert not SHOP.knows("stranger", None)
    assert SHOP.knows(None, "cache")


def test_files_of_a_namespace_are_put_together_and_others_kept_apart() -> None:
    graphs = merge(
        [
            ServiceGraph("shop", "one", (Node("a", ("b",), ("x",)), Node("b"))),
            ServiceGraph("shop", "two", (Node("a", ("c",), ("x", "y"), True), Node("c"))),
            ServiceGraph("shop", "three", (Node("a"),)),
            ServiceGraph("bank", "one", (Node("a"),)),
        ]
    )
    assert graphs["shop"].services["a"] == Node("a", ("b", "c"), ("x", "y"), True)
    assert graphs["shop"].is_critical("a")
    assert [one.service for one in graphs["shop"].affected("b", None)] == ["b", "a"]
    assert not graphs["bank"].is_critical("a")


def test_answers_are_forgotten_when_the_graph_grows_or_they_are_too_many() -> None:
    small = graph(Node("a"))
    assert "b" not in small.reach("a", None)
    small.add(Node("b", ("a",)))
    assert "b" in small.reach("a", None)
    for number in range(2 * MAX_REMEMBERED):
        assert f"stranger-{number}" in small.reach(f"stranger-{number}", None)
    assert len(small._reaches) <= MAX_REMEMBERED


def nodes() -> st.SearchStrategy[list[Node]]:
    calls = st.sets(st.sampled_from(NAMES), max_size=3)
    node = st.tuples(st.sampled_from(NAMES), calls, st.sets(st.sampled_from(RESOURCES), max_size=2))
    return st.lists(
        node.map(lambda n: Node(n[0], tuple(sorted(n[1] - {n[0]})), tuple(sorted(n[2])))),
        max_size=len(NAMES),
        unique_by=lambda n: n.name,
    )


def distances_by_walking(found: list[Node], service: str | None, resource: str | None) -> dict[str, int]:
    """The shortest of every walk that visits no service twice."""
    calls = {(n.name, called) for n in found for called in n.depends_on}
    resources = (
        {resource} if service is None else {r for n in found if n.name == service for r in n.resources}
    )
    sharers = {n.name for n in found if resources & set(n.resources)}
    best: dict[str, int] = {} if service is None else {service: 0}
    for length in range(1, len(NAMES) + 1):
        for walk in permutations(NAMES, length):
            starts = 0 if walk[0] == service else 1 if walk[0] in sharers else None
            steps = all((after, before) in calls for before, after in pairwise(walk))
            if starts is not None and steps:
                distance = starts + length - 1
                best[walk[-1]] = min(distance, best.get(walk[-1], distance))
    return best


@given(nodes(), st.sampled_from([*NAMES, *RESOURCES]))
def test_everyone_is_found_at_the_length_of_the_shortest_walk(found: list[Node], place: str) -> None:
    service, resource = (place, None) if place in NAMES else (None, place)
    answer = graph(*found).affected(service, resource) if found else Graph().affected(service, resource)
    assert {one.service: one.distance for one in answer} == distances_by_walking(found, service, resource)
    reach = graph(*found).reach(service, resource) if found else Graph().reach(service, resource)
    assert {name for name in NAMES if name in reach} == {one.service for one in answer}
    assert [(one.distance, one.service) for one in answer] == sorted(
        (one.distance, one.service) for one in answer
    )


@given(nodes(), st.sampled_from(NAMES))
def test_what_it_is_reached_through_is_one_step_nearer(found: list[Node], service: str) -> None:
    whole = graph(*found) if found else Graph()
    by_name = {one.service: one for one in whole.affected(service, None)}
    for one in by_name.values():
        if one.route is Route.CALLS:
            assert one.via in whole.services[one.service].depends_on
            assert by_name[one.via].distance == one.distance - 1
        elif one.route is Route.SHARES:
            assert one.distance == 1
            assert one.via in set(whole.services[one.service].resources) & set(
                whole.services[service].resources
            )
