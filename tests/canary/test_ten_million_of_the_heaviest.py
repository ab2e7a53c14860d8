"""Ten million requests that stand for a million each: every sum of them is exact, and can be taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.canary.counts import EVENTS, SQUARES, WEIGHT, Counts
from stream.canary.trial import BASELINE, CANARY
from stream.config import load_rules
from stream.model.ruleset import Ruleset
from stream.pipeline import Feed, canary_book, catalog_of
from stream.sketch import HistogramSet
from stream.sketch.whole import narrowed
from stream.wire.signal import Signal

T0_MS = 1_790_000_040_000
TIMES, AT_ONCE = 200, 50_000
MANY = TIMES * AT_ONCE
HEAVY = 10**6
RULES = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: up}
spec:
  service: payment
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
  alerting: [{window: 5m, shortWindow: off, burnRateThreshold: 2}]
---
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: payment}
spec:
  service: payment
  method: METHOD
  baseline: [stable]
  metrics: [{name: latency-p50}, {name: error-rate}]
  duration: {minimum: 5m, maximum: 10m}
  warmup: 10s
  minimumEvents: 20
"""


def event(at_ms: int, i: int) -> bytes:
    """Every second one is the canary's; of both a tenth fails."""
    is_canary = i % 2 == 0
    fields = {"ts": T0_MS + at_ms, "service": "payment", "endpoint": "/pay", "sample_rate": 0.000001}
    fields |= {"track": "canary", "version": "2"} if is_canary else {"track": "stable", "version": "1"}
    return json.dumps(fields | {"status": 500 if i % 20 < 2 else 200, "latency_ms": 10 + i % 20}).encode()


def decided(rules: Ruleset) -> tuple[Feed, list[Signal]]:
    """A minute of a few requests, ten million in one pane, and a minute more of a few."""
    feed = Feed(rules.objectives, analyses=rules.analyses)
    few, _ = feed.decode([event(i * 100, i) for i in range(600)])
    many, refused = feed.decode([event(60_000 + i * 9_999 // AT_ONCE, i) for i in range(AT_ONCE)])
    rest, _ = feed.decode([event(70_000 + i * 100, i) for i in range(600)])
    assert not refused
    signals = list(feed.push(few))
    for _ in range(TIMES):
        signals += feed.push(many)
    return feed, signals + list(feed.push(rest))


def at(signals: list[Signal], topic: str) -> list[dict[str, Any]]:
    return [
        s.value for s in signals if s.topic == topic and s.value["evaluated_at"] == "2026-09-21T14:16:00.000Z"
    ]


@pytest.mark.parametrize("method", ["sequential", "fixed"])
def test_all_of_them_count_exactly(tmp_path: Path, method: str) -> None:
    (tmp_path / "rules.yaml").write_text(RULES.replace("METHOD", method))
    rules = load_rules([tmp_path / "rules.yaml"])
    feed, signals = decided(rules)
    counted = MANY + 600 + 500  # up to the second minute
    (budget,) = at(signals, "slo-budgets")
    assert (budget["total"], budget["bad"]) == (counted * HEAVY, counted * HEAVY / 10)
    fired = [s.value for s in signals if s.topic == "slo-alerts"]
    assert sum(one["bad"] for one in fired[0]["contributors"]) > 0
    row = feed.shard.ledger.registry.pairs_of_row[0]
    weights, bads = feed.shard.ledger.history.totals(np.array(sorted(row)), T0_MS // 1000 + 120, 300)
    assert (sum(weights), sum(bads)) == (counted * HEAVY * 10**6, counted * HEAVY * 10**5)
    (verdict,) = at(signals, "canary-verdicts")
    requests = verdict["requests"]
    assert requests["canary"] == requests["baseline"]
    assert 0 <= counted - 2 * requests["canary"] <= 200
    if method == "sequential":
        median, errors = verdict["metrics"]
        assert (median["canary"], median["baseline"]) == pytest.approx((19, 19), rel=0.06)
        assert (errors["canary"], errors["baseline"]) == pytest.approx((0.1, 0.1), abs=1e-5)
        assert errors["effective_n"]["canary"] == requests["canary"]
    assert verdict["slos"][0]["baseline_good_pct"] == pytest.approx(90, abs=1e-4)


def test_a_trial_knows_their_sums_and_so_does_who_takes_it_over(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES.replace("METHOD", "sequential"))
    rules = load_rules([tmp_path / "rules.yaml"])
    feed, _ = decided(rules)
    (case,) = feed.canaries.cases.values()
    trial = case.trial
    assert trial is not None
    for arm in (CANARY, BASELINE):
        n, weight, squares = trial.sums[0, arm].tolist()
        assert n > MANY // 2
        assert (weight, squares) == (n * 10**12, n * 16 * 10**12)
        assert trial.arm(arm).totals().tolist() == [n * 10**12]
        assert trial.arm(arm).squares.tolist() == [n * 16 * 10**12]
        assert trial.arm(arm).effective_sizes().tolist() == [n]
    again = canary_book(catalog_of(rules))
    records = {name: value for name, value in feed.canaries.changes() if value is not None}
    again.restore(records, feed.shard.ledger.decided_s)
    (restored,) = (case.trial for case in again.cases.values())
    assert restored is not None
    assert restored.sums.tolist() == trial.sums.tolist()
    assert restored.cells.tolist() == trial.cells.tolist()
    assert restored.histograms.squares.tolist() == trial.histograms.squares.tolist()
    assert restored.mark.sums.tolist() == trial.mark.sums.tolist()
    assert {name: value for name, value in again.changes() if value is not None} == {}


def test_counts_beyond_64_bits_are_taken_back() -> None:
    def counts(n: int) -> Counts:
        sums = narrowed(np.array([[n, n * 10**12, n * 16 * 10**12]], object))
        cells = narrowed(np.array([[n, n * 10**12, n // 2, n // 2 * 10**12]], object))
        key = np.array([5 << 35 | 7])
        return Counts(key, sums, key, np.array([0]), cells, HistogramSet.empty())

    parts = [counts(n) for n in (1, 10**7, 10**9, 3)]
    merged = Counts.merge(parts)
    total = 10**9 + 10**7 + 4
    assert merged.sums[0, [EVENTS, WEIGHT, SQUARES]].tolist() == [total, total * 10**12, total * 16 * 10**12]
    left = merged.minus(parts[2]).minus(parts[1])
    assert left.sums.tolist() == counts(4).sums.tolist()
    assert left.sums.dtype == left.cells.dtype == np.int64
    assert len(left.minus(Counts.merge([parts[0], parts[3]]))) == 0
    with pytest.raises(ValueError, match="less than an earlier sending"):
        left.minus(parts[1])
