"""What restoring takes apart from starting: every partition of a state, taken over in turn.

    python -m benchmarks.restoring BROKER APP SLOS

Prints one JSON object: seconds of fencing, of reading, of rebuilding the windows; records, bytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.aged import MAX_SERIES
from benchmarks.producing import PARTITIONS
from stream.config import load_objectives
from stream.kafka.state import StateStore
from stream.slo.catalog import Catalog
from stream.slo.keeper import Keeper


async def restore(broker: str, app: str, slos: Path) -> dict[str, float]:
    began_s = time.perf_counter()
    catalog = Catalog(load_objectives([slos]))
    taken: Counter[str] = Counter()
    taken["slo_files_s"] = time.perf_counter() - began_s
    store = StateStore([broker], app, f"{app}-state")
    for partition in range(PARTITIONS):
        held = await store.acquire(partition)
        taken["fence_s"] += held.restored.fence_s
        taken["read_s"] += held.restored.restore_s
        taken["records"] += held.restored.record_count
        taken["bytes"] += held.restored.byte_count
        began_s = time.perf_counter()
        Keeper(catalog, MAX_SERIES // PARTITIONS, held.records)
        taken["rebuild_s"] += time.perf_counter() - began_s
        await held.release()
    return dict(taken)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(restore(sys.argv[1], sys.argv[2], Path(sys.argv[3])))))
