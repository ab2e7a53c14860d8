"""A worker's stats as Prometheus' metric families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain

from prometheus_client import Metric
from prometheus_client.registry import Collector

from stream.export import names
from stream.export.names import Kind, MetricName
from stream.model.stats import QUANTILES, Histogram, LatencyReading, Readings, Stats

Labelled = tuple[Sequence[str], float]
"""Values of a metric's labels, in order, and a sample's value."""

_NO_BOUND = float("inf")
_LENGTHS = ((3600, "h"), (60, "m"), (1, "s"))


class StatsCollector(Collector):
    """The families of a snapshot. ``now_s``: the clock as of the snapshot; see :meth:`Stats.snapshot`."""

    def __init__(self, snapshot: Stats, now_s: float, version: str) -> None:
        self._stats = snapshot
        self._now_s = now_s
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every family of :data:`names.METRICS`, in its order, also when it has no sample yet."""
        yield from self._ingest()
        yield from self._decisions()
        yield from self._state()
        yield from self._worker()
        yield from _readings([*self._stats.readings.values()])

    def _ingest(self) -> Iterator[Metric]:
        stats = self._stats
        yield _plain(names.EVENTS, stats.events)
        yield _plain(names.UNMATCHED, stats.unmatched)
        yield _family(names.UNMATCHED_BY, sorted(stats.unmatched_by.items()))
        yield _plain(names.FUTURE, stats.future)
        yield _family(names.DEAD_LETTERS, _by_name(stats.dead_letters))
        yield _family(names.DEPLOY_EVENTS, _by_name(stats.deploy_events))
        yield _histogram(names.BATCH_EVENTS, stats.batch_events)
        yield _histogram(names.BATCH_SECONDS, stats.batch_seconds)
        lag = (((topic, str(partition)), lag) for (topic, partition), lag in sorted(stats.lag.items()))
        yield _family(names.LAG, lag)
        yield _plain(names.PARTIALS_SENT, stats.partials_sent)

    def _decisions(self) -> Iterator[Metric]:
        stats = self._stats
        yield _plain(names.PARTIALS_APPLIED, stats.partials_applied)
        yield _plain(names.PARTIALS_IGNORED, stats.partials_ignored)
        yield _plain(names.LATE, stats.late)
        yield _plain(names.TOO_LATE, stats.too_late)
        yield _family(names.WATERMARK_DELAY, self._ages(stats.watermark_s))
        series = (((str(partition),), count) for partition, count in sorted(stats.series.items()))
        yield _family(names.SERIES, series)
        yield _plain(names.SERIES_OVERFLOW, stats.series_overflow)
        yield _family(names.SIGNALS, _by_name(stats.signals))

    def _state(self) -> Iterator[Metric]:
        stats = self._stats
        yield _family(names.CHECKPOINT_AGE, self._ages(stats.checkpoint_at_s))
        yield _histogram(names.CHECKPOINT_SECONDS, stats.checkpoint_seconds)
        yield _histogram(names.RESTORE_SECONDS, stats.restore_seconds)

    def _worker(self) -> Iterator[Metric]:
        stats = self._stats
        yield _plain(names.LAST_PROGRESS, stats.progress_at_s)
        yield _plain(names.LONGEST_WAIT, stats.longest_wait_s)
        yield _plain(names.SLO_FILES_VALID, stats.slo_files_valid)
        yield _plain(names.SLO_FILES_LOADED, stats.slo_files_loaded_at_s)
        yield _family(names.BUILD_INFO, [((self._version,), 1.0)])

    def _ages(self, by_partition: dict[int, float]) -> Iterator[Labelled]:
        return (((str(partition),), self._now_s - at_s) for partition, at_s in sorted(by_partition.items()))


def _readings(partitions: Sequence[Readings]) -> Iterator[Metric]:
    slos = [((slo.namespace, slo.service, slo.slo), slo) for readings in partitions for slo in readings.slos]
    yield _family(names.TARGET, ((who, slo.target_ratio) for who, slo in slos))
    yield _family(
        names.BURN_RATE,
        (
            ((*who, window), burn)
            for who, slo in slos
            for window, burn in slo.burn.items()
            if burn is not None
        ),
    )
    yield _family(
        names.BUDGET_REMAINING,
        ((who, left) for who, slo in slos if (left := slo.budget_remaining_ratio) is not None),
    )
    last = ((who, slo.last_event_s) for who, slo in slos if slo.last_event_s is not None)
    yield _family(names.LAST_EVENT, last)
    yield _family(
        names.ALERT_FIRING,
        (((*who, severity), firing) for who, slo in slos for severity, firing in slo.firing.items()),
    )
    yield _family(names.DEPLOY_FROZEN, chain.from_iterable(item.frozen.items() for item in partitions))
    latencies, omitted = bounded([*chain.from_iterable(item.latencies for item in partitions)])
    yield _family(names.LATENCY, chain.from_iterable(map(_quantiles, latencies)))
    yield _plain(names.ENDPOINTS_OMITTED, omitted)


def bounded(
    readings: Sequence[LatencyReading],
    per_service: int = names.ENDPOINTS_PER_SERVICE,
    in_all: int = names.ENDPOINTS_PER_WORKER,
) -> tuple[list[LatencyReading], int]:
    """The readings to show, and the number of endpoints left out.

    Whole services always; endpoints only as far as there is room, those with the most requests first
    (over whichever window has most), ties by name.
    """
    requests: Counter[tuple[str, str, str]] = Counter()
    for reading in readings:
        if reading.endpoint is not None:
            endpoint = (reading.namespace, reading.service, reading.endpoint)
            requests[endpoint] = max(requests[endpoint], reading.count)
    taken: Counter[tuple[str, str]] = Counter()
    shown: set[tuple[str, str, str | None]] = set()
    for endpoint in sorted(requests, key=lambda endpoint: (-requests[endpoint], endpoint)):
        service = endpoint[:2]
        if len(shown) < in_all and taken[service] < per_service:
            taken[service] += 1
            shown.add(endpoint)
    kept = [
        reading
        for reading in readings
        if reading.endpoint is None or (reading.namespace, reading.service, reading.endpoint) in shown
    ]
    return kept, len(requests) - len(shown)


def _quantiles(reading: LatencyReading) -> Iterator[Labelled]:
    who = (reading.namespace, reading.service, reading.endpoint or "", _length(reading.window_s))
    for quantile, latency_ms in zip(QUANTILES, reading.quantiles_ms, strict=True):
        yield (*who, str(quantile)), latency_ms / 1000


def _length(seconds: int) -> str:
    """``5m``: as in an SLO file."""
    size, unit = next((size, unit) for size, unit in _LENGTHS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _by_name(counts: Counter[str]) -> Iterator[Labelled]:
    return (((name,), count) for name, count in sorted(counts.items()))


def _plain(metric: MetricName, value: float | None) -> Metric:
    """A family without labels; without a sample while the value is not known."""
    return _family(metric, [] if value is None else [((), value)])


def _family(metric: MetricName, samples: Iterable[Labelled]) -> Metric:
    family = Metric(metric.name.removesuffix("_total"), metric.help, metric.kind, metric.unit)
    for values, value in samples:
        family.add_sample(metric.name, dict(zip(metric.labels, values, strict=True)), float(value))
    return family


def _histogram(metric: MetricName, histogram: Histogram) -> Metric:
    assert metric.kind is Kind.HISTOGRAM, metric.name
    family = Metric(metric.name, metric.help, metric.kind, metric.unit)
    bounds = (*histogram.bounds, _NO_BOUND)
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        family.add_sample(
            f"{metric.name}_bucket", {"le": "+Inf" if bound == _NO_BOUND else str(bound)}, float(count)
        )
    family.add_sample(f"{metric.name}_count", {}, float(histogram.count))
    family.add_sample(f"{metric.name}_sum", {}, histogram.sum)
    return family
