"""What a worker tells in its log of the job: decisions, events that nobody asked for, bad records."""

from __future__ import annotations

import json
import logging

import pytest

from stream.agents.tidings import MOST_STRANGERS, BadRecords, Strangers, nearest, tell_decisions
from stream.config import load_rules
from stream.model.ruleset import Ruleset
from stream.model.stats import MOST_UNMATCHED, OTHERS, Stats
from stream.slo.intake import Intake, Sending
from stream.slo.lexicon import Lexicon

SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: %s, namespace: %s}
spec:
  service: %s
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""


@pytest.fixture
def rules(tmp_path) -> Ruleset:
    documents = [SLO % ("a", "travel", "booking"), SLO % ("b", "shop", "payment")]
    (tmp_path / "slos.yaml").write_text("---\n".join(documents))
    return load_rules([tmp_path])


@pytest.mark.parametrize(
    ("service", "near"),
    [
        (("default", "booking"), ("travel", "booking")),
        (("shop", "payments"), ("shop", "payment")),
        (("Shop", "payment"), ("shop", "payment")),
        (("warehouse", "x"), None),
    ],
)
def test_the_service_that_was_probably_meant_is_found(
    rules: Ruleset, service: tuple[str, str], near: tuple[str, str] | None
) -> None:
    assert nearest(service, rules) == near


def test_a_service_without_a_rule_is_told_once(rules: Ruleset, caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers()
    for _ in range(3):
        strangers.tell([("default", "booking"), ("warehouse", "x")], rules)
    assert caplog.messages == [
        "events say default/booking; an SLO is for travel/booking",
        "events say warehouse/x; no rule is for it",
    ]
    assert (caplog.records[0].namespace, caplog.records[0].service) == ("default", "booking")


def test_only_so_many_are_told(rules: Ruleset, caplog: pytest.LogCaptureFixture) -> None:
    Strangers().tell(((f"n{number}", "x") for number in range(1_000)), rules)
    assert len(caplog.messages) == MOST_STRANGERS


def test_events_without_a_rule_are_counted_once_by_service_however_often_their_chunk_is_sent(
    rules: Ruleset,
) -> None:
    from stream.agents.rules import Rules

    lexicon: Lexicon = Rules(rules, 1).lexicon
    intake, stats = Intake(0, 1, 0, 1, lexicon, 5_000), Stats()
    offset = 0

    def feed(namespace: str, ts_ms: int) -> None:
        nonlocal offset
        event = {"ts": ts_ms, "namespace": namespace, "service": "booking", "status": 200}
        values = [json.dumps(event).encode()]
        for out in intake.feed(offset, offset + 1, [offset], [ts_ms], values, lexicon):
            assert isinstance(out, Sending)
            stats.count_unmatched(out.unmatched)
        offset += 1

    start_ms = 1_795_410_000_000
    for number in range(40):
        feed(["default", "other", "travel", "default"][number % 4], start_ms + 1_000 * number)
    sending = intake.flush()
    if sending is not None:
        stats.count_unmatched(sending.unmatched)
    assert stats.unmatched_by == {("default", "booking"): 20, ("other", "booking"): 10}
    assert stats.unmatched == 30


def test_services_that_are_counted_by_name_are_bounded() -> None:
    stats = Stats()
    from collections import Counter

    stats.count_unmatched(Counter({("n", str(number)): 2 for number in range(MOST_UNMATCHED + 50)}))
    stats.count_unmatched(Counter({("n", "0"): 1, ("n", "new"): 1}))
    assert len(stats.unmatched_by) == MOST_UNMATCHED + 1
    assert stats.unmatched_by[OTHERS] == 101
    assert stats.unmatched_by["n", "0"] == 3
    assert stats.unmatched == 2 * (MOST_UNMATCHED + 50) + 2


def test_the_first_bad_record_of_each_kind_and_hour_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = [100.0]
    bad = BadRecords(lambda: clock[0])
    for second, error in [(0, "not_json"), (1, "not_json"), (2, "bad_time"), (3_599, "not_json")]:
        clock[0] = 100.0 + second
        bad.tell("request-events", 3, second, error, "line 1: …")
    clock[0] = 100.0 + 3_600
    bad.tell("request-events", 3, 9, "not_json", "again")
    assert caplog.messages == [
        "request-events[3]: the record at offset 0 is a dead letter, not_json: line 1: … (the first of its "
        "kind in an hour)",
        "request-events[3]: the record at offset 2 is a dead letter, bad_time: line 1: … (the first of its "
        "kind in an hour)",
        "request-events[3]: the record at offset 9 is a dead letter, not_json: again (the first of its kind "
        "in an hour)",
    ]
    assert caplog.records[0].error == "not_json"


AT = "2026-11-23T10:00:00Z"
WHO = {"namespace": "shop", "service": "payment", "evaluated_at": AT}
PUBLISHED = [
    ("slo-alerts", WHO | {"slo": "p", "state": "firing", "severity": "critical"}),
    ("slo-budgets", WHO),
    ("deploy-freezes", WHO | {"state": "frozen", "since": AT, "reasons": [{"slo": "p"}, {"slo": "q"}]}),
    ("deploy-freezes", WHO | {"state": "open", "since": AT, "reasons": []}),
    ("deploy-rollbacks", WHO | {"slo": "p", "version": "2.0", "previous_version": "1.0"}),
    ("deploy-rollbacks", WHO | {"slo": "p", "version": None, "previous_version": None}),
    ("canary-verdicts", WHO | {"analysis": "a", "verdict": "fail", "final": True, "reason": "slow"}),
    ("canary-verdicts", WHO | {"analysis": "a", "verdict": "inconclusive", "final": False, "reason": "x"}),
    ("shadow-verdicts", WHO | {"comparison": "c", "verdict": "pass", "final": True, "reason": "alike"}),
    ("latency-percentiles", WHO),
]


def test_each_decision_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tell_decisions((topic, json.dumps(record).encode()) for topic, record in PUBLISHED)
        tell_decisions([("deploy-freezes", None)])
    assert caplog.messages == [
        f"alert firing: shop/p, critical, as of {AT}",
        f"deployments of shop/payment are frozen, since {AT}, because of p, q",
        f"deployments of shop/payment are open again, since {AT}",
        f"rollback of shop/payment is called for of 2.0 to 1.0, as of {AT}",
        f"rollback of shop/payment is called for, as of {AT}",
        f"verdict of shop/a: fail, slow, as of {AT}",
        f"verdict of shop/c: pass, alike, as of {AT}",
    ]
    assert caplog.records[0].slo == "p"
