"""The job on Pathway: parsed by its engine, windowed, and a stateful reducer that takes whole batches."""

from __future__ import annotations

import os

import pathway as pw
from fastdigest import TDigest

PANE_MS = 10_000


class Request(pw.Schema):
    ts: int
    service: str
    endpoint: str
    status: int
    latency_ms: float
    version: str
    track: str


@pw.reducers.stateful_many
def digest(state: bytes | None, rows: list[tuple[list[float], int]]) -> bytes:
    known = TDigest.from_bytes(state) if state else TDigest(max_centroids=100)
    known.batch_update([row[0] for row, _ in rows])
    return known.to_bytes()


@pw.udf
def quantile(state: bytes, share: float) -> float:
    return TDigest.from_bytes(state).quantile(share)


kafka = {
    "bootstrap.servers": os.environ["PEER_BROKER"],
    # A new group for each start: where it goes on is in its own state, and a dead member would be waited for.
    "group.id": f"{os.environ['PEER_APP']}-{os.getpid()}",
    "auto.offset.reset": "earliest",
    "session.timeout.ms": "10000",
}
requests = pw.io.kafka.read(
    kafka,
    topic=os.environ["PEER_INPUT"],
    schema=Request,
    format="json",
    autocommit_duration_ms=1_000,
    name="requests",
)
panes = requests.select(
    pw.this.service,
    pw.this.endpoint,
    pw.this.version,
    pw.this.track,
    pw.this.latency_ms,
    error=pw.if_else(pw.this.status >= 500, 1, 0),
    pane_ms=pw.this.ts // PANE_MS * PANE_MS,
)
tallies = panes.groupby(
    pw.this.service, pw.this.endpoint, pw.this.version, pw.this.track, pw.this.pane_ms
).reduce(
    pw.this.service,
    pw.this.endpoint,
    pw.this.version,
    pw.this.track,
    pw.this.pane_ms,
    count=pw.reducers.count(),
    errors=pw.reducers.sum(pw.this.error),
    digest=digest(pw.this.latency_ms),
)
records = tallies.select(
    *pw.this.without(pw.this.digest),
    p50=quantile(pw.this.digest, 0.5),
    p99=quantile(pw.this.digest, 0.99),
)
pw.io.kafka.write(records, kafka, os.environ["PEER_OUTPUT"], format="json")

if __name__ == "__main__":
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(
            pw.persistence.Backend.filesystem(os.path.join(os.environ["PEER_STATE"], "state")),
            snapshot_interval_ms=2_000,
        ),
    )
