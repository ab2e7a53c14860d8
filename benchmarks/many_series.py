"""Cost per event as series grow from 100 to 100,000: at the end nearly every event is an entry of its own.

A hundred services with one objective each. What grows is their endpoints and the variants of these (versions
and tracks). Shown beside it, and no part of the row: 100,000 endpoints. Of each endpoint three records of
percentiles are published a minute, so at 12 events a minute and endpoint a record leaves for every fourth
event that comes in. The limit of series is above what any partition holds, so that none is folded.
"""

from __future__ import annotations

from benchmarks.growth import Step, measure_growth
from benchmarks.lab import Lab
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each

STEPS = ((1, 1), (10, 1), (10, 10), (100, 10))
"""(endpoints of each service, variants of each endpoint)."""
ALL_ENDPOINTS = (1_000, 1)
SERVICES = 100


def measure(lab: Lab) -> Measured:
    lab.clear()
    steps = [_step(lab, endpoints, variants) for endpoints, variants in STEPS]
    beside = [] if lab.quick else [_step(lab, *ALL_ENDPOINTS)]
    return {"series": measure_growth(lab, steps, beside)}


def _step(lab: Lab, endpoints: int, variants: int) -> Step:
    traffic = Traffic(SERVICES, endpoints, variants, minutes=2 if lab.quick else 4)
    prefix = f"series-{endpoints}-{variants}-"
    lab.fill(f"{prefix}request-events", traffic)
    name = f"{SERVICES * endpoints * variants:,} series, {SERVICES * endpoints:,} endpoints"
    return Step(name, prefix, traffic, one_each(SERVICES), ["--max-series", "400000"])
