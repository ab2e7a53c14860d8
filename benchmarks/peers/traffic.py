"""The events that every engine gets, and the objectives with which Burngate looks at them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

SERVICES, ENDPOINTS = 100, 10
PARTITIONS = 4
EVENTS_PER_S = 20_000
"""Of event time: a billion a day is 11,600 a second in the mean."""
START_MS = 1_790_000_040_000  # a whole minute, long ago

SLO = """\
---
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: s{service}-availability}}
spec:
  service: s{service}
  sli: {{metric: availability}}
  target: 99.9
  timeWindow: {{type: rolling, duration: 30d}}
  alerting:
    - {{window: 5m, burnRateThreshold: 14.4}}
    - {{window: 1h, burnRateThreshold: 6}}
    - {{window: 6h, burnRateThreshold: 1}}
  errorBudgetPolicy: {{freezeDeploymentsThreshold: 10, autoRollbackThreshold: 5}}
"""


def write_slos(directory: Path) -> Path:
    """One availability objective with three rules for each service."""
    directory.mkdir(exist_ok=True)
    text = "".join(SLO.format(service=service) for service in range(SERVICES))
    (directory / "slos.yaml").write_text(text)
    return directory


def events(count: int, seed: int = 1, per_s: int = EVENTS_PER_S) -> Iterator[bytes]:
    """``count`` events of 1,000 series in order of time, 1 % of them bad, about 140 bytes each."""
    rng = random.Random(seed)
    for number in range(count):
        ts = START_MS + number * 1000 // per_s
        service, endpoint = rng.randrange(SERVICES), rng.randrange(ENDPOINTS)
        status = 500 if rng.random() < 0.01 else 200
        yield (
            b'{"ts":%d,"service":"s%d","endpoint":"/v1/orders/{id}/%d","method":"GET","status":%d,'
            b'"latency_ms":%.1f,"version":"2.4.0","track":"stable"}'
            % (ts, service, endpoint, status, rng.lognormvariate(3.5, 0.6))
        )
