"""Catching up after a stop while 20,000 events/s keep coming, compared with full speed in the same run.

An hour of it would be 72 million events. What catching up costs repeats with every event, tick and minute,
so ten minutes with all their events, ticks and minutes stand for the hour: fewer events over the whole hour
would pay its ticks with a fraction of its events. The worker has run before: it has a group, offsets and
state to come back to, and it reads old events and present ones, with the present moving on. It has caught
up when the event time of every partition of services is near the clock.
"""

from __future__ import annotations

import time

from benchmarks import job
from benchmarks.lab import Lab
from benchmarks.live import SERVICES
from benchmarks.live_process import LiveProducer
from benchmarks.rows import Measured
from benchmarks.traffic import Traffic, one_each
from benchmarks.worker import Worker

RATE = 20_000
PREFIX = "stopped-"
NEAR_S = 20.0
"""A pane, the allowed lateness, and a little: with nothing left to catch up on it is 5 to 15 s."""
_LIMIT_S = 600.0


def measure(lab: Lab) -> Measured:
    behind_s = 90 if lab.quick else 600
    lab.clear()
    topic = f"{PREFIX}request-events"
    slos = lab.slos("catching-up", one_each(SERVICES))
    reference = _full_speed(lab)
    before = Traffic(minutes=1, events_per_s=RATE, start_ms=_minute_ms(time.time() - behind_s - 600))
    lab.clear()
    lab.fill(topic, before)
    options = ["--topic-prefix", PREFIX]
    with lab.worker(slos, options, app="stopped") as worker:
        job.run(worker, lab.broker, before, SERVICES, prefix=PREFIX)
        worker.stop()
    lab.say(f"{behind_s} s at {RATE:,} events/s pass without a worker")
    with LiveProducer(lab.broker, topic, RATE, behind_s, seed=2) as producer:
        backlog = producer.wait_until_level()
        with lab.worker(slos, options, app="stopped") as worker:
            rate, cpu = _catch_up(worker)
            worker.stop()
        producer.stop()
    lab.say(
        f"{backlog:,} events behind at the start: {rate:,.0f} events/s, {cpu:.2f} CPU s per million; "
        f"full speed {reference.rate:,.0f} events/s, {reference.cpu_per_million:.2f} CPU s per million"
    )
    return {"catching_up": [100 * rate / reference.rate]}


def _full_speed(lab: Lab) -> job.Taken:
    """The whole job with nothing else going on."""
    traffic = Traffic(minutes=1 if lab.quick else 3, events_per_s=RATE)
    lab.fill("request-events", traffic)
    with lab.worker(lab.slos("catching-up", one_each(SERVICES))) as worker:
        taken = job.run(worker, lab.broker, traffic, SERVICES)
        worker.stop()
    return taken


def _catch_up(worker: Worker) -> tuple[float, float]:
    """(events/s, CPU seconds per million) from the first event counted until event time is near the clock."""
    deadline_s = time.perf_counter() + _LIMIT_S
    while (first := worker.events()) == 0:
        worker.check()
        time.sleep(0.02)
    started_s, started_cpu_s = time.perf_counter(), worker.cpu_s()
    while True:
        worker.check()
        assert time.perf_counter() < deadline_s, "it does not catch up"
        time.sleep(0.25)
        metrics = worker.metrics()
        delays = [v for name, v in metrics.items() if name.startswith("burngate_watermark_delay_seconds")]
        if delays and max(delays) < NEAR_S:
            break
    counted = int(metrics["burngate_events_total"]) - first
    taken_s, cpu_s = time.perf_counter() - started_s, worker.cpu_s() - started_cpu_s
    return counted / taken_s, cpu_s / counted * 1e6


def _minute_ms(time_s: float) -> int:
    return int(time_s) // 60 * 60_000
