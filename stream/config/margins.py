"""Default non-inferiority margins of a canary analysis, and which change of a metric is harm.

A difference inside the margin is not a harm, however significant: with enough requests every release differs.
Wider where a figure swings by itself: the further out a quantile lies, the fewer requests it rests on.

| metric | worse by | and at least |
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType

from stream.model.analysis import Direction, Margin

_UP, _EITHER = Direction.INCREASE, Direction.EITHER

MARGINS = MappingProxyType(
    {
        # metric             harm     worse by        and at least
        "latency-p50":   (_UP,     Margin(Decimal(5), Decimal(1))),
        "latency-p90":   (_UP,     Margin(Decimal(10), Decimal(2))),
        "latency-p95":   (_UP,     Margin(Decimal(10), Decimal(2))),
        "latency-p99":   (_UP,     Margin(Decimal(15), Decimal(5))),
        "latency-p99.9": (_UP,     Margin(Decimal(25), Decimal(10))),
        "error-rate":    (_UP,     Margin(Decimal(25), Decimal("0.1"))),
        "throughput":    (_EITHER, Margin(Decimal(20))),
        "slo":           (_UP,     Margin(Decimal(25), Decimal("0.1"))),
    }
)  # fmt: skip
"""``slo`` is that of every SLO's share of bad events."""
