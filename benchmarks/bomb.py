"""A cardinality bomb: every event names an endpoint of its own. Memory stays bounded, and work goes on.

Speed is compared with the same number of events of 1,000 series in the same round. Memory is looked at when
the limit of series has long been passed (two fifths of the events) and at the end.
"""

from __future__ import annotations

from rich.table import Table

from benchmarks import job
from benchmarks.lab import Lab
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each
from benchmarks.worker import Worker


class _Watch:
    """What the process holds, by events read."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def __call__(self, worker: Worker) -> None:
        self.seen.append((worker.events(), worker.memory_mb()))

    def most_mb(self, first: float, last: float) -> float:
        """The most that it held while it read this part of the events."""
        return max(mb for events, mb in self.seen if first <= events <= last)


def measure(lab: Lab) -> Measured:
    minutes = 1 if lab.quick else 5
    normal = Traffic(minutes=minutes)
    bomb = Traffic(endpoints=0, minutes=minutes)
    slos = lab.slos("bomb", one_each(normal.services))
    lab.clear()
    inputs = ["normal-request-events", "bomb-request-events"]
    for topic, traffic in zip(inputs, (normal, bomb), strict=True):
        lab.fill(topic, traffic)
    speeds: list[float] = []
    growth: list[float] = []
    table = Table("load", "events/s", "CPU s per million", "MB at 2/5", "MB at the end", "peak MB")
    for _ in range(lab.rounds):
        lab.clear(*inputs)
        taken = []
        for name, traffic in (("normal", normal), ("bomb", bomb)):
            watch = _Watch()
            with lab.worker(slos, ["--topic-prefix", f"{name}-"]) as worker:
                one = job.run(worker, lab.broker, traffic, traffic.services, prefix=f"{name}-", watch=watch)
                worker.stop()
            taken.append(one)
            early, late = (
                watch.most_mb(0, traffic.count * 0.5),
                watch.most_mb(traffic.count * 0.5, traffic.count * 2),
            )
            figures = one.rate, one.cpu_per_million, early, late, one.peak_mb
            table.add_row(name, *(f"{value:,.2f}" for value in figures))
        speeds.append(taken[1].rate / taken[0].rate)
        growth.append(100 * (late / early - 1))
    lab.show(table)
    return {"bomb_speed": speeds, "bomb_memory": growth}
