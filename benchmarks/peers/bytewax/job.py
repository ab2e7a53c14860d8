"""The job on Bytewax: each fetched batch is combined by hand, then windows fold what is left."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import msgspec
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from fastdigest import TDigest

PANE_MS = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Request(msgspec.Struct, gc=False):
    ts: int
    service: str
    endpoint: str
    status: int
    latency_ms: float
    version: str
    track: str


class Partial(msgspec.Struct, gc=False):
    """What one batch holds of a series and pane."""

    ts: int
    errors: int
    latencies: list[float]


class Tally:
    """A window's accumulator."""

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.digest = TDigest(max_centroids=100)

    def add(self, partial: Partial) -> Tally:
        self.count += len(partial.latencies)
        self.errors += partial.errors
        self.digest.batch_update(partial.latencies)
        return self

    def merge(self, other: Tally) -> Tally:
        self.count += other.count
        self.errors += other.errors
        self.digest.merge_inplace(other.digest)
        return self


decode = msgspec.json.Decoder(Request).decode


def combine(messages: list[Any]) -> list[tuple[str, Partial]]:
    partials: dict[tuple[str, str, str, str, int], Partial] = {}
    for message in messages:
        event = decode(message.value)
        ts = event.ts
        key = (event.service, event.endpoint, event.version, event.track, ts // PANE_MS)
        partial = partials.get(key)
        if partial is None:
            partial = partials[key] = Partial(ts, 0, [])
        elif ts > partial.ts:
            partial.ts = ts
        partial.latencies.append(event.latency_ms)
        if event.status >= 500:
            partial.errors += 1
    return [("|".join(key[:4]), partial) for key, partial in partials.items()]


def message(keyed: tuple[str, tuple[int, Tally]]) -> KafkaSinkMessage:
    series, (window, tally) = keyed
    service, endpoint, version, track = series.split("|")
    record = {
        "service": service,
        "endpoint": endpoint,
        "version": version,
        "track": track,
        "pane_ms": window * PANE_MS,
        "count": tally.count,
        "errors": tally.errors,
        "p50": tally.digest.quantile(0.5),
        "p99": tally.digest.quantile(0.99),
    }
    return KafkaSinkMessage(series.encode(), orjson.dumps(record))


brokers = [os.environ["PEER_BROKER"]]
flow = Dataflow("panes")
requests = op.input(
    "requests", flow, KafkaSource(brokers, [os.environ["PEER_INPUT"]], tail=True, batch_size=20_000)
)
combined = op.flat_map_batch("combine", requests, combine)
clock = win.EventClock(
    ts_getter=lambda partial: EPOCH + timedelta(milliseconds=partial.ts),
    wait_for_system_duration=timedelta(seconds=5),
)
windower = win.TumblingWindower(length=timedelta(milliseconds=PANE_MS), align_to=EPOCH)
panes = win.fold_window("panes", combined, clock, windower, Tally, Tally.add, Tally.merge, ordered=False)
op.output("out", op.map("record", panes.down, message), KafkaSink(brokers, os.environ["PEER_OUTPUT"]))

if __name__ == "__main__":
    recovery = Path(os.environ["PEER_STATE"]) / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=2), recovery_config=RecoveryConfig(recovery))
