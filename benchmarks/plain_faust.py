"""The job as a Faust tutorial writes it: an agent, one event at a time, one table write with a t-digest each.

    python -m benchmarks.plain_faust BROKER TOPIC COUNT DIRECTORY

Prints {"seconds": …} for COUNT events and ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import faust
from fastdigest import TDigest

from benchmarks.producing import PARTITIONS

WARM_UP = 200


def main(broker: str, topic: str, count: int, directory: Path) -> None:
    app = faust.App(
        f"plain-{os.getpid()}",
        broker=f"kafka://{broker}",
        store="memory://",
        datadir=directory,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        value_serializer="json",
    )
    series = app.Table("series", partitions=PARTITIONS)
    begun_s, seen = 0.0, 0

    @app.agent(app.topic(topic))
    async def count_events(stream: faust.StreamT) -> None:
        nonlocal begun_s, seen
        async for event in stream:
            name = f"{event['service']}|{event['endpoint']}|{event['version']}|{event['track']}"
            known = series.get(name) or {"total": 0, "bad": 0, "digest": None}
            digest = TDigest.from_dict(known["digest"]) if known["digest"] else TDigest(max_centroids=100)
            digest.update(event["latency_ms"])
            series[name] = {
                "total": known["total"] + 1,
                "bad": known["bad"] + (event["status"] >= 500),
                "digest": digest.to_dict(),
            }
            seen += 1
            if seen == WARM_UP:
                begun_s = time.perf_counter()
            if seen == WARM_UP + count:
                taken = json.dumps({"seconds": time.perf_counter() - begun_s})
                os.write(1, f"\n{taken}\n".encode())  # Faust has put a logger in the place of stdout
                os._exit(0)

    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
