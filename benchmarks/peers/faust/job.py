"""The job as a Faust user writes it: group by series, then one table write with a t-digest per event.

The table says what is counted; twice a second what has changed goes out.
"""

from __future__ import annotations

import os
from typing import Any

import faust
import orjson
from fastdigest import TDigest

PANE_MS = 10_000

app = faust.App(
    os.environ["PEER_APP"],
    broker=f"kafka://{os.environ['PEER_BROKER']}",
    store="memory://",
    datadir=os.environ["PEER_STATE"],
    topic_partitions=4,
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=10,
    broker_heartbeat_interval=3,
    producer_linger=0.05,
    web_enabled=False,
    value_serializer="json",
)
requests = app.topic(os.environ["PEER_INPUT"])
panes_out = app.topic(os.environ["PEER_OUTPUT"], value_serializer="raw")
panes = app.Table("panes", default=list)
changed: set[str] = set()


def series(event: dict[str, Any]) -> str:
    return f"{event['service']}|{event['endpoint']}|{event['version']}|{event['track']}"


def unpacked(known: list[Any]) -> tuple[int, int, TDigest]:
    if not known:
        return 0, 0, TDigest(max_centroids=100)
    count, errors, digest = known
    return count, errors, TDigest.from_bytes(bytes.fromhex(digest))


@app.agent(requests)
async def tally(stream: faust.StreamT) -> None:
    async for event in stream.group_by(series, name="series"):
        pane_ms = event["ts"] // PANE_MS * PANE_MS
        key = f"{series(event)}|{pane_ms}"
        count, errors, digest = unpacked(panes[key])
        digest.update(event["latency_ms"])
        # A table is kept as JSON: the digest as hexadecimal text is cheaper than its centroids.
        panes[key] = [count + 1, errors + (event["status"] >= 500), digest.to_bytes().hex()]
        changed.add(key)


@app.timer(interval=0.5)
async def emit() -> None:
    keys = list(changed)
    changed.clear()
    for key in keys:
        service, endpoint, version, track, pane_ms = key.split("|")
        count, errors, digest = unpacked(panes[key])
        record = {
            "service": service,
            "endpoint": endpoint,
            "version": version,
            "track": track,
            "pane_ms": int(pane_ms),
            "count": count,
            "errors": errors,
            "p50": digest.quantile(0.5),
            "p99": digest.quantile(0.99),
        }
        await panes_out.send(key=key, value=orjson.dumps(record))


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
