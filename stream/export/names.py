"""Every metric there is: its name, kind, labels and help, in one place.

Names follow Prometheus' rules: base units (seconds, ratios from 0 to 1), the unit last, ``_total`` for
counters. The README's table is made from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ENDPOINTS_PER_SERVICE = 20
"""Endpoints of a service with latencies of their own, the busiest."""
ENDPOINTS_PER_WORKER = 500
"""The same for all services of a worker together."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class MetricName:
    """``labels`` in the order in which the collector gives their values."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """``seconds``, ``ratio`` or empty: a plain number."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "ratio") else ""


_table: list[MetricName] = []


def _metric(name: str, kind: Kind, help: str, *labels: str) -> MetricName:
    metric = MetricName(f"burngate_{name}", kind, help, labels)
    _table.append(metric)
    return metric


EVENTS = _metric("events_total", Kind.COUNTER, "Request events that were read and understood.")
UNMATCHED = _metric(
    "unmatched_events_total",
    Kind.COUNTER,
    "Events of services that no rule is for: they move event time, and nothing counts them.",
)
UNMATCHED_BY = _metric(
    "unmatched_service_events_total",
    Kind.COUNTER,
    "The same by service: of the first 100 services, and of all others together as __other__.",
    "namespace",
    "service",
)
FUTURE = _metric(
    "future_events_total",
    Kind.COUNTER,
    "Events more than a minute ahead of the brokers' clock: they move no time; a producer's clock is fast.",
)
DEAD_LETTERS = _metric(
    "dead_letters_total",
    Kind.COUNTER,
    "Records that are no request events, by error code; each is on the topic dead-letters.",
    "error",
)
DEPLOY_EVENTS = _metric(
    "deploy_events_total",
    Kind.COUNTER,
    "Deploy events by outcome: taken, or not_analysed, for want of an analysis or autoRollbackThreshold.",
    "outcome",
)
BATCH_EVENTS = _metric("batch_events", Kind.HISTOGRAM, "Records in a batch that was read from Kafka.")
BATCH_SECONDS = _metric(
    "batch_duration_seconds", Kind.HISTOGRAM, "Time to decode a batch and fold it into partials."
)
LAG = _metric(
    "consumer_lag_records",
    Kind.GAUGE,
    "Records of a source partition that are still to be read.",
    "topic",
    "partition",
)
PARTIALS_SENT = _metric("partials_sent_total", Kind.COUNTER, "Partials that the ingest stage sent.")
PARTIALS_APPLIED = _metric("partials_applied_total", Kind.COUNTER, "Partials that changed a window.")
PARTIALS_IGNORED = _metric(
    "partials_ignored_total",
    Kind.COUNTER,
    "Partials that repeat what was counted already, as after a restart.",
)
LATE = _metric(
    "late_events_total",
    Kind.COUNTER,
    "Events that came after their tick was decided; they are counted all the same.",
)
TOO_LATE = _metric(
    "too_late_events_total", Kind.COUNTER, "Events that were dropped: no window reaches back to them."
)
WATERMARK_DELAY = _metric(
    "watermark_delay_seconds",
    Kind.GAUGE,
    "How far event time, up to which everything is decided, is behind the clock.",
    "partition",
)
SERIES = _metric(
    "series",
    Kind.GAUGE,
    "Combinations of service, endpoint, method, version and track that are told apart.",
    "partition",
)
SERIES_OVERFLOW = _metric(
    "series_overflow_total",
    Kind.COUNTER,
    "Times that a series was counted as __other__, because max_series was reached.",
)
SIGNALS = _metric("signals_total", Kind.COUNTER, "Records published, by topic.", "topic")
CHECKPOINT_AGE = _metric(
    "checkpoint_age_seconds", Kind.GAUGE, "Time since the newest checkpoint of a partition.", "partition"
)
CHECKPOINT_SECONDS = _metric(
    "checkpoint_duration_seconds", Kind.HISTOGRAM, "Time that a checkpoint's transaction took."
)
RESTORE_SECONDS = _metric(
    "restore_duration_seconds", Kind.HISTOGRAM, "Time that it took to take a partition and its state over."
)
LAST_PROGRESS = _metric(
    "last_progress_timestamp_seconds",
    Kind.GAUGE,
    "When the worker last got ahead: a batch, a tick or a checkpoint.",
)
LONGEST_WAIT = _metric(
    "longest_wait_seconds",
    Kind.GAUGE,
    "For how long the partition that waits longest has records and does not come to its turn: seconds mean "
    "that the worker is overloaded.",
)
SLO_FILES_VALID = _metric(
    "slo_files_valid",
    Kind.GAUGE,
    "1 if the SLO files are in use as they are; 0 if a change was refused and the old ones are.",
)
SLO_FILES_LOADED = _metric(
    "slo_files_loaded_timestamp_seconds", Kind.GAUGE, "When the SLO files in use were loaded."
)
BUILD_INFO = _metric("build_info", Kind.GAUGE, "Always 1; the version is in the label.", "version")

_SLO = ("namespace", "service", "slo")
TARGET = _metric("slo_target_ratio", Kind.GAUGE, "Target of an SLO: the share of good requests.", *_SLO)
BURN_RATE = _metric(
    "slo_burn_rate",
    Kind.GAUGE,
    "How many times faster than sustainable the budget is spent, by alerting window; absent while "
    "the window holds no event.",
    *_SLO,
    "window",
)
BUDGET_REMAINING = _metric(
    "slo_budget_remaining_ratio",
    Kind.GAUGE,
    "Error budget left: 1 is all of it, below 0 it is overspent. Absent while nothing is counted.",
    *_SLO,
)
LAST_EVENT = _metric(
    "slo_last_event_timestamp_seconds",
    Kind.GAUGE,
    "Event time of the newest event that the SLO counted, to 10 s; absent until it has counted one.",
    *_SLO,
)
ALERT_FIRING = _metric(
    "alert_firing", Kind.GAUGE, "1 while an alert of the severity fires, else 0.", *_SLO, "severity"
)
DEPLOY_FROZEN = _metric(
    "deploy_frozen",
    Kind.GAUGE,
    "1 while deployments of the service are frozen, else 0.",
    "namespace",
    "service",
)
LATENCY = _metric(
    "latency_seconds",
    Kind.SUMMARY,
    "Latency quantiles over a rolling window; endpoint is empty for the whole service. Endpoints: the "
    f"busiest {ENDPOINTS_PER_SERVICE} of a service and {ENDPOINTS_PER_WORKER} of a worker; all are on the "
    "topic latency-percentiles.",
    "namespace",
    "service",
    "endpoint",
    "window",
    "quantile",
)
ENDPOINTS_OMITTED = _metric(
    "latency_endpoints_omitted",
    Kind.GAUGE,
    "Endpoints without latencies of their own here, for there are too many.",
)

METRICS = tuple(_table)
"""In the order in which they are exposed."""


def markdown_table() -> str:
    """The README's table of metrics."""
    lines = ["| Metric | Kind | Labels | What it says |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(
            f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines) + "\n"
