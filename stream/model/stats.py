"""What a worker counts and knows about itself: plain objects that its agents fill, one ``Stats`` a worker.

Nothing here knows of Prometheus or reads a clock. Agents run in one thread (the event loop's) and write
freely; whoever reads in another thread takes a :meth:`Stats.snapshot` in the loop first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of histograms of durations."""
EVENTS = (1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0)
"""Upper bounds of histograms of batch sizes."""

MOST_UNMATCHED = 100
"""Services without a rule that are counted by name."""
OTHERS = "__other__", "__other__"

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
"""Those of a latency reading, in order."""


class Histogram:
    """Counts by fixed upper bounds, inclusive, ascending; the last bucket has no bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), bounds
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def __copy__(self) -> Histogram:
        copied = Histogram(self.bounds)
        copied.counts, copied.sum = self.counts.copy(), self.sum
        return copied


@dataclass(frozen=True, slots=True)
class SloReading:
    """One SLO as of the newest tick."""

    namespace: str
    slo: str
    service: str
    target_ratio: float
    burn: dict[str, float | None]
    """By alerting window as written in the SLO file; None when it holds no event."""
    budget_remaining_ratio: float | None
    """1 is all of it; negative when it is overspent; None while nothing is counted."""
    firing: dict[str, bool]
    """By severity: whether any rule of that severity fires."""
    last_event_s: int | None = None
    """Event time: where the pane of its newest counted event begins."""


@dataclass(frozen=True, slots=True)
class LatencyReading:
    """Latencies of a service, or of one of its endpoints, over one window; see ``latency-percentiles``."""

    namespace: str
    service: str
    endpoint: str | None
    """None: the whole service."""
    window_s: int
    count: int
    quantiles_ms: tuple[float, ...]
    """One for each of :data:`QUANTILES`."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What one partition's SLOs say as of a tick. Never changed, always replaced as a whole."""

    slos: tuple[SloReading, ...] = ()
    frozen: dict[tuple[str, str], bool] = field(default_factory=dict)
    """By (namespace, service), for every service with an SLO that can freeze."""
    latencies: tuple[LatencyReading, ...] = ()


@dataclass(slots=True)
class Stats:
    """Counters only grow. Entries by partition are removed by whoever gives the partition up.

    Times are epoch seconds of the clock, except watermarks, which are event time.
    """

    # stage one: request events in
    events: int = 0
    """Request events that were read and understood."""
    unmatched: int = 0
    """Events among them of services for which there is no rule, as far as they are in a partial."""
    unmatched_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same by (namespace, service): of the first services, and the others together."""
    future: int = 0
    """Events among them that were more than a minute ahead of the brokers' clock, and moved no time."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """Records refused, by error code."""
    batch_events: Histogram = field(default_factory=lambda: Histogram(EVENTS))
    batch_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    lag: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) → records between the position and the end."""
    partials_sent: int = 0
    deploy_events: Counter[str] = field(default_factory=Counter)
    """Deploy events that were read and understood: ``taken``, or ``not_analysed``."""

    # stage two: partials to decisions
    partials_applied: int = 0
    partials_ignored: int = 0
    """Repeats, and what a zombie sent: everything in them was counted already."""
    late: int = 0
    """Events that came after their pane was decided, and were counted all the same."""
    too_late: int = 0
    """Events dropped: no window reaches back to them."""
    series: dict[int, int] = field(default_factory=dict)
    """By partition: series that are told apart."""
    series_overflow: int = 0
    """Times that a series was counted as ``__other__`` for want of room."""
    watermark_s: dict[int, float] = field(default_factory=dict)
    """By partition: event time up to which everything is decided."""
    signals: Counter[str] = field(default_factory=Counter)
    """Records published, by topic (bare name)."""
    readings: dict[int, Readings] = field(default_factory=dict)
    """By partition."""

    # keeping state
    checkpoint_at_s: dict[int, float] = field(default_factory=dict)
    """By partition: when the newest checkpoint was taken."""
    checkpoint_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    restore_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """How long it took to take a partition over: fence, restore, seek."""

    # the worker
    progress_at_s: float | None = None
    """When something was last moved ahead: a batch, a tick or a checkpoint."""
    longest_wait_s: float = 0.0
    """How long the partition has waited that waits longest for its turn."""
    slo_files_valid: bool = True
    """Whether the SLO files as they are now are those in use."""
    slo_files_loaded_at_s: float | None = None

    def count_unmatched(self, events: Counter[tuple[str, str]]) -> None:
        self.unmatched += events.total()
        for service, count in events.items():
            is_known = service in self.unmatched_by or len(self.unmatched_by) < MOST_UNMATCHED
            self.unmatched_by[service if is_known else OTHERS] += count

    def snapshot(self) -> Stats:
        """A copy that no agent writes to; shares the readings, which are never changed."""
        return Stats(**{item.name: copy(getattr(self, item.name)) for item in fields(self)})

    def forget_partition(self, partition: int) -> None:
        """Drop all that is known of a partition of stage two that was given up."""
        for by_partition in (self.series, self.watermark_s, self.readings, self.checkpoint_at_s):
            by_partition.pop(partition, None)
