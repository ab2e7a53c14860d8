"""Both stages with an imagined Kafka between them give what replay gives, whatever is read again."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stream.config import load_rules
from stream.model.deploy import DeployEvent
from stream.pipeline import Feed, canary_book, catalog_of
from stream.slo.catalog import Catalog, partition_of
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire import pieces
from stream.wire.notice import pack_deploy
from stream.wire.partial import encode_notices, encode_reports
from stream.wire.pieces import split
from stream.wire.signal import Signal, encode

SLOS = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: NAME, namespace: shop}
spec:
  service: SERVICE
  sli: SLI
  target: 99
  timeWindow: WINDOW
  alerting:
    - {window: 5m, burnRateThreshold: 5, severity: critical}
    - {window: 1m, shortWindow: off, burnRateThreshold: 10, severity: warning, keepFiringFor: 30s}
  errorBudgetPolicy: {freezeDeploymentsThreshold: 60, autoRollbackThreshold: 40}
"""
ANALYSIS = """
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: SERVICE-canary, namespace: shop}
spec:
  service: SERVICE
  method: METHOD
  baseline: BASELINE
  metrics:
    - {name: latency-p50}
    - {name: latency-p99, margin: {percent: 0}}
    - {name: error-rate, critical: true}
    - {name: slo/SERVICE-fast}
    - {name: throughput}
  duration: {minimum: 1m, maximum: 5m}
  warmup: 20s
  minimumEvents: 20
"""
COMPARISON = """
apiVersion: sre.example.com/v1
kind: ShadowComparison
metadata: {name: search-shadow, namespace: shop}
spec:
  service: search
  compare: {mismatch: ok}
  maximumMismatch: 5
  duration: {minimum: 1m, maximum: 5m}
  minimumEvents: 20
"""
METHODS = {"payment": "sequential", "search": "fixed", "cart": "kayenta"}
BASELINES = {"payment": "[stable]", "search": "[baseline, stable]", "cart": "[baseline, before]"}
AVAILABILITY = "{metric: availability}"
LATENCY = "{metric: latency, threshold: 100ms, measurementWindow: 5m}"
SLICES = "{metric: latency, threshold: 100ms, percentile: 90, measurementWindow: 1m}"
HALF_HOUR = "{type: rolling, duration: 30m}"
TODAY = "{type: calendar, duration: 1d, timeZone: Europe/Berlin}"

SOURCES, PARTITIONS = 3, 2
MAX_SERIES = 1000


def slo_file(directory: Path) -> Path:
    documents = [
        SLOS.replace("NAME", f"{service}-{kind}")
        .replace("SERVICE", service)
        .replace("SLI", sli)
        .replace("WINDOW", w)
        for service in ("payment", "search", "cart")
        for kind, sli, w in (
            ("up", AVAILABILITY, HALF_HOUR),
            ("fast", LATENCY, TODAY),
            ("slices", SLICES, HALF_HOUR),
        )
    ]
    documents += [COMPARISON]
    documents += [
        ANALYSIS.replace("SERVICE", service)
        .replace("METHOD", METHODS[service])
        .replace("BASELINE", BASELINES[service])
        for service in METHODS
    ]
    path = directory / "slos.yaml"
    path.write_text("---\n".join(documents))
    return path


def events(rng: random.Random, count: int) -> list[bytes]:
    """In disorder within four seconds, with a burst of errors, a poison record now and then, weights."""
    made, ts = [], 1_790_000_000_000
    for i in range(count):
        ts += rng.choice([0, 0, 50, 400])
        bad = rng.random() < (0.3 if count * 0.4 < i < count * 0.6 else 0.002)
        event: dict[str, Any] = {
            "ts": ts - rng.randrange(4_000),
            "namespace": "shop",
            "service": rng.choice(["payment", "payment", "search", "cart", "nobody"]),
            "endpoint": f"/{rng.randrange(4)}",
            "status": 500 if bad else 200,
            "latency_ms": rng.randrange(1, 90) + (60 if bad else 0),
            "version": "v1",
        }
        if rng.random() < 0.1:
            event["track"] = "shadow"
        elif i > count // 3 and rng.random() < 0.5:
            event |= {"track": "canary", "version": "v2", "latency_ms": event["latency_ms"] * 2}
        if rng.random() < 0.3:
            event["sample_rate"] = rng.choice([0.1, 0.3, 0.01])
        made.append(b"{poison" if rng.random() < 0.002 else json.dumps(event).encode())
    return made


class Broker:
    """Logs of the input and of the partials topic, and the committed state."""

    def __init__(self, lines: list[bytes], rng: random.Random, stamps: Sequence[int] | None = None) -> None:
        """``stamps``: Kafka's time of each line."""
        self.input: list[list[tuple[int, int, bytes]]] = [[] for _ in range(SOURCES)]
        for i, line in enumerate(lines):
            source = rng.randrange(SOURCES)
            gap = rng.choice([0, 0, 0, 3])  # control records and aborted transactions
            offset = (self.input[source][-1][0] if self.input[source] else -1) + 1 + gap
            stamp = 1_790_000_010_000 + i * 110 if stamps is None else stamps[i]
            self.input[source].append((offset, stamp, line))
        self.committed = [0] * SOURCES
        self.partials: list[list[tuple[int, bytes]]] = [[] for _ in range(PARTITIONS)]
        """With the broker's stamps."""
        self.state: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.signals: list[Signal] = []


class Reader:
    """A stage one of one source partition, reading from what was committed."""

    def __init__(self, broker: Broker, source: int, lexicon: Lexicon, term: int) -> None:
        self.broker, self.source, self.lexicon = broker, source, lexicon
        start = broker.committed[source]
        self.intake = Intake(source, 1, start, term, lexicon, 5_000)
        self.refused: list[int] = []

    def step(self, size: int) -> bool:
        """Read a batch; False when there is nothing left."""
        log = [r for r in self.broker.input[self.source] if r[0] >= self.intake.end][:size]
        begin = self.intake.end
        end = log[-1][0] + 1 if log else begin
        for out in self.intake.feed(
            begin, end, [r[0] for r in log], [r[1] for r in log], [r[2] for r in log], self.lexicon
        ):
            if isinstance(out, Sending):
                self.deliver(out)
            else:
                self.refused.append(out.offset)
        return bool(log)

    def deliver(self, sending: Sending) -> None:
        read_ms = max((r[1] for r in self.broker.input[self.source] if r[0] < self.intake.end), default=0)
        for target in range(PARTITIONS):
            message = sending.messages.get(target) or encode_reports([sending.report])
            log = self.broker.partials[target]
            stamp_ms = max(read_ms + 200, log[-1][0] if log else 0)
            log += [(stamp_ms, piece) for piece in split(message, sending.report)]
        if sending.committable is not None:
            self.broker.committed[self.source] = max(self.broker.committed[self.source], sending.committable)


class Owner:
    """A stage two of one partition."""

    def __init__(self, broker: Broker, partition: int, catalog: Catalog) -> None:
        self.broker, self.partition, self.catalog = broker, partition, catalog
        mine = catalog.of_partition(partition, PARTITIONS)
        self.keeper = Keeper(mine, MAX_SERIES, broker.state[partition], [canary_book(mine)])
        self.due: list[Signal] = []

    def step(self, size: int) -> None:
        log = self.broker.partials[self.partition]
        for offset in range(self.keeper.position, min(len(log), self.keeper.position + size)):
            stamp_ms, message = log[offset]
            self.keeper.apply(message, offset, stamp_ms)
            self.due += self.keeper.advance(SOURCES)

    def checkpoint(self) -> None:
        state = self.broker.state[self.partition]
        for name, value in self.keeper.changes().items():
            if value is None:
                state.pop(name, None)
            else:
                state[name] = value
        self.broker.signals += self.due
        self.due = []


def run_live(
    lines: list[bytes],
    slos: Path,
    rng: random.Random,
    *,
    crashes: bool,
    stamps: Sequence[int] | None = None,
    deploys: Sequence[DeployEvent] = (),
) -> Broker:
    """``deploys`` are known before the first request, each to the owner of its service."""
    rules = load_rules([slos])
    catalog = catalog_of(rules)
    broker = Broker(lines, rng, stamps)
    for event in deploys:
        target = partition_of(event.namespace, event.service, PARTITIONS)
        broker.partials[target].append((0, encode_notices([pack_deploy(event)])))
    readers = [Reader(broker, s, Lexicon(catalog, PARTITIONS), 1) for s in range(SOURCES)]
    owners = [Owner(broker, p, catalog) for p in range(PARTITIONS)]
    term, zombies = 1, []
    reading = True
    while reading:
        reading = False
        for s in rng.sample(range(SOURCES), SOURCES):
            reading |= readers[s].step(rng.choice([1, 7, 100, 400]))
        for p in range(PARTITIONS):
            owners[p].step(rng.choice([1, 3, 50]))
            if rng.random() < 0.5:
                owners[p].checkpoint()
        if crashes and rng.random() < 0.2:
            s, term = rng.randrange(SOURCES), term + 1
            zombies.append(readers[s])
            readers[s] = Reader(broker, s, Lexicon(catalog, PARTITIONS), term)
            reading = True
        if crashes and zombies and rng.random() < 0.2:
            rng.choice(zombies).step(50)
        if crashes and rng.random() < 0.2:
            p = rng.randrange(PARTITIONS)
            owners[p] = Owner(broker, p, catalog)
    for reader in readers:
        if (sending := reader.intake.flush()) is not None:
            reader.deliver(sending)
    for owner in owners:
        owner.step(10**9)
        owner.checkpoint()
    return broker


def by_topic(signals: list[Signal], last: str) -> dict[str, Counter[bytes]]:
    """Records up to a tick; percentiles without their quantiles, which are approximate."""
    found: dict[str, Counter[bytes]] = {}
    for signal in signals:
        value = dict(signal.value)
        if str(value["evaluated_at"]) > last:
            continue
        if signal.topic == "latency-percentiles":
            for name in ("p50", "p90", "p95", "p99", "p999", "mean"):
                del value[name]
        found.setdefault(signal.topic, Counter())[encode(Signal(signal.topic, signal.key, value))] += 1
    return found


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_both_stages_decide_what_replay_decides(
    tmp_path: Path, seed: int, crashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    if seed % 2:
        monkeypatch.setattr(pieces, "PIECE_BYTES", 700)  # nearly all partials are larger
    slos, lines = slo_file(tmp_path), events(rng, 9_000)
    rules = load_rules([slos])
    feed = Feed(rules.objectives, analyses=rules.analyses, comparisons=rules.comparisons)
    frame, _ = feed.decode(lines)
    replayed = list(feed.push(frame))
    live = run_live(lines, slos, rng, crashes=crashes)
    last = max(str(s.value["evaluated_at"]) for s in live.signals)
    expected, got = by_topic(replayed, last), by_topic(live.signals, last)
    assert got.keys() == expected.keys()
    assert {"slo-alerts", "slo-budgets", "deploy-freezes", "deploy-rollbacks"} <= got.keys()
    assert {"canary-verdicts", "rollout-status", "shadow-verdicts"} <= got.keys()
    for topic, records in expected.items():
        assert got[topic] == records, topic
