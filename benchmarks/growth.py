"""Cost per event while one thing grows: the worker's CPU time, each step beside the first of its round.

The first minute of events is not measured: in it the worker learns what there is, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks import job
from benchmarks.lab import Lab, spread
from benchmarks.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    prefix: str
    """Of the topics; the input is there already."""
    traffic: Traffic
    slos: Sequence[str]
    options: Sequence[str] = ()


def measure_growth(lab: Lab, steps: Sequence[Step], beside: Sequence[Step] = ()) -> list[float]:
    """Per cent by which the last step costs more than the first, by round. ``beside`` is only shown."""
    last = steps[-1]
    steps = [*steps, *beside]
    inputs = [f"{step.prefix}request-events" for step in steps]
    taken: dict[str, list[job.Taken]] = {step.name: [] for step in steps}
    for number in range(lab.rounds):
        lab.say(f"round {number + 1} of {lab.rounds}")
        for step in steps:
            lab.clear(*inputs)
            slos = lab.slos(step.prefix + str(len(step.slos)), step.slos)
            options = ["--topic-prefix", step.prefix, *step.options]
            with lab.worker(slos, options) as worker:
                one = job.run(
                    worker,
                    lab.broker,
                    step.traffic,
                    len(step.slos),
                    prefix=step.prefix,
                    warm_up=60 * step.traffic.events_per_s,
                )
                worker.stop()
            taken[step.name].append(one)
    first = taken[steps[0].name]
    table = Table("step", "CPU s per million: min", "median", "max", "to the first", "events/s", "peak MB")
    for name, found in taken.items():
        costs = [one.cpu_per_million for one in found]
        growth = [_growth(one, base) for one, base in zip(found, first, strict=True)]
        table.add_row(
            name,
            *spread(costs),
            spread(growth, "{:+.1f} %")[1],
            spread([one.rate for one in found], "{:,.0f}")[1],
            spread([one.peak_mb for one in found], "{:,.0f}")[1],
        )
    lab.show(table)
    return [_growth(one, base) for one, base in zip(taken[last.name], first, strict=True)]


def _growth(one: job.Taken, base: job.Taken) -> float:
    return 100 * (one.cpu_per_million / base.cpu_per_million - 1)
