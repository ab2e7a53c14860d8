"""What a shadow comparison means once its file is valid: dual-written requests, and how many may differ."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from stream.model import names
from stream.model.analysis import SLO_PREFIX

OK = "ok"
"""A mismatch is a request that failed by the default rule: ``ok``, else its status."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One ``ShadowComparison``. Each event of the service with ``track: shadow`` is one request that was
    written both ways, and its producer has compared the answers. Percentages are decimals exactly as written;
    durations are whole panes."""

    namespace: str
    name: str
    service: str
    most_mismatch_pct: Decimal
    mismatch: str = OK
    """What tells a mismatch: ``OK``, or ``slo/NAME`` for a bad event of an SLO."""
    alpha: Decimal = Decimal("0.05")
    shortest_s: int = 300
    longest_s: int = 86_400
    least_events: int = 1000

    @property
    def identity(self) -> str:
        return names.identity(self.namespace, self.name)

    @property
    def service_key(self) -> str:
        return names.service_key(self.namespace, self.service)

    @property
    def slo(self) -> str | None:
        """Name of the SLO that tells a mismatch."""
        return self.mismatch.removeprefix(SLO_PREFIX) if self.mismatch != OK else None
