"""Section 2: the SLO file (a valid one), and which events an SLO counts as good or bad."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import yaml

from .clock import PANE_MS, up
from .events import GRPC, Event

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_BAD_GRPC = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
LEAST_SHORT_MS = 30_000


@dataclass(frozen=True)
class Rule:
    slo: str
    written: str
    """The window as written in the file."""
    long_ms: int
    short_ms: int | None
    threshold: Fraction
    severity: str
    channels: tuple[str, ...]
    min_bad: int
    keep_firing_ms: int


@dataclass(frozen=True)
class Objective:
    position: int
    """Place in the file."""
    namespace: str
    name: str
    service: str
    sli: dict[str, Any]
    target: Fraction
    """In percent."""
    rolling_ms: int | None
    period: str | None
    """1d, 1w, 1M, 1q, 1y for a calendar window."""
    zone: str
    slice_ms: int | None
    """None: requests are counted."""
    slice_allowed_pct: Fraction
    rules: tuple[Rule, ...]
    endpoints: tuple[str, ...] | None
    tracks: tuple[str, ...] | None
    projected: bool
    freeze_below: Fraction | None
    rollback_below: Fraction | None
    hysteresis: Fraction
    """Points."""

    @property
    def allowed_fraction(self) -> Fraction:
        """1 − target/100."""
        return 1 - self.target / 100


def duration_ms(text: str) -> int:
    """Integer + ms s m h d w."""
    number, unit = re.fullmatch(r"([0-9]+)(ms|s|m|h|d|w)", text).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS_MS[unit]


def parse_objectives(text: str) -> list[Objective]:
    """Section 2; every scalar is read as the text it was written as (so `off` is no boolean)."""
    documents = [document for document in yaml.load_all(text, Loader=yaml.BaseLoader) if document]
    return [_objective(position, document) for position, document in enumerate(documents)]


def _objective(position: int, document: dict[str, Any]) -> Objective:
    metadata, spec = document["metadata"], document["spec"]
    sli, window, policy = spec["sli"], spec["timeWindow"], spec.get("errorBudgetPolicy") or {}
    target = Fraction(spec["target"])
    percentile = Fraction(sli.get("percentile", spec["target"]))
    calendar = window["type"] == "calendar"
    sliced = sli["metric"] == "latency" and percentile != target
    slice_ms = up(duration_ms(sli["measurementWindow"]), PANE_MS) if sliced else None
    freeze, rollback = policy.get("freezeDeploymentsThreshold"), policy.get("autoRollbackThreshold")
    return Objective(
        position=position,
        namespace=metadata.get("namespace", "default"),
        name=metadata["name"],
        service=spec["service"],
        sli=sli,
        target=target,
        rolling_ms=None if calendar else up(duration_ms(window["duration"]), PANE_MS),
        period=window["duration"] if calendar else None,
        zone=window.get("timeZone", "UTC"),
        slice_ms=slice_ms,
        slice_allowed_pct=100 - percentile,
        rules=tuple(_rule(metadata["name"], entry, slice_ms) for entry in spec.get("alerting") or ()),
        endpoints=tuple(spec["endpoints"]) if spec.get("endpoints") else None,
        tracks=tuple(spec["tracks"]) if spec.get("tracks") else None,
        projected=spec.get("budgetBasis", "projected") == "projected",
        freeze_below=None if freeze is None else Fraction(freeze),
        rollback_below=None if rollback is None else Fraction(rollback),
        hysteresis=_hysteresis(window, policy),
    )


def _hysteresis(window: dict[str, Any], policy: dict[str, Any]) -> Fraction:
    """Default 5 for time windows of 7 d and longer, 20 below; of the calendar's only the day is shorter."""
    if policy.get("hysteresis") is not None:
        return Fraction(policy["hysteresis"])
    if window["type"] == "calendar":
        return Fraction(20 if window["duration"] == "1d" else 5)
    return Fraction(5 if duration_ms(window["duration"]) >= 7 * _UNITS_MS["d"] else 20)


def _rule(slo: str, entry: dict[str, Any], slice_ms: int | None) -> Rule:
    """Section 2 (additions) and section 4 (defaults): the short window, keepFiringFor, minBadEvents."""
    long_ms = up(duration_ms(entry["window"]), PANE_MS)
    twelfth = max(up(Fraction(long_ms, 12), PANE_MS), LEAST_SHORT_MS, slice_ms or 0)
    written = entry.get("shortWindow")
    if written is None:
        short_ms: int | None = twelfth
    elif written == "off":
        short_ms = None
    else:
        short_ms = max(up(duration_ms(written), PANE_MS), slice_ms or 0)
    keep = entry.get("keepFiringFor")
    default_keep = twelfth if short_ms is None else short_ms
    return Rule(
        slo=slo,
        written=entry["window"],
        long_ms=long_ms,
        short_ms=short_ms,
        threshold=Fraction(entry["burnRateThreshold"]),
        severity=entry.get("severity", "warning"),
        channels=tuple(entry.get("notificationChannels") or ()),
        min_bad=int(entry.get("minBadEvents", 5)),
        keep_firing_ms=default_keep if keep is None else duration_ms(keep),
    )


def matches_glob(glob: str, text: str) -> bool:
    """`*` matches any run including `/`, `?` one character, nothing else is special, case-sensitive."""
    if not glob:
        return not text
    if glob[0] == "*":
        return any(matches_glob(glob[1:], text[skip:]) for skip in range(len(text) + 1))
    return bool(text) and glob[0] in ("?", text[0]) and matches_glob(glob[1:], text[1:])


def verdict(objective: Objective, event: Event) -> bool | None:
    """Is the event bad for the SLO; None: the SLO does not count it."""
    if (event.namespace, event.service) != (objective.namespace, objective.service):
        return None
    if objective.tracks is not None and event.track not in objective.tracks:
        return None
    if objective.endpoints is not None and not any(
        matches_glob(g, event.endpoint) for g in objective.endpoints
    ):
        return None
    if objective.sli["metric"] == "latency":
        return _too_slow(objective, event)
    criteria = objective.sli.get("successCriteria")
    return _by_criteria(criteria, event) if criteria else _by_default(event)


def _too_slow(objective: Objective, event: Event) -> bool | None:
    if event.latency_ms is None:
        return None
    return event.latency_ms > duration_ms(objective.sli["threshold"])


def _by_criteria(criteria: dict[str, Any], event: Event) -> bool | None:
    """Bad unless a match in either list; an event with none of the named fields does not count."""
    http, grpc = criteria.get("httpStatusCodes"), criteria.get("grpcStatusCodes")
    matches = []
    if http and event.status is not None:
        matches.append(str(event.status) in http or f"{event.status // 100}xx" in http)
    if grpc and event.grpc is not None:
        matches.append(str(event.grpc) in grpc or GRPC[event.grpc] in grpc)
    return not any(matches) if matches else None


def _by_default(event: Event) -> bool | None:
    """`ok` if given, else HTTP ≥ 500 or one of six gRPC codes; none of the three: not counted."""
    if event.ok is not None:
        return not event.ok
    if event.status is None and event.grpc is None:
        return None
    http_bad = event.status is not None and event.status >= 500
    return http_bad or (event.grpc is not None and GRPC[event.grpc] in _BAD_GRPC)
