"""What concurrent canary analyses cost stage two: CPU per look, as a share of one core at a look each 10 s.

    make bench-canaries ARGS="--analyses 1000 --endpoints 3 --ticks 36"

Every service has a canary with 10 % of its requests. The same panes are counted and decided by the book of a
shard as in a worker; the requests are drawn beforehand.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import at_least
from stream.canary.book import CanaryBook
from stream.config.margins import MARGINS
from stream.model.analysis import Analysis, Metric
from stream.sketch.histogram import HistogramSet, squares_of
from stream.wire.cohorts import Cohorts
from stream.wire.frame import pack_series
from stream.wire.tally import Tally

METRICS = ("latency-p50", "latency-p95", "latency-p99", "error-rate")
ONE = 1_000_000
FIRST_PANE = 170_000_000


def analyses(count: int) -> list[Analysis]:
    metrics = tuple(Metric(name, *MARGINS[name]) for name in METRICS)
    return [Analysis("load", f"service-{i}", f"service-{i}", metrics, warmup_s=0) for i in range(count)]


class Panes:
    """Requests of all services, pane by pane: an entry for each service, endpoint and track."""

    def __init__(self, services: int, endpoints: int, per_pane: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._shares = np.tile([0.9, 0.1], services * endpoints) * per_pane / endpoints
        self._series = [
            pack_series(("load", f"service-{s}", f"/{e}", "GET", version, track))
            for s in range(services)
            for e in range(endpoints)
            for version, track in (("1", "stable"), ("2", "canary"))
        ]

    def draw(self, pane: int) -> Cohorts:
        events = self._rng.poisson(self._shares).astype(np.int64)
        entry = np.arange(len(events))
        bad = self._rng.binomial(events, 0.01)
        of = np.repeat(entry, events)
        latency = self._rng.lognormal(3.5, 0.6, len(of))
        some = events > 0
        place = np.cumsum(some) - 1
        tally = Tally.of(
            self._series,
            ["availability"],
            {
                "entry_series": entry[some],
                "entry_pane": np.full(some.sum(), pane),
                "entry_events": events[some],
                "entry_first_ms": np.full(some.sum(), pane * 10_000),
                "cell_entry": place[some],
                "cell_column": np.zeros(some.sum(), np.int64),
                "cell_events": events[some],
                "cell_weight": events[some] * ONE,
                "cell_bad": bad[some],
                "cell_bad_weight": bad[some] * ONE,
            },
        )
        weight = events[some] * ONE
        squares = events[some] * int(squares_of(np.array([ONE]))[0])
        return Cohorts(tally, weight, squares, HistogramSet.from_values(place[of], latency))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--analyses", type=at_least(1), default=1000)
    parser.add_argument("--endpoints", type=at_least(1), default=3)
    parser.add_argument("--requests", type=at_least(1), default=150, help="a service and pane, in the mean")
    parser.add_argument("--ticks", type=at_least(12), default=36)
    chosen = parser.parse_args()
    book = CanaryBook(analyses(chosen.analyses), {})
    panes = Panes(chosen.analyses, chosen.endpoints, chosen.requests, np.random.default_rng(1))
    spent = {"count": 0.0, "decide": 0.0, "checkpoint": 0.0}
    kept_bytes = records = 0
    for i in range(chosen.ticks):
        cohorts = panes.draw(FIRST_PANE + i)
        tick_s = (FIRST_PANE + i + 1) * 10
        started_s = time.process_time()
        book.observe(0, cohorts, False, True, 0, None if i == 0 else tick_s - 10)
        counted_s = time.process_time()
        records += sum(1 for _ in book.at(tick_s, set(), lambda *_: False))
        decided_s = time.process_time()
        changes = list(book.changes())
        spent["checkpoint"] += time.process_time() - decided_s
        spent["count"] += counted_s - started_s
        spent["decide"] += decided_s - counted_s
        kept_bytes += sum(len(value or b"") for _, value in changes)
    table = Table("part", "CPU ms a look", "% of a core")
    for name, seconds in (*spent.items(), ("all", sum(spent.values()))):
        each_s = seconds / chosen.ticks
        table.add_row(name, f"{1000 * each_s:.1f}", f"{10 * each_s:.2f}")
    console = Console()
    console.print(table)
    running = sum(case.trial is not None for case in book.cases.values())
    console.print(
        f"{running:,} of {chosen.analyses:,} analyses under way at the end; {records:,} records; "
        f"{kept_bytes / chosen.ticks / 1e6:.2f} MB of state a checkpoint"
    )


if __name__ == "__main__":
    main()
