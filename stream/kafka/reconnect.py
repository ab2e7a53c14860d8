"""Patience with brokers that cannot be reached.

aiokafka connects anew for whoever asks: the fetcher, the coordinator and the metadata each try again every
tenth of a second, which was measured as some 60 attempts a second of an idle worker. Java's clients wait
longer and longer (``reconnect.backoff.max.ms``); so do these.
"""

from __future__ import annotations

import time
from typing import Any

from aiokafka.client import AIOKafkaClient

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0


def reconnect_patiently(client: AIOKafkaClient) -> None:
    """Let attempts fail at once for a while after one to the same node that failed."""
    connect = client._get_conn
    failures: dict[tuple[int, Any], tuple[int, float]] = {}
    """By node and kind of connection: how many in a row, and when the next attempt may be made."""

    async def get_conn(node_id: int, **options: Any) -> Any:
        place = node_id, options.get("group")
        count, next_s = failures.get(place, (0, 0.0))
        if time.monotonic() < next_s:
            return None
        found = await connect(node_id, **options)
        if found is None:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(count, 10))
            failures[place] = count + 1, time.monotonic() + wait_s
        else:
            failures.pop(place, None)
        return found

    client._get_conn = get_conn
