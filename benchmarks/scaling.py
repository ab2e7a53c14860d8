"""Stage two alone, under the partials of many workers: what one service partition costs at 10⁶ events/s.

No Kafka: stage one (``slo/intake.py``) makes the partials of every source partition from events in memory;
one of the service partitions (``slo/keeper.py``) takes them, decides its ticks and makes its checkpoints. The
figures feed the model of docs/scaling.md.

    python -m benchmarks.scaling --rate 1000000 --workers 64 --series 100000 --partitions 32
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from rich.console import Console
from rich.table import Table

from benchmarks.traffic import one_each, write, write_slos
from stream.config import load_objectives
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.partial import decode_message, encode_reports
from stream.wire.signal import encode

SERVICES = 1_000
START_MS = 1_790_000_040_000 - 10_000  # a tick before a whole minute
TICKS = 2
TICK_MS = 10_000
LATENESS_MS = 5_000
TARGET = 0
"""The service partition that is run."""
_BATCH = 10_000


@dataclass
class Messages:
    """What one source sends to the one service partition, and what that took."""

    data: list[bytes]
    events: int
    cpu_s: float


def events_of(source: int, per_s: float, series: int) -> Iterator[list[bytes]]:
    """Batches of a source's events in order of time: two ticks, and what lets the second be decided."""
    rng = np.random.default_rng(source)
    count = int(per_s * (TICKS * TICK_MS + LATENESS_MS + 1_000) / 1000)
    for first in range(0, count, _BATCH):
        number = np.arange(first, min(first + _BATCH, count))
        ts = START_MS + (number * 1000 / per_s).astype(np.int64)
        which = rng.integers(series, size=len(number))
        columns = (ts, which % SERVICES, which // SERVICES, np.zeros(len(number), np.int64))
        yield list(write(*columns, rng, 0.01))


def sent_by(source: int, batches: list[list[bytes]], lexicon: Lexicon) -> Messages:
    intake = Intake(source, 1, 0, 1, lexicon, LATENESS_MS)
    data: list[bytes] = []
    offset = 0
    started_s = time.process_time()
    for batch in batches:
        end = offset + len(batch)
        stamps = [START_MS + 60_000] * len(batch)
        for out in intake.feed(offset, end, range(offset, end), stamps, batch, lexicon):
            if isinstance(out, Sending):
                data.append(out.messages.get(TARGET) or encode_reports([out.report]))
        offset = end
    return Messages(data, offset, time.process_time() - started_s)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    options.add_argument("--rate", type=int, default=1_000_000, help="events a second, of all workers")
    options.add_argument("--workers", type=int, default=64, help="each reads one source partition")
    options.add_argument("--series", type=int, default=100_000)
    options.add_argument("--partitions", type=int, default=32, help="of services")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="burngate-scaling-") as name:
        catalog = Catalog(load_objectives([write_slos(Path(name) / "slos", one_each(SERVICES))]))
    gc.disable()
    lexicon = Lexicon(catalog, chosen.partitions)
    sources = []
    for source in range(chosen.workers):
        batches = list(events_of(source, chosen.rate / chosen.workers, chosen.series))
        sources.append(sent_by(source, batches, lexicon))
    _report(chosen, sources, *_run(catalog, chosen, sources))


def _run(
    catalog: Catalog, chosen: argparse.Namespace, sources: list[Messages]
) -> tuple[float, float, list[tuple[int, float, int]], float, int]:
    """(CPU to apply, to decide, ticks as (second, CPU, records), CPU of checkpoints, their bytes)."""
    keeper = Keeper(catalog.of_partition(TARGET, chosen.partitions), chosen.series)
    apply_s = checkpoint_s = 0.0
    state_bytes = offset = 0
    ticks: list[tuple[int, float, int]] = []
    rounds = max(len(one.data) for one in sources)
    for number in range(rounds):
        started_s = time.process_time()
        for one in sources:
            if number < len(one.data):
                keeper.apply(one.data[number], offset, START_MS)
                offset += 1
        applied_s = time.process_time()
        apply_s += applied_s - started_s
        before = keeper.shard.ledger.decided_s
        records = [encode(signal) for signal in keeper.advance(chosen.workers)]
        decided_s = time.process_time()
        if (now := keeper.shard.ledger.decided_s) != before and now is not None:
            ticks.append((now, decided_s - applied_s, len(records)))
            changes = keeper.changes()
            state_bytes += sum(len(value) for value in changes.values() if value)
            checkpoint_s += time.process_time() - decided_s
    return apply_s, sum(cpu_s for _, cpu_s, _ in ticks), ticks, checkpoint_s, state_bytes


def _report(
    chosen: argparse.Namespace,
    sources: list[Messages],
    apply_s: float,
    decide_s: float,
    ticks: list[tuple[int, float, int]],
    checkpoint_s: float,
    state_bytes: int,
) -> None:
    messages = [data for one in sources for data in one.data]
    entries = sum(_entries(data) for data in messages)
    events = sum(one.events for one in sources)
    compressor = zstandard.ZstdCompressor(level=1)
    packed = sum(len(compressor.compress(data)) for data in messages[:200]) / len(messages[:200])
    seconds = events / chosen.rate
    table = Table(
        "figure", "measured", title=f"one of {chosen.partitions} service partitions, {events:,} events"
    )
    rows = {
        "stage one, CPU s per million events": f"{sum(one.cpu_s for one in sources) / events * 1e6:.2f}",
        "partials to this partition, a second": f"{len(messages) / seconds:,.0f}",
        "entries to this partition, a second": f"{entries / seconds:,.0f}",
        "bytes of a partial, packed": f"{packed:,.0f}",
        "bytes to this partition, MB a second": f"{packed * len(messages) / seconds / 1e6:.2f}",
        "CPU to apply a partial, ms": f"{apply_s / len(messages) * 1e3:.2f}",
        "CPU to apply an entry, µs": f"{apply_s / entries * 1e6:.2f}",
        "CPU to decide a tick, ms": ", ".join(f"{cpu_s * 1e3:.0f} ({n:,} records)" for _, cpu_s, n in ticks),
        "CPU of a checkpoint, ms": f"{checkpoint_s / max(1, len(ticks)) * 1e3:.0f}",
        "bytes of a checkpoint, MB": f"{state_bytes / max(1, len(ticks)) / 1e6:.2f}",
        "share of a core": f"{(apply_s + decide_s + checkpoint_s) / seconds:.1%}",
        "peak memory of all this, MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _entries(data: bytes) -> int:
    contents = decode_message(data).contents
    return 0 if contents is None else len(contents.series)


if __name__ == "__main__":
    main()
