"""Wrong decisions that are easy to take: whole feeds of requests, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canary.timelines import never

from stream.canary.book import CanaryBook
from stream.canary.cohorts import MAX_COHORTS
from stream.config import load_rules
from stream.model.deploy import DeployEvent, DeployState
from stream.model.ruleset import Ruleset
from stream.pipeline import Feed, canary_book, catalog_of
from stream.slo.cohorts import cohorts
from stream.slo.lexicon import Lexicon
from stream.wire.cohorts import Cohorts
from stream.wire.decode import decode
from stream.wire.signal import Signal

BEGIN_S = 1_795_410_000
ANALYSIS = """
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: checkout}
spec: {service: checkout, duration: {minimum: 2m, maximum: 10m}, SPEC}
"""
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: NAME}
spec:
  service: checkout
  sli: {metric: availability, successCriteria: {httpStatusCodes: [CODES]}}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""


def rules(tmp_path: Path, spec: str, **slos: str) -> Ruleset:
    documents = [ANALYSIS.replace("SPEC", spec)]
    documents += [SLO.replace("NAME", name).replace("CODES", codes) for name, codes in slos.items()]
    path = tmp_path / "rules.yaml"
    path.write_text("---".join(documents))
    return load_rules([path])


def request(at_s: float, track: str = "stable", version: str = "1", **fields: Any) -> dict[str, Any]:
    fields = {"endpoint": "/pay", "ok": True, "latency_ms": 10.0, **fields}
    return {"ts": int(1000 * at_s), "service": "checkout", "track": track, "version": version, **fields}


def both(seconds: range, per_s: int = 10, **canary: Any) -> Iterator[dict[str, Any]]:
    for second in seconds:
        for _ in range(per_s):
            yield request(BEGIN_S + second)
            yield request(BEGIN_S + second, "canary", "2", **canary)


def feed(rules: Ruleset) -> Feed:
    return Feed(rules.objectives, analyses=rules.analyses, comparisons=rules.comparisons)


def played(feed: Feed, requests: list[dict[str, Any]], deploys: list[DeployEvent] = []) -> list[Signal]:  # noqa: B006
    for event in deploys:
        feed.announce(event)
    found: list[Signal] = []
    for begin in range(0, len(requests), 5000):
        frame, refused = feed.decode([json.dumps(one).encode() for one in requests[begin : begin + 5000]])
        assert not refused
        found += feed.push(frame)
    return found + list(feed.finish())


def verdicts(signals: list[Signal]) -> list[dict[str, Any]]:
    return [signal.value for signal in signals if signal.topic == "canary-verdicts"]


def test_an_analysis_of_errors_alone_is_judged(tmp_path: Path) -> None:
    rows = feed(rules(tmp_path, "metrics: [{name: error-rate}]"))
    assert verdicts(played(rows, list(both(range(300)))))[-1]["verdict"] == "inconclusive"
    rows = feed(rules(tmp_path, "metrics: [{name: error-rate}]"))
    assert verdicts(played(rows, list(both(range(300), ok=False))))[-1]["verdict"] == "fail"


def test_an_analysis_of_which_nothing_can_be_measured_says_so_once_a_minute(tmp_path: Path) -> None:
    found = verdicts(played(feed(rules(tmp_path, "metrics: [{name: throughput}]")), list(both(range(300)))))
    assert len(found) <= 5
    assert found[-1]["reason"] == "nothing was measured of any metric"


@pytest.mark.parametrize(("bad_of_ten", "verdict"), [(5, "fail"), (1, "marginal")])
def test_errors_are_compared_with_the_past_too(tmp_path: Path, bad_of_ten: int, verdict: str) -> None:
    requests = [request(BEGIN_S + second, ok=i > 0) for second in range(600) for i in range(10)]
    requests += [
        request(BEGIN_S + second, version="2", ok=i >= bad_of_ten)
        for second in range(600, 1300)
        for i in range(10)
    ]
    spec = "baseline: [before], metrics: [{name: error-rate}]"
    said = verdicts(played(feed(rules(tmp_path, spec)), requests))[-1]
    assert (said["baseline"]["kind"], said["verdict"]) == ("before", verdict)


def test_where_all_errors_are_sent_and_a_part_of_the_rest_arms_that_are_alike_do_not_fail(
    tmp_path: Path,
) -> None:
    """One request in a hundred fails and is sent, and of the others one in a hundred stands for all."""
    random, requests = np.random.default_rng(7), []
    for second in range(700):
        for track, version, per_s in (("stable", "1", 100), ("canary", "2", 10)):
            bad = int(random.binomial(per_s, 0.01))
            arm = [request(BEGIN_S + second, track, version, ok=False) for _ in range(bad)]
            good = int(random.binomial(per_s - bad, 0.01))
            arm += [request(BEGIN_S + second, track, version, sample_rate=0.01) for _ in range(good)]
            requests += arm
    spec = "minimumEvents: 5, metrics: [{name: error-rate}]"
    said = verdicts(played(feed(rules(tmp_path, spec)), requests))[-1]
    assert said["verdict"] == "marginal"
    (metric,) = said["metrics"]
    assert metric["baseline"] == pytest.approx(0.01, rel=0.2)
    assert metric["canary"] < 0.05


def test_the_fixed_method_counts_sampled_requests_by_their_effective_number(tmp_path: Path) -> None:
    low, spec = 0, "method: fixed, minimumEvents: 1, metrics: [{name: latency-p99}, {name: error-rate}]"
    for seed in range(20):
        random = np.random.default_rng(seed)
        requests = list(both(range(661), 1, sample_rate=0.01))
        for one in requests:
            one |= {"sample_rate": 0.01, "latency_ms": float(random.lognormal(3, 0.6))}
        said = verdicts(played(feed(rules(tmp_path, spec)), requests))[-1]
        low += next(m["p_value"] for m in said["metrics"] if m["name"] == "latency") <= 0.05
    assert low <= 4


def test_a_canary_with_nobody_beside_it_is_told_to_have_requests(tmp_path: Path) -> None:
    for method in ("sequential", "fixed", "kayenta"):
        spec = f"method: {method}, baseline: [stable], metrics: [{{name: error-rate}}]"
        requests = [request(BEGIN_S + second, "canary", "2") for second in range(800)]
        said = verdicts(played(feed(rules(tmp_path, spec)), requests))[-1]
        assert (said["verdict"], said["final"]) == ("nodata", True)
        assert said["reason"] == "there is nothing to compare the canary with: no requests of stable"


def test_what_came_late_of_the_time_before_is_no_part_of_a_stage(tmp_path: Path) -> None:
    requests = [request(BEGIN_S + second) for second in range(300) for _ in range(10)]
    requests += both(range(300, 450))
    requests += [request(BEGIN_S + 10, latency_ms=1.0) for _ in range(3000)]
    requests += both(range(450, 600))
    said = verdicts(played(feed(rules(tmp_path, "metrics: [{name: latency-p50}]")), requests))[-1]
    assert said["verdict"] == "pass"
    assert said["metrics"][0]["baseline"] == pytest.approx(10, rel=0.01)


def test_a_canary_of_long_ago_that_comes_late_begins_nothing(tmp_path: Path) -> None:
    requests = [request(BEGIN_S + second) for second in range(2000)]
    requests += [request(BEGIN_S + 10, "canary", "0.9", ok=False) for _ in range(300)]
    requests += [request(BEGIN_S + second) for second in range(2000, 2100)]
    found = played(feed(rules(tmp_path, "metrics: [{name: error-rate}]", up="2xx")), requests)
    assert not [signal for signal in found if signal.topic == "rollout-status"]


def test_a_canary_whose_requests_always_come_somewhat_late_is_judged(tmp_path: Path) -> None:
    requests = []
    for second in range(400):
        requests += [request(BEGIN_S + second) for _ in range(10)]
        requests += [request(BEGIN_S + second - 30, "canary", "2") for _ in range(10)]
    said = verdicts(played(feed(rules(tmp_path, "metrics: [{name: latency-p50}]")), requests))[-1]
    assert said["verdict"] == "pass"


# rules that change while a stage runs


def taken_up(of: Feed, rules: Ruleset) -> CanaryBook:
    book = canary_book(catalog_of(rules))
    stored = {name: value for name, value in of.canaries.changes() if value is not None}
    book.restore(stored, of.shard.ledger.decided_s)
    return book


def ticks(book: CanaryBook, of: Feed, count: int) -> list[Signal]:
    decided_s = of.shard.ledger.decided_s
    assert decided_s is not None
    return [signal for i in range(1, count + 1) for signal in book.at(decided_s + 10 * i, (), never)]


@pytest.mark.parametrize("method", ["sequential", "fixed", "kayenta"])
@pytest.mark.parametrize(
    "after",
    [
        "{name: latency-p99}, {name: error-rate}, {name: throughput}",
        "{name: error-rate}, {name: latency-p99}",
        "{name: latency-p99}",
    ],
)
def test_metrics_may_change_while_a_stage_runs(tmp_path: Path, after: str, method: str) -> None:
    before = feed(rules(tmp_path, "metrics: [{name: latency-p99}, {name: error-rate}]"))
    played(before, list(both(range(150))))
    book = taken_up(before, rules(tmp_path, f"method: {method}, metrics: [{after}]"))
    for said in verdicts(ticks(book, before, 70)):
        assert not said["last_minute"] or said["last_minute"].get("latency-p99", {}).get("canary") in (
            None,
            pytest.approx(10, rel=0.01),
        )


def test_evidence_against_another_margin_is_none_against_this_one(tmp_path: Path) -> None:
    def spec(percent: int) -> str:
        return f"minimumEvents: 100000, metrics: [{{name: error-rate, margin: {{percent: {percent}}}}}]"

    before = feed(rules(tmp_path, spec(10)))
    requests = list(both(range(200)))
    for i, one in enumerate(requests):
        one["ok"] = i // 2 % 10 >= (3 if one["track"] == "canary" else 1)
    played(before, requests)
    book = taken_up(before, rules(tmp_path, spec(400)))
    found = verdicts(ticks(book, before, 6))
    assert all(metric["e_value"] < 2 for said in found for metric in said["metrics"])


def test_what_an_analysis_saw_of_one_service_says_nothing_of_another(tmp_path: Path) -> None:
    before = feed(rules(tmp_path, "metrics: [{name: error-rate}]"))
    played(before, list(both(range(150))))
    other = rules(tmp_path, "metrics: [{name: error-rate}]")
    text = (tmp_path / "rules.yaml").read_text().replace("service: checkout", "service: cart")
    (tmp_path / "rules.yaml").write_text(text)
    other = load_rules([tmp_path / "rules.yaml"])
    book = taken_up(before, other)
    (case,) = book.cases.values()
    assert case.rollout.release is None
    assert case.trial is None


def test_the_past_of_an_slo_stays_its_own_when_others_come(tmp_path: Path) -> None:
    spec = "baseline: [before], metrics: [{name: slo/up}]"
    before = feed(rules(tmp_path, spec, up="2xx"))
    played(before, [request(BEGIN_S + second, status=200) for second in range(300)])
    book = taken_up(before, rules(tmp_path, spec, able="404", up="2xx"))
    past = book.past.before(10**9)
    found = {
        book.cohorts.columns[column]: bad
        for column, (_, _, bad, _) in zip(past.cell_columns, past.cells, strict=True)
    }
    assert found == {"availability": 0, "availability http=2xx grpc=": 0}
    book.changes()


def test_stages_without_end_have_some_alpha_left(tmp_path: Path) -> None:
    begun = [
        DeployEvent("d", "default", "checkout", DeployState.STARTED, 1000 * BEGIN_S, "2", "1", Decimal(5))
    ]
    begun += [
        DeployEvent("d", "default", "checkout", DeployState.STAGE, 1000 * (BEGIN_S + 10 * i), "2", "1", pct)
        for i in range(1, 400)
        for pct in [Decimal(5 if i % 2 else 25)]
    ]
    requests = [one for second in range(0, 4100, 10) for one in both(range(second, second + 1), 1)]
    spec = "warmup: 0s, minimumEvents: 1, metrics: [{name: latency-p99}, {name: error-rate}]"
    with np.errstate(all="raise", under="ignore"):
        assert verdicts(played(feed(rules(tmp_path, spec)), requests, begun))


EVER = range(2**40)
"""No pane is too late or too far ahead."""


def test_a_chunk_that_grows_past_the_forgetting_of_cohorts_is_read_as_before(tmp_path: Path) -> None:
    """What found no room when its chunk began would find some by now."""
    said = rules(tmp_path, "metrics: [{name: error-rate}]")
    catalog = catalog_of(said)
    book, lexicon = canary_book(catalog), Lexicon(catalog)
    hour_s = BEGIN_S // 3600 * 3600

    def counted(requests: list[dict[str, Any]]) -> Cohorts:
        frame, refused = decode([json.dumps(one).encode() for one in requests], lexicon.interner, None)
        assert not refused
        judge = lexicon.cohort_judge
        assert judge is not None
        return cohorts(frame, judge)[0]

    full = [request(hour_s, endpoint=f"/{i}") for i in range(MAX_COHORTS)]
    book.observe(0, counted(full), False, True, EVER, None)
    list(book.at(hour_s + 10, (), never))
    chunk = [request(hour_s + 11, endpoint="/new")]
    book.observe(1, counted(chunk), False, False, EVER, hour_s + 10)
    later_s = hour_s + 6 * 3600
    for tick_s in range(hour_s + 20, later_s + 10, 10):
        list(book.at(tick_s, (), never))
    assert len(book.cohorts.names) == 1
    chunk += [request(later_s, endpoint="/new"), request(later_s, endpoint="/newer")]
    book.observe(1, counted(chunk), True, False, EVER, later_s)
    assert sum(int(one.sums[:, 0].sum()) for parts in book.pending.values() for one in parts) == 2
