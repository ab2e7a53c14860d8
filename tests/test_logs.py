"""The log of a worker: what libraries say of an outage stays behind our own line, what changed is told."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from stream.agents.contact import MissingTopics
from stream.kafka.state import TRANSACTION_TIMEOUT_S, _why_fenced
from stream.logs import libraries_in_outage, set_up_logging
from stream.model.objective import Availability, Objective, Rolling
from stream.model.ruleset import Ruleset
from stream.slo.edits import edits

OF_AN_OUTAGE = [
    ("aiokafka", 'Unable connect to "%s:%s": %s', ("h", 1, "refused")),
    ("aiokafka", "Unable connect to node with id %s: %s", (1, "refused")),
    ("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", (1, "x")),
    ("aiokafka.consumer.group_coordinator", "Heartbeat send request failed: %s. Will retry.", ("x",)),
    ("aiokafka.consumer.group_coordinator", "Error sending %s to node %s [%s] -- marking", ("x", 1, "y")),
]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]):
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level

    def lines(level: str = "info") -> list[str]:
        return [line for line in capfd.readouterr().err.splitlines() if line]

    yield lines
    libraries_in_outage(False)
    root.handlers[:] = before
    root.setLevel(level)


def test_what_aiokafka_says_of_an_outage_is_not_shown(said) -> None:
    set_up_logging("human", "info")
    for name, message, arguments in OF_AN_OUTAGE:
        logging.getLogger(name).error(message, *arguments)
    assert said() == []
    logging.getLogger("aiokafka").error("Topic %s is not authorized for this client", "t")
    (line,) = said()
    assert "is not authorized" in line


def test_for_debugging_it_is_shown(said) -> None:
    set_up_logging("human", "debug")
    for name, message, arguments in OF_AN_OUTAGE:
        logging.getLogger(name).error(message, *arguments)
    lines = said()
    assert len(lines) == len(OF_AN_OUTAGE)
    assert all(" DEBUG " in line for line in lines)


def test_a_group_that_cannot_be_reached_is_shown_but_for_an_outage(
    said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.logs._NEW_CLUSTER_S", -1.0)
    set_up_logging("human", "info")
    log = logging.getLogger("aiokafka.consumer.group_coordinator")
    libraries_in_outage(True)
    log.error("Group Coordinator Request failed: %s", "x")
    assert said() == []
    libraries_in_outage(False)
    log.error("Group Coordinator Request failed: %s", "x")
    assert len(said()) == 1


def test_a_topic_that_went_is_told_once() -> None:
    missing = MissingTopics()
    assert missing.look({"a": 0, "b": 4}) == [], "at the start nothing is known yet"
    assert missing.look({"a": 8, "b": 4}) == []
    assert missing.look({"a": 0, "b": 4}) == [
        "the topic a is gone: nothing of it is read until it is made again"
    ]
    assert missing.look({"a": 0, "b": 4}) == []
    assert missing.look({"a": 8, "b": 4}) == []
    assert len(missing.look({"a": 0, "b": 0})) == 2


def objective(name: str, target: str = "99", service: str = "payment") -> Objective:
    return Objective(
        name=name,
        namespace="shop",
        service=service,
        sli=Availability(),
        target_pct=Decimal(target),
        window=Rolling(3600),
    )


def test_an_edit_is_told_by_what_it_does_to_the_slos() -> None:
    old = Ruleset((objective("a"), objective("b"), objective("c"), objective("d")))
    new = Ruleset((objective("a"), objective("c", "98"), objective("d", service="pay"), objective("e")))
    assert edits(old, new) == (
        "1 SLO added (shop/e); 1 SLO removed (shop/b); 2 SLOs changed (shop/c, shop/d); "
        "the counts of shop/d start anew"
    )
    assert edits(old, Ruleset(tuple(reversed(old.objectives)))) == "the order of the SLOs changed"
    many = Ruleset(tuple(objective(f"s{number}") for number in range(7)))
    assert edits(Ruleset(), many) == "7 SLOs added (shop/s0, shop/s1, shop/s2, shop/s3, shop/s4, …)"


def test_a_checkpoint_that_missed_its_limit_says_which_one() -> None:
    assert _why_fenced(3, 0.2) == "another worker has taken over the state of partition 3"
    late = _why_fenced(3, TRANSACTION_TIMEOUT_S + 2)
    assert "open for 17 s, over the limit of 15 s" in late
    assert late.startswith("another worker has taken over the state of partition 3")
