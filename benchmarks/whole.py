"""The whole job beside the yardstick and plain Faust; rounds alternate: noise disturbs all of them."""

from __future__ import annotations

from rich.table import Table

from benchmarks import job
from benchmarks.lab import Lab, spread
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each

TOPIC = "request-events"
PLAIN_EVENTS = 20_000


def measure(lab: Lab) -> Measured:
    traffic = Traffic(minutes=1 if lab.quick else 3)
    slos = lab.slos("whole", one_each(traffic.services))
    lab.clear()
    count = lab.fill(TOPIC, traffic)
    yardsticks: list[dict[str, float]] = []
    jobs: list[job.Taken] = []
    plain: list[float] = []
    for number in range(lab.rounds):
        lab.say(f"round {number + 1} of {lab.rounds}")
        yardsticks.append(lab.child("yardstick", lab.broker, TOPIC, str(count)))
        lab.clear(TOPIC)
        with lab.worker(slos) as worker:
            jobs.append(job.run(worker, lab.broker, traffic, traffic.services))
            worker.stop()
        taken = lab.child("plain_faust", lab.broker, TOPIC, str(PLAIN_EVENTS), str(lab.directory))
        plain.append(PLAIN_EVENTS / taken["seconds"])
    reading = [count / one["seconds"] for one in yardsticks]
    measured = {
        "yardstick": [one.rate / r for one, r in zip(jobs, reading, strict=True)],
        "cpu": [one.cpu_per_million for one in jobs],
        "plain": [one.rate / p for one, p in zip(jobs, plain, strict=True)],
    }
    table = Table("figure", "min", "median", "max", title=f"{count:,} events, 1,000 series, 100 SLOs, LZ4")
    table.add_row("yardstick, events/s", *spread(reading, "{:,.0f}"))
    table.add_row(
        "yardstick, CPU s per million", *spread([one["cpu_seconds"] / count * 1e6 for one in yardsticks])
    )
    table.add_row("whole job, events/s", *spread([one.rate for one in jobs], "{:,.0f}"))
    table.add_row("whole job, CPU s per million", *spread(measured["cpu"]))
    table.add_row("whole job, peak memory, MB", *spread([one.peak_mb for one in jobs], "{:,.0f}"))
    table.add_row("plain Faust, events/s", *spread(plain, "{:,.0f}"))
    lab.show(table)
    return measured
