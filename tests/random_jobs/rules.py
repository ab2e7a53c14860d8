"""Random valid SLO files: objectives, canary analyses, comparisons and service graphs of a few services."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

ODD = (
    "café",
    "a b",
    "100%",
    "x|y",
    "team/a",
    "resource:db",
    "%2F",
    "🚀",
    "'quoted\"",
    "-",
    "ns:svc",
    "Ω" * 200,
)
"""Names that somebody will have."""
PLAIN = ("payment", "search", "cart", "ledger")
ENDPOINTS = ("/pay", "/pay/card", "/v1/orders/{id}", "", "/é", "/a|b")
TRACKS = ("stable", "canary", "baseline", "shadow")
METRICS = (
    "latency-p50",
    "latency-p90",
    "latency-p95",
    "latency-p99",
    "latency-p99.9",
    "error-rate",
    "throughput",
)
WINDOWS = ("10s", "15s", "30s", "1m", "90s", "5m", "30m", "1h", "6h", "1d", "3d", "30d")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Document = dict[str, Any]


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    slos: tuple[str, ...]
    analysed: bool
    compared: bool


@dataclass(frozen=True)
class Rules:
    text: str
    services: tuple[Service, ...]


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS_S[duration[-1]]


def rules(rng: random.Random) -> Rules:
    """Files are a list of documents in one text; every name that one of them needs is there."""
    namespaces = rng.choice([["shop"], ["shop"], ["default", "shop"], [rng.choice(ODD)]])
    documents: list[Document] = []
    services: dict[tuple[str, str], Service] = {}
    for number in range(rng.choice([1, 1, 1, 2, 3])):
        namespace = rng.choice(namespaces)
        name = rng.choice(ODD) if rng.random() < 0.1 else PLAIN[number]
        if (namespace, name) not in services:
            service, more = _of_service(rng, namespace, name)
            services[namespace, name] = service
            documents += more
    if rng.random() < 0.3:
        documents.append(_graph(rng, [*services.values()]))
    rng.shuffle(documents)
    text = "---\n".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents)
    return Rules(text, tuple(services.values()))


def _of_service(rng: random.Random, namespace: str, name: str) -> tuple[Service, list[Document]]:
    slos = [_objective(rng, namespace, name, i) for i in range(rng.choice([0, 1, 1, 2, 3]))]
    named = tuple(slo["metadata"]["name"] for slo in slos)
    analysed, compared = rng.random() < 0.6, rng.random() < 0.05  # whose intervals take long
    documents = list(slos)
    if analysed:
        documents.append(_analysis(rng, namespace, name, named))
    if compared:
        documents.append(_comparison(rng, namespace, name, named))
    if not documents:
        documents.append(_objective(rng, namespace, name, 0))
        named = (documents[0]["metadata"]["name"],)
    return Service(namespace, name, named, analysed, compared), documents


def _document(rng: random.Random, kind: str, namespace: str, name: str, spec: Document) -> Document:
    metadata: Document = {"name": name}
    if namespace != "default" or rng.random() < 0.5:
        metadata["namespace"] = namespace
    if rng.random() < 0.1:
        metadata["labels"] = {"team": "α", "tier": "1"}
    return {"apiVersion": "sre.example.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


# objectives


def _objective(rng: random.Random, namespace: str, service: str, number: int) -> Document:
    target = rng.choice(["99", "99.9", "95", "50", "99.999", "90.5"])
    window = _time_window(rng)
    spec: Document = {
        "service": service,
        "sli": _sli(rng, target),
        "target": _number(target),
        "timeWindow": window,
    }
    if rng.random() < 0.8:
        spec["alerting"] = _alerting(rng, target)
    if rng.random() < 0.6:
        policy = {"freezeDeploymentsThreshold": _percent(rng), "autoRollbackThreshold": _percent(rng)}
        policy["hysteresis"] = rng.choice([0, 0.5, 7, 50])
        spec["errorBudgetPolicy"] = {key: policy[key] for key in policy if rng.random() < 0.8}
    if rng.random() < 0.2:
        spec["endpoints"] = rng.choice([["/pay*"], ["/pay/?ard", "*orders*"], ["*"], [""], ["/nowhere"]])
    if rng.random() < 0.2:
        spec["tracks"] = rng.sample(TRACKS, rng.randint(1, 4))
    if rng.random() < 0.3:
        spec["budgetBasis"] = rng.choice(["projected", "observed"])
    if rng.random() < 0.1:
        spec["description"] = "what it is\nfor"
    suffix = rng.choice(ODD) if rng.random() < 0.05 else "slo"
    return _document(rng, "ServiceLevelObjective", namespace, f"{service[:60]}-{suffix[:60]}-{number}", spec)


def _sli(rng: random.Random, target: str) -> Document:
    if rng.random() < 0.55:
        sli: Document = {"metric": "availability"}
        if rng.random() < 0.4:
            criteria = {
                "httpStatusCodes": rng.choice([["2xx", 404], [200], ["1xx", "2xx", "3xx", "4xx"]]),
                "grpcStatusCodes": rng.choice([["OK"], [0, "NOT_FOUND"], [5]]),
            }
            sli["successCriteria"] = {key: criteria[key] for key in criteria if rng.random() < 0.7}
        return sli
    sli = {"metric": "latency", "threshold": rng.choice(["1ms", "50ms", "100ms", "2s"])}
    sli["measurementWindow"] = rng.choice(["10s", "1m", "5m", "7m"])
    if rng.random() < 0.5:
        sli["percentile"] = _number(rng.choice([target, "50", "90", "99.9"]))
    return sli


def _time_window(rng: random.Random) -> Document:
    if rng.random() < 0.65:
        return {"type": "rolling", "duration": rng.choice(WINDOWS)}
    window: Document = {"type": "calendar", "duration": rng.choice(["1d", "1w", "1M", "1q", "1y"])}
    if rng.random() < 0.7:
        zones = (
            "UTC",
            "Europe/Berlin",
            "Asia/Kolkata",
            "America/New_York",
            "Pacific/Apia",
            "Australia/Lord_Howe",
        )
        window["timeZone"] = rng.choice(zones)
    return window


def _alerting(rng: random.Random, target: str) -> list[Document]:
    most = 100 / (100 - Fraction(target))
    found = []
    for window in rng.sample(["10s", "1m", "5m", "30m", "1h", "6h"], rng.randint(1, 3)):
        share = Fraction(rng.choice([0, 1, 5, 20, 70, 99]), 100)
        rule: Document = {"window": window, "burnRateThreshold": _number(f"{float(most * share):.4f}")}
        if rng.random() < 0.4:
            shorter = [one for one in WINDOWS if seconds(one) <= seconds(window)]
            rule["shortWindow"] = rng.choice([False, "off", *shorter])
        if rng.random() < 0.5:
            rule["minBadEvents"] = rng.choice([0, 1, 3, 50])
        if rng.random() < 0.5:
            rule["keepFiringFor"] = rng.choice(["0s", "15s", "1m", "10m"])
        if rng.random() < 0.5:
            rule["severity"] = rng.choice(["info", "warning", "critical"])
        if rng.random() < 0.2:
            rule["notificationChannels"] = ["pager", "ops@example.com"]
        found.append(rule)
    return found


def _percent(rng: random.Random) -> Any:
    return _number(rng.choice(["0", "5", "10.5", "50", "80", "99.99", "100"]))


def _number(text: str) -> int | float:
    found = Decimal(text)
    return int(found) if found == found.to_integral_value() else float(found)


# analyses, comparisons, graphs


def _analysis(rng: random.Random, namespace: str, service: str, slos: tuple[str, ...]) -> Document:
    names = [*METRICS, *(f"slo/{name}" for name in slos)]
    spec: Document = {
        "service": service,
        "metrics": [_metric(rng, name) for name in rng.sample(names, rng.randint(1, min(5, len(names))))],
        "method": rng.choice(["sequential", "fixed", "kayenta"]),
        "duration": rng.choice(
            [{"minimum": "10s", "maximum": "1m"}, {"minimum": "1m", "maximum": "3m"}, {"maximum": "7m"}, {}]
        ),
        "warmup": rng.choice(["0s", "10s", "20s", "1m"]),
        "minimumEvents": rng.choice([0, 1, 5, 20, 100]),
    }
    if spec["duration"] == {"maximum": "7m"}:
        spec["duration"]["minimum"] = "0s"
    if rng.random() < 0.6:
        kinds = ["baseline", "stable", "before"]
        spec["baseline"] = rng.sample(kinds, rng.randint(1, 3))
    if rng.random() < 0.4:
        spec["alpha"] = rng.choice([0.05, 0.000001, 0.5, 0.999])
    if rng.random() < 0.4:
        marginal, passing = sorted(rng.choice([0, 50, 70, 95, 100]) for _ in range(2))
        spec["scores"] = {"pass": passing, "marginal": marginal}
    if rng.random() < 0.6:
        spec["stages"] = rng.choice([[100], [5, 25, 50, 100], [50], [0.1, 99.9], [33]])
    if rng.random() < 0.3:
        spec["onFail"] = rng.choice(["rollback", "advise"])
    if rng.random() < 0.2:
        spec["asPublished"] = rng.random() < 0.5
    return _document(rng, "CanaryAnalysis", namespace, f"{service[:90]}-canary", spec)


def _metric(rng: random.Random, name: str) -> Document:
    metric: Document = {"name": name}
    if rng.random() < 0.5:
        metric["margin"] = {"percent": rng.choice([0, 5, 25, 1000, 0.5])}
        if rng.random() < 0.5:
            metric["margin"]["least"] = rng.choice([0, 1, 0.1, 100])
    if rng.random() < 0.4:
        ways = ["increase"]
        if name == "throughput":
            ways = ["decrease", "either"]
        elif name.startswith("latency"):
            ways = ["increase", "decrease", "either"]
        metric["direction"] = rng.choice(ways)
    if rng.random() < 0.3:
        metric["weight"] = rng.choice([1, 0.001, 1000, 3])
    if rng.random() < 0.3:
        metric["critical"] = rng.random() < 0.7
    return metric


def _comparison(rng: random.Random, namespace: str, service: str, slos: tuple[str, ...]) -> Document:
    spec: Document = {"service": service, "maximumMismatch": rng.choice([0.1, 5, 99, 0.000001])}
    if rng.random() < 0.5:
        spec["compare"] = {"mismatch": rng.choice(["ok", *(f"slo/{name}" for name in slos)])}
    spec["duration"] = rng.choice([{"minimum": "0s", "maximum": "30s"}, {"minimum": "1m", "maximum": "2m"}])
    spec["minimumEvents"] = rng.choice([0, 1, 20, 1000])
    if rng.random() < 0.3:
        spec["alpha"] = rng.choice([0.01, 0.9])
    return _document(rng, "ShadowComparison", namespace, f"{service[:90]}-shadow", spec)


def _graph(rng: random.Random, services: list[Service]) -> Document:
    namespace = services[0].namespace
    names = [*dict.fromkeys([*(s.name for s in services if s.namespace == namespace), "edge", "store"])]
    nodes = []
    for name in names:
        node: Document = {"name": name}
        others = [one for one in names if one != name]
        if rng.random() < 0.7:
            node["dependsOn"] = rng.sample(others, rng.randint(1, len(others)))
        if rng.random() < 0.4:
            node["resources"] = rng.sample(["db", "queue", "café"], rng.randint(1, 3))
        if rng.random() < 0.4:
            node["critical"] = rng.random() < 0.5
        nodes.append(node)
    return _document(rng, "ServiceGraph", namespace, "graph", {"services": nodes})
