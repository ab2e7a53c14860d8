"""Releases of a shop: stretches of requests of one or two versions, good or bad, with pauses between, and
deploy events that take versions back."""

from __future__ import annotations

import json
import random

START_MS = 1_790_000_000_000
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: {name}, namespace: shop}}
spec:
  service: {service}
  sli: {{metric: availability}}
  target: 90
  timeWindow: {{type: rolling, duration: {window}}}
  budgetBasis: observed
  errorBudgetPolicy: {{autoRollbackThreshold: {threshold}}}
"""
RULES = "---".join(
    SLO.format(name=name, service=service, window=window, threshold=threshold)
    for name, service, window, threshold in (
        ("brief", "payment", "1m", 20),
        ("briefest", "payment", "20s", 70),
        ("search", "search", "40s", 50),
    )
)
VERSIONS = ("1", "2", "3", "10", "éa")
PAUSES_S = (0, 10, 60, 290, 300, 310, 1800, 3580, 3600, 3620, 30_000, 86_400, 90_000)


LATE_MS = (0, 0, 3_000, 50_000)


def history(
    rng: random.Random, length: int, late_ms: tuple[int, ...] = LATE_MS
) -> tuple[list[bytes], list[bytes]]:
    """Request events, out of order by as much; and deploy events, some of them twice."""
    lines: list[bytes] = []
    deploys: list[bytes] = []
    ts = START_MS
    for n in range(length):
        ts += 1000 * rng.choice(PAUSES_S) if rng.random() < 0.5 else 0
        serving = rng.sample(VERSIONS, rng.choice([1, 1, 2]))
        bad, late = rng.choice([0.0, 0.5, 1.0]), rng.choice(late_ms)
        for _ in range(rng.choice([1, 5, 12, 40])):
            ts += rng.choice([500, 2_000, 9_000])
            event = {
                "ts": ts - rng.randrange(late + 1),
                "namespace": "shop",
                "service": rng.choice(["payment", "payment", "search"]),
                "status": 500 if rng.random() < bad else 200,
                "version": rng.choice(serving),
                "track": rng.choice(["stable", "stable", "canary", "shadow"]),
                "sample_rate": rng.choice([1, 1, 0.1]),
            }
            if rng.random() < 0.1:
                del event["version"]
            lines.append(json.dumps(event).encode())
        if rng.random() < 0.4:
            deploys.append(deploy_event(rng, n, ts))
    return lines, deploys + rng.sample(deploys, len(deploys) // 2)


def deploy_event(rng: random.Random, n: int, ts: int) -> bytes:
    event = {
        "deployment": f"d{rng.choice([n, n // 2])}",
        "namespace": "shop",
        "service": rng.choice(["payment", "payment", "search", "nobody"]),
        "state": rng.choice(["rolled_back", "rolled_back", "started", "finished"]),
        "at": ts // 10_000 * 10_000 + rng.choice([0, 0, 1, 9_999, -1, 20_000, -3_600_000]),
    }
    if rng.random() < 0.9:
        event["version"] = rng.choice([*VERSIONS, "never seen"])
    return json.dumps(event).encode()
