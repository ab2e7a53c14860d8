"""Cost per event as objectives grow from 10 to 10,000 over the same events of 1,000 series.

Ten services with a hundred endpoints each, so that every event is judged at every step. 10: an availability
objective for each service. 100: nine endpoints of each get one too. 1,000: nearly every endpoint has one.
10,000: every endpoint has ten, over five thresholds of latency and one availability with five targets; each
event then counts for eleven objectives, in six columns.

The services are healthy: with errors above the target all objectives would fire all alerts at once, and what
that costs would be told as the cost of events.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.growth import Step, measure_growth
from benchmarks.lab import Lab
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, latency_sli, slo

STEPS = (10, 100, 1_000, 10_000)
SERVICES, ENDPOINTS = 10, 100
_THRESHOLDS_MS = (300, 400, 500, 750, 1000)


def measure(lab: Lab) -> Measured:
    traffic = Traffic(SERVICES, ENDPOINTS, minutes=2 if lab.quick else 4, bad=0.0002)
    topic = "slos-request-events"
    steps = [Step(f"{count:,} SLOs", "slos-", traffic, list(documents(count))) for count in STEPS]
    lab.clear()
    lab.fill(topic, traffic)
    return {"slos": measure_growth(lab, steps)}


def documents(count: int) -> Iterator[str]:
    """``count`` objectives, the same number for each service."""
    for service in range(SERVICES):
        yield slo(f"s{service}-all", f"s{service}")
        for number in range(count // SERVICES - 1):
            endpoint, kind = number % ENDPOINTS, number // ENDPOINTS
            sli = "{metric: availability}" if kind % 2 == 0 else latency_sli(_THRESHOLDS_MS[kind // 2])
            name = f"s{service}-e{endpoint}-{kind}"
            yield slo(name, f"s{service}", sli, f"/v1/orders/{{id}}/{endpoint}")
