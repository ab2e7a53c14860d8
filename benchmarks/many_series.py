"""Cost per event as series grow from 100 to 100,000: at the end nearly every event is an entry of its own.

A hundred services with one objective each; what grows is their endpoints. The limit of series is above what
any partition holds, so that none is folded.
"""

from __future__ import annotations

from benchmarks.growth import Step, measure_growth
from benchmarks.lab import Lab
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each

STEPS = (1, 10, 100, 1_000)
"""Endpoints of each service."""
SERVICES = 100


def measure(lab: Lab) -> Measured:
    steps = []
    lab.clear()
    for endpoints in STEPS:
        traffic = Traffic(SERVICES, endpoints, minutes=1 if lab.quick else 3)
        prefix = f"series-{endpoints}-"
        lab.fill(f"{prefix}request-events", traffic)
        name = f"{SERVICES * endpoints:,} series"
        steps.append(Step(name, prefix, traffic, one_each(SERVICES), ["--max-series", "400000"]))
    return {"series": measure_growth(lab, steps)}
