"""The book: our own records in, judged changes out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from schemas import faults
from stream.fleet import judged
from stream.fleet.book import MAX_NAMESPACES, Book
from stream.fleet.history import MAX_CHANGES
from stream.fleet.record import MAX_AFFECTED, MAX_SLOS
from stream.model.deploy import ChangeEvent
from stream.model.graph import Node, ServiceGraph
from stream.model.objective import Availability, Objective, Rolling
from stream.model.ruleset import Ruleset
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import encode

START_MS = 1_790_000_040_000
MINUTE_MS = 60_000
MONTH_S = 30 * 86_400
GRAPH = ServiceGraph(
    "shop",
    "all",
    (
        Node("checkout", ("payment",), (), True),
        Node("payment", (), ("ledger",)),
        Node("search"),
        Node("mail", (), ("ledger",)),
    ),
)


def objective(service: str, namespace: str = "shop") -> Objective:
    return Objective(
        namespace,
        f"{service}-up",
        service,
        Availability(),
        Decimal(99),
        Rolling(MONTH_S),
        freeze_below_pct=Decimal(10),
    )


RULES = Ruleset((objective("checkout"), objective("payment"), objective("search")), (), (GRAPH,))


def budget(service: str, minute: int, left_pct: float = 80.0, total: float = 100.0) -> dict[str, Any]:
    return {
        "schema": "burngate.budget/v1",
        "slo": f"{service}-up",
        "namespace": "shop",
        "service": service,
        "remaining_pct": left_pct,
        "total": total,
        "window_s": MONTH_S,
        "evaluated_at": format_ms(START_MS + minute * MINUTE_MS),
    }


def alert(service: str, starts: int, ends: int | None = None, left_pct: float = 50.0) -> dict[str, Any]:
    return {
        "schema": "burngate.alert/v1",
        "id": f"{service}-{starts}",
        "slo": f"{service}-up",
        "namespace": "shop",
        "service": service,
        "budget_remaining_pct": left_pct,
        "starts_at": format_ms(START_MS + starts * MINUTE_MS),
        "ends_at": None if ends is None else format_ms(START_MS + ends * MINUTE_MS),
        "evaluated_at": format_ms(START_MS + (starts if ends is None else ends) * MINUTE_MS),
    }


def change(
    named: str, minute: float, service: str | None = "payment", resource: str | None = None
) -> ChangeEvent:
    return ChangeEvent(named, "shop", service, resource, "deploy", START_MS + round(minute * MINUTE_MS))


@pytest.fixture
def book() -> Book:
    return Book(RULES)


def tell(book: Book, topic: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    return [signal.value for record in records for signal in book.observe(topic, record)]


def test_a_change_is_judged_at_the_first_tick_at_or_after_it_with_all_of_that_tick(book: Book) -> None:
    book.expect(change("42", 1.5))
    assert tell(book, "slo-budgets", budget("payment", 1), budget("payment", 2, 60.0)) == []
    assert tell(book, "slo-budgets", budget("checkout", 2, 40.0)) == []
    (impact,) = tell(book, "slo-budgets", budget("payment", 3, 10.0))
    assert impact["evaluated_at"] == format_ms(START_MS + 2 * MINUTE_MS)
    assert [(slo["slo"], slo["budget_remaining_pct"]) for slo in impact["slo_impact"]] == [
        ("checkout-up", 40.0),
        ("payment-up", 60.0),
    ]
    assert faults("change-impacts", impact) == []


def test_what_still_waits_is_judged_at_the_end(book: Book) -> None:
    book.expect(change("later", 99))
    book.expect(change("now", 1))
    tell(book, "slo-budgets", budget("payment", 1))
    impacts = [signal.value for signal in book.finish()]
    assert [impact["change"] for impact in impacts] == ["now", "later"]
    assert {impact["evaluated_at"] for impact in impacts} == {format_ms(START_MS + MINUTE_MS)}


def test_without_any_record_it_is_judged_as_of_its_own_time(book: Book) -> None:
    impact = book.judge(change("42", 1)).value
    assert impact["evaluated_at"] == impact["at"]
    assert impact["slo_impact"] == []
    assert faults("change-impacts", impact) == []


def test_the_record_says_whom_it_touches_and_how(book: Book) -> None:
    tell(book, "slo-budgets", budget("payment", 1, total=100.0), budget("search", 1, total=300.0))
    signal = book.judge(change("42", 1))
    assert (signal.topic, signal.key) == ("change-impacts", "shop/payment")
    assert signal.value["affected"] == [
        {
            "service": "payment",
            "distance": 0,
            "route": "changed",
            "via": None,
            "critical": False,
            "traffic_share": 0.25,
        },
        {
            "service": "checkout",
            "distance": 1,
            "route": "calls",
            "via": "payment",
            "critical": True,
            "traffic_share": None,
        },
        {
            "service": "mail",
            "distance": 1,
            "route": "shares",
            "via": "ledger",
            "critical": False,
            "traffic_share": None,
        },
    ]
    assert signal.value["blast_radius"] == {
        "services": 3,
        "of_services": 4,
        "services_share": 0.75,
        "traffic_share": 0.25,
        "critical": ["checkout"],
        "in_graph": True,
    }


def test_a_resource_has_a_key_of_its_own_and_is_judged_like_a_service(book: Book) -> None:
    signal = book.judge(change("42", 1, None, "ledger"))
    assert signal.key == "shop/resource:ledger"
    assert [one["service"] for one in signal.value["affected"]] == ["mail", "payment", "checkout"]  # type: ignore[attr-defined]
    assert faults("change-impacts", signal.value) == []


def test_a_place_that_nobody_knows_is_judged_and_said_to_be_unknown(book: Book) -> None:
    stranger = book.judge(change("1", 1, "stranger")).value
    assert [one["service"] for one in stranger["affected"]] == ["stranger"]  # type: ignore[attr-defined]
    nowhere = book.judge(ChangeEvent("2", "elsewhere", None, "db", "deploy", START_MS)).value
    assert (nowhere["affected"], nowhere["recommendations"]) == ([], [])
    for value in (stranger, nowhere):
        assert value["blast_radius"]["in_graph"] is False  # type: ignore[index]
        assert faults("change-impacts", value) == []


def test_of_an_slo_the_newest_budget_counts_and_that_of_a_removed_one_does_not(book: Book) -> None:
    tell(book, "slo-budgets", budget("payment", 5, 20.0), budget("payment", 4, 90.0), budget("mail", 5, 1.0))
    assert [slo["budget_remaining_pct"] for slo in book.judge(change("1", 6)).value["slo_impact"]] == [20.0]  # type: ignore[attr-defined]
    book.use(replace(RULES, objectives=RULES.objectives[:1]))
    assert book.judge(change("2", 6)).value["slo_impact"] == []


def test_the_book_is_as_of_its_newest_record_and_forgets_after_90_days(book: Book) -> None:
    book.judge(change("1", 0))
    tell(book, "slo-alerts", alert("payment", 60))
    tell(book, "slo-budgets", budget("payment", 5))
    assert book.now_ms == START_MS + 60 * MINUTE_MS
    tell(book, "slo-budgets", budget("payment", 89 * 24 * 60))
    assert book.impact(change("2", 92 * 24 * 60)).history.changes == 1
    tell(book, "slo-budgets", budget("payment", 91 * 24 * 60))
    assert book.impact(change("2", 92 * 24 * 60)).history.changes == 0
    assert book.holds(change("1", 0))  # a repeat is known for longer


def test_what_became_of_earlier_changes_is_reckoned_with(book: Book) -> None:
    book.judge(change("1", 0))
    tell(book, "slo-budgets", budget("payment", 1))
    book.judge(change("2", 1))
    tell(book, "slo-alerts", alert("checkout", 20), alert("checkout", 20, 30, left_pct=20.0))
    tell(book, "slo-budgets", budget("payment", 60))
    history: Any = book.judge(change("3", 60)).value["history"]
    assert (history["changes"], history["incidents"], history["unresolved"]) == (2, 2, 0)
    assert (history["detect_s"], history["resolve_s"]) == (1170.0, 600.0)
    assert history["since"] == format_ms(START_MS)


def test_a_book_that_reads_its_own_records_again_judges_as_before(book: Book) -> None:
    records: list[tuple[str, Any]] = [
        ("slo-budgets", budget("payment", 1)),
        ("change-impacts", None),
        ("slo-alerts", alert("payment", 5)),
        ("slo-alerts", alert("payment", 5, 9, 35.0)),
        ("slo-budgets", budget("payment", 60, 35.0)),
        ("slo-budgets", budget("checkout", 60, 95.0)),
    ]
    told: list[tuple[str, Any]] = []
    for topic, record in records:
        value = record or orjson.loads(encode(book.judge(change("1", 1))))
        told.append((topic, value))
        if record:
            tell(book, topic, value)
    again = Book(RULES)
    for topic, value in sorted(told, key=lambda one: one[0]):  # as topics are read: each by itself
        tell(again, topic, value)
    assert again.holds(change("1", 1))
    assert encode(again.judge(change("2", 61))) == encode(book.judge(change("2", 61)))


def test_a_repeat_is_held_and_not_judged_twice(book: Book) -> None:
    for _ in range(2):
        book.expect(change("1", 1))
    tell(book, "slo-budgets", budget("payment", 1))
    assert len(list(book.finish())) == 1
    assert book.holds(change("1", 1))
    assert not book.holds(change("1", 2))


def test_equal_knowledge_gives_equal_bytes(book: Book) -> None:
    tell(book, "slo-budgets", budget("payment", 1))
    assert encode(book.judge(change("1", 1))) == encode(book.judge(change("1", 1)))


def test_years_that_cannot_be_read_are_passed_over(book: Book) -> None:
    late = budget("payment", 1) | {"evaluated_at": "10000-01-01T00:00:00.000Z"}
    assert tell(book, "slo-budgets", late) == []
    assert book.now_ms is None


def test_other_topics_and_strange_records_are_not_read(book: Book) -> None:
    assert tell(book, "latency-percentiles", {}) == []
    assert tell(book, "slo-budgets", {}, {"schema": "burngate.budget/v2"}, alert("payment", 1)) == []
    assert book.now_ms is None


def test_lists_are_bounded_and_counts_are_not() -> None:
    services = [f"s{i:04}" for i in range(MAX_AFFECTED + 50)]
    graph = ServiceGraph(
        "shop", "all", (Node("db-proxy"), *(Node(s, ("db-proxy",), (), True) for s in services))
    )
    large = Book(Ruleset(tuple(map(objective, services)), (), (graph,)))
    for service in services:
        tell(large, "slo-budgets", budget(service, 1))
    value: Any = large.judge(change("1", 1, "db-proxy")).value
    assert len(value["affected"]) == len(value["blast_radius"]["critical"]) == MAX_AFFECTED
    assert len(value["slo_impact"]) == MAX_SLOS
    assert value["blast_radius"]["services"] == MAX_AFFECTED + 51
    assert faults("change-impacts", value) == []


def of_namespace(i: int) -> ChangeEvent:
    return ChangeEvent("1", f"n{i}", "a", None, "deploy", START_MS)


def test_changes_of_ever_new_namespaces_are_judged_once() -> None:
    """What became of changes is remembered for so many namespaces; that they were judged, for all."""
    book = Book(Ruleset())
    for i in range(MAX_NAMESPACES + 5):
        book.judge(of_namespace(i))
    assert all(book.holds(of_namespace(i)) for i in range(MAX_NAMESPACES + 5))
    again = Book(Ruleset())
    for i in range(MAX_NAMESPACES + 5):
        again.expect(of_namespace(i))
        again.expect(of_namespace(i))
    assert len(list(again.finish())) == MAX_NAMESPACES + 5


def test_repeats_are_known_in_a_namespace_of_many_changes_and_after_a_restart() -> None:
    book, again = Book(RULES), Book(RULES)
    changes = [change(str(i), i) for i in range(3 * MAX_CHANGES)]
    for event in changes:
        record: Any = book.judge(event).value
        tell(again, "change-impacts", record)
    assert all(book.holds(event) and again.holds(event) for event in changes)


def test_what_is_known_as_judged_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "MAX_JUDGED", 3)
    book = Book(RULES)
    for name in ("1", "2", "3", "1", "4"):
        book.judge(change(name, 1))
    assert [name for name in "1234" if book.holds(change(name, 1))] == ["1", "3", "4"]


def test_changes_of_two_services_with_one_id_do_not_displace_each_other(book: Book) -> None:
    events = [change("1", 1, service) for service in ("payment", "search")]
    events.append(replace(events[0], service=None, resource="payment"))
    ids = {str(book.judge(event).value["id"]) for event in events}
    assert len(ids) == 3
    assert all(book.holds(event) for event in events)
    assert not book.holds(replace(events[0], by="somebody else"))
