"""The kind ``ServiceLevelObjective``: its keys, one line each, and what they mean (contract, section 2).

Where the contract is silent:

- ``apiVersion`` must be ``sre.example.com/v1``: another version may mean something else.
- A key whose value is null is a key left out. A list of endpoints, tracks or status codes that is
  there names something: an empty one could mean none as well as all.
- ``severity`` is one of info, warning and critical, so that a slip of the pen cannot hide a page.
- ``off`` may be any YAML spelling of false, as tools that rewrite YAML print ``false``.
- ``percentile`` and ``target`` are equal as numbers (99 and 99.0 are); so are thresholds of duplicate rules.
- Rules are duplicates when they are equal after rounding and with their defaults filled in: their alerts
  would have the same id.
- That a short window is not longer than its window is asked of what is written; a default of 30 s, or a
  short window raised to the length of a slice, may be longer than a very short window.
- A short window shorter than ``measurementWindow`` is raised to it where slices are counted.
- ``measurementWindow`` may be left out where requests are counted; there it is checked, but means nothing.
- A target or percentile below 1 is a fault: most likely a share, such as 0.999, and not a percentage.
- Where order has no meaning it is made one: status codes and globs are sorted, tracks have the order of the
  contract, repeats are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from fractions import Fraction
from functools import partial
from typing import Literal, cast

from stream.config.doubts import doubt_glob, doubt_policy, doubt_rules, doubt_target
from stream.config.header import NO_METADATA, Metadata, Reading, read_metadata
from stream.config.section import Section, Value, expected
from stream.config.tree import Scalar
from stream.config.values import (
    count,
    duration_ms,
    glob,
    grpc_status,
    http_status,
    is_false,
    list_of,
    name,
    number,
    one_of,
    share_pct,
    shown_ms,
    text,
    time_zone,
)
from stream.model.objective import (
    PANE_S,
    TRACKS,
    Availability,
    BurnRule,
    Calendar,
    Latency,
    Objective,
    Period,
    Rolling,
    Sli,
    Slices,
)
from stream.window.panes import round_up_to_pane_s

SEVERITIES = ("info", "warning", "critical")
SHORT_PER_LONG = 12
"""A long window is this many times its default short one (SRE workbook, chapter 5)."""
MIN_SHORT_S = 30
MIN_BAD_EVENTS = 5

_percent_inside = share_pct(below=100)
_percent = number(least=0, most=100)


def read_slo(document: Section) -> Reading:
    """Reads what stands beside ``apiVersion`` and ``kind``."""
    metadata = document.required("metadata", read_metadata) or NO_METADATA
    objective = document.required("spec", partial(_spec, metadata))
    return Reading(metadata.identity, metadata.mark, objective)


def _spec(metadata: Metadata, value: Value) -> Objective | None:
    with value.section() as spec:
        service = spec.required("service", name)
        description = spec.optional("description", text, "")
        target_pct = spec.required("target", _percent_inside)
        sli, slices = spec.required("sli", partial(_sli, target_pct)) or (None, None)
        window = spec.required("timeWindow", _time_window)
        rules = spec.optional("alerting", partial(_rules, target_pct, slices), ())
        policy = spec.optional("errorBudgetPolicy", _policy, _Policy())
        endpoints = spec.optional("endpoints", list_of(_glob, "endpoint"), [])
        tracks = spec.optional("tracks", list_of(one_of(TRACKS), "track"), [])
        basis = spec.optional("budgetBasis", one_of(("projected", "observed")), "projected")
        doubt_target(spec, target_pct)
        doubt_rules(spec, window, rules)
    if metadata.name is None or service is None or target_pct is None or sli is None or window is None:
        return None
    return Objective(
        namespace=metadata.namespace,
        name=metadata.name,
        service=service,
        sli=sli,
        target_pct=target_pct,
        window=window,
        slices=slices,
        rules=rules,
        endpoints=tuple(sorted(set(endpoints))),
        tracks=tuple(track for track in TRACKS if track in tracks),
        budget_basis=cast(Literal["projected", "observed"], basis),
        freeze_below_pct=policy.freeze_below_pct,
        rollback_below_pct=policy.rollback_below_pct,
        description=description,
        labels=metadata.labels,
    )


def _glob(value: Value) -> str:
    found = glob(value)
    doubt_glob(value, found)
    return found


# --- SLI ---------------------------------------------------------------------------------------------------

_Sli = tuple[Sli, Slices | None]


def _sli(target_pct: Decimal | None, value: Value) -> _Sli | None:
    with value.section() as sli:
        match sli.required("metric", one_of(("availability", "latency"))):
            case "availability":
                sli.elsewhere(("percentile", "threshold"), "belongs to metric: latency")
                return _availability(sli), None
            case "latency":
                sli.elsewhere(("successCriteria",), "belongs to metric: availability")
                return _latency(target_pct, sli)
            case _:  # already reported; which keys it must have is unknown
                _availability(sli)
                sli.optional("threshold", duration_ms(unit="ms"), None)
                sli.optional("percentile", _percent_inside, None)
                return None


def _availability(sli: Section) -> Availability:
    sli.optional("measurementWindow", duration_ms(), None)
    return sli.optional("successCriteria", _criteria, Availability())


def _criteria(value: Value) -> Availability:
    with value.section() as criteria:
        http = criteria.optional("httpStatusCodes", list_of(http_status, "status"), [])
        grpc = criteria.optional("grpcStatusCodes", list_of(grpc_status, "status"), [])
    return Availability(tuple(sorted(set(http))), tuple(sorted(set(grpc))))


def _latency(target_pct: Decimal | None, sli: Section) -> _Sli | None:
    threshold_ms = sli.required("threshold", duration_ms(unit="ms"))
    percentile = sli.optional("percentile", _percent_inside, None)
    of_requests = percentile is None or percentile == target_pct
    if of_requests:
        slice_ms = sli.optional("measurementWindow", duration_ms(), None)
    else:
        slice_ms = sli.required("measurementWindow", duration_ms())
    if threshold_ms is None:
        return None
    if percentile is None or of_requests:
        return Latency(threshold_ms), None
    return (
        None
        if slice_ms is None
        else (Latency(threshold_ms), Slices(round_up_to_pane_s(slice_ms), 100 - percentile))
    )


# --- Windows -----------------------------------------------------------------------------------------------


def _time_window(value: Value) -> Rolling | Calendar | None:
    with value.section() as window:
        match window.required("type", one_of(("rolling", "calendar"))):
            case "rolling":
                window.elsewhere(("timeZone",), "belongs to type: calendar")
                length_ms = window.required("duration", _rolling_ms)
                return None if length_ms is None else Rolling(round_up_to_pane_s(length_ms))
            case "calendar":
                period = window.required("duration", one_of(tuple(Period)))
                zone = window.optional("timeZone", time_zone, "UTC")
                return None if period is None else Calendar(Period(period), zone)
            case _:  # already reported
                window.required("duration", text)
                window.optional("timeZone", time_zone, "UTC")
                return None


def _rolling_ms(value: Value) -> int:
    if isinstance(value.node, Scalar) and value.node.text in ("1M", "1q", "1y"):
        raise expected("a duration such as 7d, 30d or 4w", value, "calendar periods have type: calendar")
    return duration_ms()(value)


# --- Alerting ----------------------------------------------------------------------------------------------


class _Short(Enum):
    DEFAULT = auto()
    OFF = auto()


def _rules(target_pct: Decimal | None, slices: Slices | None, value: Value) -> tuple[BurnRule, ...]:
    rules: list[BurnRule] = []
    first_at: dict[tuple[int, int | None, Decimal], int] = {}
    items = value.items()
    for index, item in enumerate(items):
        rule = item.read(partial(_rule, target_pct, slices))
        if rule is None:
            continue
        same = first_at.setdefault((rule.window_s, rule.short_window_s, rule.threshold), index)
        if same != index:
            short = "off" if rule.short_window_s is None else shown_ms(rule.short_window_s * 1000)
            line = items[same].node.mark.line
            item.report(
                f"same window ({shown_ms(rule.window_s * 1000)}), shortWindow ({short}) and "
                f"burnRateThreshold ({rule.threshold}) as {value.path}[{same}] on line {line}"
            )
        rules.append(rule)
    return tuple(rules)


def _rule(target_pct: Decimal | None, slices: Slices | None, value: Value) -> BurnRule | None:
    with value.section() as rule:
        window = rule.required("window", _window)
        short_ms = rule.optional("shortWindow", partial(_short_window, window), _Short.DEFAULT)
        threshold = rule.required("burnRateThreshold", partial(_threshold, target_pct))
        severity = rule.optional("severity", one_of(SEVERITIES), "warning")
        channels = rule.optional("notificationChannels", _channels, ())
        min_bad_events = rule.optional("minBadEvents", count, MIN_BAD_EVENTS)
        keep_firing_for_ms = rule.optional("keepFiringFor", duration_ms(zero=True), None)
    if window is None or threshold is None:
        return None
    written, window_ms = window
    window_s = round_up_to_pane_s(window_ms)
    least_s = slices.length_s if slices else 0
    default_s = max(-(-window_s // (SHORT_PER_LONG * PANE_S)) * PANE_S, MIN_SHORT_S, least_s)
    match short_ms:
        case _Short.OFF:
            short_window_s = None
        case _Short.DEFAULT:
            short_window_s = default_s
        case int():
            short_window_s = max(round_up_to_pane_s(short_ms), least_s)
    if keep_firing_for_ms is None:
        keep_firing_for_ms = (default_s if short_window_s is None else short_window_s) * 1000
    return BurnRule(
        written, window_s, short_window_s, threshold, severity, channels, min_bad_events, keep_firing_for_ms
    )


def _channels(value: Value) -> tuple[str, ...]:
    return tuple(channel for item in value.items() if (channel := item.read(name)) is not None)


def _window(value: Value) -> tuple[str, int]:
    length_ms = duration_ms()(value)
    assert isinstance(value.node, Scalar), "only a scalar is a duration"
    return value.node.text, length_ms


def _short_window(window: tuple[str, int] | None, value: Value) -> int | Literal[_Short.OFF]:
    if is_false(value):
        return _Short.OFF
    short_ms = duration_ms()(value)
    if window is not None and short_ms > window[1]:
        raise expected(f"at most its window ({window[0]})", value)
    return short_ms


def _threshold(target_pct: Decimal | None, value: Value) -> Decimal:
    threshold = number(least=0)(value)
    if target_pct is not None:
        highest = 100 / (100 - Fraction(target_pct))
        if threshold > highest:
            limit = f"at most {float(highest):g} (a burn rate cannot be higher with the target {target_pct})"
            raise expected(limit, value, "this rule could never fire")
    return threshold


# --- Error budget policy -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Policy:
    freeze_below_pct: Decimal | None = None
    rollback_below_pct: Decimal | None = None


def _policy(value: Value) -> _Policy:
    with value.section() as policy:
        found = _Policy(
            freeze_below_pct=policy.optional("freezeDeploymentsThreshold", _percent, None),
            rollback_below_pct=policy.optional("autoRollbackThreshold", _percent, None),
        )
        doubt_policy(policy, found.freeze_below_pct, found.rollback_below_pct)
    return found
