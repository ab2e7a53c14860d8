"""What an SLO file means once it is valid: objectives, their windows and their burn-rate rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from stream.model import names

PANE_S = 10
"""Length of a pane and of a tick, in seconds of event time (contract, section 3)."""

TRACKS = ("stable", "canary", "baseline", "shadow")

GRPC_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""gRPC status names; the index is the code."""

GRPC_SERVER_ERRORS = frozenset({2, 4, 12, 13, 14, 15})
"""Codes that mean the server failed (OpenTelemetry semantic conventions, rpc)."""


class Period(StrEnum):
    """Length of a calendar window."""

    DAY = "1d"
    WEEK = "1w"
    MONTH = "1M"
    QUARTER = "1q"
    YEAR = "1y"


@dataclass(frozen=True, slots=True)
class Rolling:
    """A window that always reaches back the same time; rounded up to whole panes."""

    length_s: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """A window that starts anew with each period of the zone's calendar; weeks start on Monday."""

    period: Period
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Availability:
    """Bad unless the response matches the criteria; with no criteria at all, the default rule judges.

    ``http`` holds codes (``"200"``) and classes (``"2xx"``), ``grpc`` numbers; both sorted, no repeats.
    """

    http: tuple[str, ...] = ()
    grpc: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Bad when slower than the threshold (strictly)."""

    threshold_ms: int


Sli = Availability | Latency
"""What is counted, and what of it is bad. ``slo/sli.py`` judges it."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Count time slices instead of requests: a slice is bad when more than ``allowed_bad_pct`` % of its
    weighted requests are bad (allowed_bad_pct = 100 − percentile)."""

    length_s: int
    allowed_bad_pct: Decimal


@dataclass(frozen=True, slots=True)
class BurnRule:
    """One alerting entry: fires when long and short window both burn faster than the threshold."""

    window: str
    """The long window as written in the file."""
    window_s: int
    short_window_s: int | None
    """None when the short window is off."""
    threshold: Decimal
    severity: str
    channels: tuple[str, ...]
    min_bad_events: int
    keep_firing_for_ms: int


@dataclass(frozen=True, slots=True)
class Objective:
    """One SLO. Percentages are decimals exactly as written."""

    namespace: str
    name: str
    service: str
    sli: Sli
    target_pct: Decimal
    window: Rolling | Calendar
    slices: Slices | None = None
    rules: tuple[BurnRule, ...] = ()
    """In file order."""
    endpoints: tuple[str, ...] = ()
    """Globs; empty means all."""
    tracks: tuple[str, ...] = ()
    """Empty means all."""
    budget_basis: Literal["projected", "observed"] = "projected"
    freeze_below_pct: Decimal | None = None
    rollback_below_pct: Decimal | None = None
    description: str = ""
    labels: tuple[tuple[str, str], ...] = field(default=())

    @property
    def identity(self) -> str:
        return names.identity(self.namespace, self.name)

    @property
    def service_key(self) -> str:
        return names.service_key(self.namespace, self.service)
