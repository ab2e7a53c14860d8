"""The job on Quix Streams: a tumbling window by series, its digest an aggregation with state as JSON."""

from __future__ import annotations

import os
from typing import Any

import orjson
from fastdigest import TDigest
from quixstreams import Application
from quixstreams.dataframe.windows import Count, Sum
from quixstreams.dataframe.windows.aggregations import BaseAggregator

PANE_MS, GRACE_MS = 10_000, 5_000
Fields = dict[str, Any]


class Digest(BaseAggregator):
    """A t-digest as hexadecimal text, which is cheaper than its centroids: the state store keeps JSON."""

    @property
    def state_suffix(self) -> str:
        return "digest"

    def initialize(self) -> None:
        return None

    def agg(self, old: str | None, new: Fields, timestamp: int) -> str:
        digest = TDigest.from_bytes(bytes.fromhex(old)) if old else TDigest(max_centroids=100)
        digest.update(new["latency_ms"])
        return digest.to_bytes().hex()

    def result(self, value: str) -> list[float]:
        digest = TDigest.from_bytes(bytes.fromhex(value))
        return [digest.quantile(0.5), digest.quantile(0.99)]

    def merge(self, a: str, b: str) -> str:
        one, other = (TDigest.from_bytes(bytes.fromhex(packed)) for packed in (a, b))
        return one.merge(other).to_bytes().hex()


def brief(event: Fields) -> Fields:
    return {
        "ts": event["ts"],
        "series": f"{event['service']}|{event['endpoint']}|{event['version']}|{event['track']}",
        "latency_ms": event["latency_ms"],
        "error": int(event["status"] >= 500),
    }


def record(window: Fields, series: str) -> bytes:
    service, endpoint, version, track = series.split("|")
    p50, p99 = window["digest"]
    return orjson.dumps(
        {
            "service": service,
            "endpoint": endpoint,
            "version": version,
            "track": track,
            "pane_ms": window["start"],
            "count": window["count"],
            "errors": window["errors"],
            "p50": p50,
            "p99": p99,
        }
    )


def event_time(value: Fields, headers: object, timestamp: int, kind: object) -> int:
    ts: int = value["ts"]
    return ts


app = Application(
    broker_address=os.environ["PEER_BROKER"],
    consumer_group=os.environ["PEER_APP"],
    auto_offset_reset="earliest",
    commit_interval=2.0,
    state_dir=os.environ["PEER_STATE"],
    # A fetch is worked off whole: a large one would advance one partition beyond the grace of the others.
    consumer_extra_config={
        "session.timeout.ms": 10_000,
        "fetch.message.max.bytes": 64 << 10,
        "queued.min.messages": 1_000,
    },
    producer_extra_config={"compression.type": "lz4", "linger.ms": 50},
    loglevel="WARNING",
)
requests = app.topic(os.environ["PEER_INPUT"], value_deserializer="json", timestamp_extractor=event_time)
out = app.topic(os.environ["PEER_OUTPUT"], value_serializer="bytes", key_serializer="bytes")
(
    app.dataframe(requests)
    .apply(brief)
    .group_by("series")
    .tumbling_window(PANE_MS, grace_ms=GRACE_MS)
    .agg(count=Count(), errors=Sum("error"), digest=Digest())
    .final()
    .apply(lambda window, key, timestamp, headers: record(window, key), metadata=True)
    .to_topic(out, key=lambda value: b"panes")
)

if __name__ == "__main__":
    app.run()
