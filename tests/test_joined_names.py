"""Names joined to keys: no two services, SLOs or resources ever share one, whatever they are called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from oracle.names import part
from oracle.names import service_key as expected_key

from stream.config import load_rules
from stream.fleet.book import Book
from stream.model.deploy import ChangeEvent
from stream.model.names import encoded, identity, resource_key, service_key, service_prefix
from stream.pipeline import Feed, canary_book, catalog_of
from stream.replay import replay
from stream.slo.catalog import Catalog, counting_key, counting_key_of_format_3, partition_of
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.signal import Signal, headers
from stream.wire.state import decode_shard, encode, key, parse_key

NAME = st.one_of(
    st.text(st.sampled_from("a%/|:2F"), min_size=1, max_size=5),
    st.builds("resource{}".format, st.text(st.sampled_from(":%3A2/|b"), max_size=5)),
)
T0_MS = 1_790_000_040_000
PAIRS = (("a/b", "c"), ("a", "b/c"), ("a|b", "c|60"), ("a%2Fb", "c"), ("a", "resource:db"), ("a", "b"))
"""(namespace, service): the plain joins of the first two are equal, and the escaped join of the first one is
the plain join of the fourth."""
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: "SERVICE", namespace: "NAMESPACE"}
spec:
  service: "SERVICE"
  sli: {metric: availability}
  target: 90
  timeWindow: {type: rolling, duration: 10m}
  alerting: [{window: 1m, burnRateThreshold: 2}]
  errorBudgetPolicy: {freezeDeploymentsThreshold: 50, autoRollbackThreshold: 20}
---
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: "SERVICE", namespace: "NAMESPACE"}
spec:
  service: "SERVICE"
  baseline: [stable]
  metrics: [{name: error-rate}]
  duration: {minimum: 1m, maximum: 20m}
  warmup: 10s
---
apiVersion: sre.example.com/v1
kind: ShadowComparison
metadata: {name: "SERVICE", namespace: "NAMESPACE"}
spec: {service: "SERVICE", maximumMismatch: 5, duration: {minimum: 1m, maximum: 1h}}
"""


def rules(directory: Path, pairs: Sequence[tuple[str, str]] = PAIRS) -> Path:
    path = directory / "rules.yaml"
    path.write_text("---".join(SLO.replace("NAMESPACE", n).replace("SERVICE", s) for n, s in pairs))
    return path


def events(minutes: int = 4) -> list[bytes]:
    """All of the first service fail at first, none of the second; each of the others has its own share."""
    made = []
    for i in range(minutes * 60):
        for number, (namespace, service) in enumerate(PAIRS):
            event = {
                "ts": T0_MS + i * 1000,
                "namespace": namespace,
                "service": service,
                "endpoint": "/x|y/z",
                "status": 500 if (number == 0 and i < 270) or (number > 1 and i % (number + 3) == 0) else 200,
                "latency_ms": 10 * number + 1,
                "version": "2" if i % 2 else "1",
                "track": ("canary", "stable", "shadow")[i % 3],
            }
            made.append(json.dumps(event).encode())
    return made


@given(NAME, NAME, NAME, NAME)
def test_different_names_have_different_keys(a: str, b: str, c: str, d: str) -> None:
    keys = {(a, b): service_key(a, b), (c, d): service_key(c, d)}
    assert len(set(keys.values())) == len(keys)
    assert resource_key(c, d) not in keys.values()
    ids = {(a, b): identity(a, b), (c, d): identity(c, d)}
    assert len(set(ids.values())) == len(ids)
    longer = {(a, b): f"{service_prefix(a, b)}|60|{c}", (c, d): f"{service_prefix(c, d)}|60|{a}"}
    assert len(set(longer.values())) == len(longer)
    assert f"{service_prefix(a, b)}|60" not in (f"{service_prefix(c, d)}|60|{a}", service_key(c, d) + "\0")


@given(NAME, NAME)
def test_keys_are_what_the_contract_says_and_can_be_taken_apart(namespace: str, service: str) -> None:
    assert encoded(namespace) == part(namespace)
    assert service_key(namespace, service) == expected_key(namespace, service)
    assert service_prefix(namespace, service) == expected_key(namespace, service, more=True)
    first, _, rest = service_prefix(namespace, service).partition("/")
    assert (unquote(first), unquote(rest)) == (namespace, service)
    assert identity(namespace, service) == f"{part(namespace)}/{service}"


def test_usual_names_are_joined_as_ever() -> None:
    assert service_key("shop", "payment-50%") == identity("shop", "payment-50%") == "shop/payment-50%"
    assert service_prefix("shop", "payment") == "shop/payment"
    assert resource_key("shop", "db/main") == "shop/resource:db/main"
    assert service_key("shop", "resources:db") == "shop/resources:db"


def test_the_partition_of_a_service_stays_where_it_was() -> None:
    assert [partition_of(*pair, 1000) for pair in PAIRS[:3]] == [465, 465, 143]


def test_each_service_has_records_of_its_own(tmp_path: Path) -> None:
    path = rules(tmp_path)
    loaded = load_rules([path])
    assert len({o.identity for o in loaded.objectives}) == len(PAIRS)
    feed = Feed(loaded.objectives, analyses=loaded.analyses, comparisons=loaded.comparisons)
    frame, _ = feed.decode(events())
    signals = list(feed.push(frame))
    keys: dict[str, dict[str, set[tuple[str, str]]]] = {}
    subjects: dict[str, set[tuple[str, str]]] = {}
    for signal in signals:
        whose = str(signal.value["namespace"]), str(signal.value["service"])
        keys.setdefault(signal.topic, {}).setdefault(signal.key, set()).add(whose)
        subjects.setdefault(dict(headers(signal))["ce_subject"].decode(), set()).add(whose)
    assert {
        *("slo-alerts", "slo-budgets", "deploy-freezes", "deploy-rollbacks", "latency-percentiles"),
        *("canary-verdicts", "rollout-status", "shadow-verdicts"),
    } <= keys.keys()
    for topic, whose in keys.items():
        assert all(len(services) == 1 for services in whose.values()), topic
    assert all(len(services) == 1 for services in subjects.values())
    assert keys["slo-budgets"].keys() == {
        *("a%2Fb/c", "a/b/c", "a%7Cb/c|60", "a%252Fb/c", "a/resource:db", "a/b")
    }
    assert keys["shadow-verdicts"].keys() == {
        *("a%2Fb/c", "a/b/c", "a%7Cb/c|60", "a%252Fb/c", "a/resource%3Adb", "a/b")
    }
    assert "a%7Cb/c%7C60|60|/x|y/z" in keys["latency-percentiles"]
    assert "a/resource%3Adb|300" in keys["latency-percentiles"]


def test_a_service_is_no_resource(tmp_path: Path) -> None:
    book = Book(load_rules([rules(tmp_path)]))
    events_of = (("resource:db", None), (None, "db"), ("resource%3Adb", None), ("db", None))
    keys, subjects = [], []
    for service, resource in events_of:
        signal = book.judge(ChangeEvent("c", "a/b", service, resource, "deploy", T0_MS))
        keys.append(signal.key)
        subjects.append(dict(headers(signal))["ce_subject"].decode())
    assert keys == ["a%2Fb/resource%3Adb", "a%2Fb/resource:db", "a%2Fb/resource%253Adb", "a%2Fb/db"]
    assert subjects == keys


def test_changes_of_alike_names_are_judged_one_by_one(tmp_path: Path) -> None:
    changes = [
        {"change": f"c{i}", "namespace": "a/b", "kind": "deploy", "at": T0_MS + 60_000, **named}
        for i, named in enumerate(
            ({"service": "resource:db"}, {"resource": "db"}, {"service": "resource%3Adb"})
        )
    ]
    (tmp_path / "changes.ndjson").write_text("".join(json.dumps(one) + "\n" for one in changes))
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(events()))
    replay(
        [rules(tmp_path)],
        [str(tmp_path / "events.ndjson")],
        tmp_path / "out",
        changes=[str(tmp_path / "changes.ndjson")],
    )
    found = [json.loads(line) for line in (tmp_path / "out" / "change-impacts.ndjson").open()]
    assert len({one["id"] for one in found}) == 3


# state of format 3


def messages(catalog: Catalog, values: list[bytes]) -> list[bytes]:
    """What a reader sends for them."""
    lexicon, sent = Lexicon(catalog), []
    intake = Intake(0, 1, 0, 1, lexicon, 5_000)
    for start in range(0, len(values), 40):
        batch = values[start : start + 40]
        offsets, stamps = range(start, start + len(batch)), [json.loads(batch[-1])["ts"]] * len(batch)
        for out in intake.feed(start, start + len(batch), offsets, stamps, batch, lexicon):
            if isinstance(out, Sending):
                sent += out.messages.values()
    return sent


def plain(records: dict[bytes, bytes], catalog: Catalog) -> dict[bytes, bytes]:
    """State as format 3 has it: by plain names."""
    old_name = {o.identity: f"{o.namespace}/{o.name}" for o in catalog.objectives}
    old_key = {counting_key(o): counting_key_of_format_3(o) for o in catalog.objectives}
    found = {}
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind == "shard":
            shard = decode_shard(value)
            value = encode(replace(shard, version=3, rows=[old_key[row] for row in shard.rows]))
        elif kind in ("row", "rollout", "trial", "trial-mark", "canary-said", "shadow"):
            name = key(kind, old_name[place[0]], *place[1:])
        elif kind == "alert" and json.loads(value)["namespace"] == "a/b":
            value = value.replace(place[0].encode(), b"an-id-of-before")
            name = key("alert", "an-id-of-before")
        found[name] = value
    return found


def follow(keeper: Keeper, sent: list[bytes], start: int) -> list[Signal]:
    signals = []
    for offset, message in enumerate(sent[start:], start):
        keeper.apply(message, offset, T0_MS + 1_000_000)
        signals += keeper.advance(1)
    return signals


def test_state_of_plain_names_is_found(tmp_path: Path) -> None:
    """Also where a plain name is what another one is called now."""
    pairs = [pair for pair in PAIRS if pair != ("a", "b/c")]
    loaded = load_rules([rules(tmp_path, pairs)])
    catalog = catalog_of(loaded)
    sent = messages(catalog, [value for value in events(8) if b'"b/c"' not in value])
    half = len(sent) // 2
    steady = Keeper(catalog, 1000, None, [canary_book(catalog)])
    follow(steady, sent[:half], 0)
    records = {name: value for name, value in steady.changes().items() if value is not None}
    kinds = {parse_key(name)[0] for name in records}
    assert {"row", "alert", "rollout", "trial", "trial-mark", "canary-said", "shadow"} <= kinds
    old = plain(records, catalog)
    assert len(old) == len(records)
    restored = Keeper(catalog, 1000, dict(old), [canary_book(catalog)])
    assert restored.leftovers == []
    changes = restored.changes()
    assert not any(parse_key(name)[0] in ("pane", "hist") for name in changes), "what is by number stays"
    for name, value in changes.items():
        if value is None:
            del old[name]
        else:
            old[name] = value
    assert {name for name in old.keys() ^ records.keys() if parse_key(name)[0] != "alert"} == set()
    expected, got = follow(steady, sent, half), follow(restored, sent, half)
    assert len(got) > 50
    assert [_without_id(signal) for signal in got] == [_without_id(signal) for signal in expected]
    resolved = [s.value for s in got if s.topic == "slo-alerts" and s.value["namespace"] == "a/b"]
    assert [(record["state"], record["id"]) for record in resolved] == [("resolved", "an-id-of-before")]


def _without_id(signal: Signal) -> tuple[str, str, dict[str, object]]:
    return signal.topic, signal.key, {name: of for name, of in signal.value.items() if name != "id"}
