"""Stage two alone, under the partials of many workers: what one service partition costs at 10⁶ events/s.

No Kafka: stage one (``slo/intake.py``) makes the partials of every source partition from events in memory;
the service partition of ``s0`` (``slo/keeper.py``) takes them in a process of its own, decides its ticks and
makes its checkpoints. The figures feed the model of docs/scaling.md.

    python -m benchmarks.scaling --rate 1000000 --workers 64 --series 100000 --partitions 32
    python -m benchmarks.scaling --keyed               # a source partition has series of its own
    python -m benchmarks.scaling --services 1 --series 1000                       # one hot service
"""

from __future__ import annotations

import gc
import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zstandard
from rich.console import Console
from rich.table import Table

from benchmarks.options import Parser, at_least
from benchmarks.traffic import slo, write, write_slos
from stream.config import load_objectives
from stream.slo.catalog import Catalog, partition_of
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.partial import decode_message, encode_reports, unpack_tally
from stream.wire.signal import encode

START_MS = 1_790_000_040_000 - 10_000  # a tick before a whole minute
TICKS = 2
TICK_MS = 10_000
LATENESS_MS = 5_000
_BATCH = 10_000
_BAD = 0.0005
"""Share of errors: half of what the target allows, so that ticks are not those of a thousand new alerts."""
_PACKED = 200
"""So many partials, of all sources, are compressed to learn their size."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is simulated."""

    rate: int
    workers: int
    series: int
    services: int
    objectives: int
    partitions: int
    keyed: bool

    @property
    def target(self) -> int:
        """The service partition that is run."""
        return partition_of("default", "s0", self.partitions)

    def catalog(self) -> Catalog:
        documents = [slo(f"s{n}-{o}", f"s{n}") for n in range(self.services) for o in range(self.objectives)]
        with tempfile.TemporaryDirectory(prefix="burngate-scaling-") as name:
            return Catalog(load_objectives([write_slos(Path(name) / "slos", documents)]))

    def batches(self, source: int) -> Iterator[list[bytes]]:
        """A source's events in order of time: two ticks, and what lets the second be decided."""
        rng = np.random.default_rng(source)
        per_s = self.rate / self.workers
        count = int(per_s * (TICKS * TICK_MS + LATENESS_MS + 1_000) / 1000)
        for first in range(0, count, _BATCH):
            number = np.arange(first, min(first + _BATCH, count))
            ts = START_MS + (number * 1000 / per_s).astype(np.int64)
            which = rng.integers(self.series, size=len(number))
            if self.keyed:
                which = which // self.workers * self.workers + source
            columns = (ts, which % self.services, which // self.services, np.zeros(len(number), np.int64))
            yield list(write(*columns, rng, _BAD))


@dataclass
class Sent:
    """What one source sends to the one service partition, and what that took."""

    messages: list[bytes] = field(default_factory=list)
    events: int = 0
    cpu_s: float = 0.0


@dataclass
class Ran:
    """What stage two took, without fetching."""

    slos: int = 0
    apply_s: float = 0.0
    ticks: list[tuple[float, int]] = field(default_factory=list)
    """CPU and records of each tick."""
    checkpoint_s: float = 0.0
    checkpoint_bytes: int = 0
    state: dict[bytes, int] = field(default_factory=dict)
    """Bytes of each state record that is left."""
    memory_mb: float = 0.0
    """Peak, above what the process had with the partials alone."""

    @property
    def cpu_s(self) -> float:
        return self.apply_s + self.checkpoint_s + sum(cpu_s for cpu_s, _ in self.ticks)


def main() -> None:
    options = Parser("make bench-scaling", (__doc__ or "").partition("\n\n")[0])
    options.add_argument(
        "--rate", type=at_least(1), default=1_000_000, help="events a second, of all workers"
    )
    options.add_argument("--workers", type=at_least(1), default=64, help="each reads one source partition")
    options.add_argument("--series", type=at_least(1), default=100_000)
    options.add_argument("--services", type=at_least(1), default=1_000)
    options.add_argument("--objectives", type=at_least(1), default=1, help="of each service")
    options.add_argument("--partitions", type=at_least(1), default=32, help="of services")
    options.add_argument("--keyed", action="store_true", help="each series is in one source partition only")
    load = Load(**vars(options.parse_args()))
    gc.disable()
    lexicon = Lexicon(load.catalog(), load.partitions)
    sources = [_send(load, source, lexicon) for source in range(load.workers)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        ran = pool.submit(run, load, [one.messages for one in sources]).result()
    _report(load, sources, ran)


def _send(load: Load, source: int, lexicon: Lexicon) -> Sent:
    """Stage one of a source partition; making its events is not counted."""
    intake, sent = Intake(source, 1, 0, 1, lexicon, LATENESS_MS), Sent()
    for batch in load.batches(source):
        started_s = time.process_time()
        end = sent.events + len(batch)
        stamps = [START_MS + 60_000] * len(batch)
        for out in intake.feed(sent.events, end, range(sent.events, end), stamps, batch, lexicon):
            if isinstance(out, Sending):
                sent.messages.append(out.messages.get(load.target) or encode_reports([out.report]))
        sent.events = end
        sent.cpu_s += time.process_time() - started_s
    return sent


def run(load: Load, sources: list[list[bytes]]) -> Ran:
    """Stage two: the sources' messages in turn, a checkpoint at each tick."""
    gc.disable()
    catalog = load.catalog().of_partition(load.target, load.partitions)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    ran, before_mb = Ran(slos=len(catalog.objectives)), _memory_mb("VmRSS")
    keeper = Keeper(catalog, load.series)
    offset = 0
    for number in range(max(len(messages) for messages in sources)):
        started_s = time.process_time()
        for messages in sources:
            if number < len(messages):
                keeper.apply(messages[number], offset, START_MS + 3_600_000)
                offset += 1
        ran.apply_s += time.process_time() - started_s
        _decide(keeper, load.workers, ran)
    ran.memory_mb = _memory_mb("VmHWM") - before_mb
    return ran


def _decide(keeper: Keeper, workers: int, ran: Ran) -> None:
    before, started_s = keeper.shard.ledger.decided_s, time.process_time()
    records = [encode(signal) for signal in keeper.advance(workers)]
    decided_at_s = time.process_time()
    now = keeper.shard.ledger.decided_s
    if now == before or now is None or now * 1000 <= START_MS:  # nothing, or a tick before the first event
        return
    ran.ticks.append((decided_at_s - started_s, len(records)))
    changes = keeper.changes()
    ran.checkpoint_s += time.process_time() - decided_at_s
    for key, value in changes.items():
        ran.checkpoint_bytes += len(key) + len(value or b"")
        ran.state.pop(key, None)
        if value is not None:
            ran.state[key] = len(key) + len(value)


def _memory_mb(kind: str) -> float:
    """``VmRSS``: now; ``VmHWM``: at its peak. Not rusage's peak, which a new process has from its parent."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _report(load: Load, sources: list[Sent], ran: Ran) -> None:
    messages = [data for one in sources for data in one.messages]
    entries = sum(_entries(data) for data in messages)
    events = sum(one.events for one in sources)
    compressor = zstandard.ZstdCompressor()
    some = messages[:: max(1, len(messages) // _PACKED)]
    packed = sum(len(compressor.compress(data)) for data in some) / len(some)
    seconds = events / load.rate
    rows = {
        "SLOs of this partition": f"{ran.slos:,}",
        "stage one, CPU s per million events": f"{sum(one.cpu_s for one in sources) / events * 1e6:.2f}",
        "partials to this partition, a second": f"{len(messages) / seconds:,.0f}",
        "entries to this partition, a second": f"{entries / seconds:,.0f}",
        "bytes of a partial, packed": f"{packed:,.0f}",
        "bytes to this partition, MB a second": f"{packed * len(messages) / seconds / 1e6:.2f}",
        "CPU to apply a partial, ms": f"{ran.apply_s / len(messages) * 1e3:.2f}",
        "CPU to apply an entry, µs": f"{ran.apply_s / entries * 1e6:.2f}",
        "CPU to decide a tick, ms": ", ".join(f"{cpu_s * 1e3:.1f} ({n:,} records)" for cpu_s, n in ran.ticks),
        "CPU of a checkpoint, ms": f"{ran.checkpoint_s / max(1, len(ran.ticks)) * 1e3:.0f}",
        "bytes of a checkpoint, MB": f"{ran.checkpoint_bytes / max(1, len(ran.ticks)) / 1e6:.2f}",
        "bytes of the state after it all, MB": f"{sum(ran.state.values()) / 1e6:.2f}",
        "share of a core": f"{ran.cpu_s / seconds:.1%}",
        "memory of stage two, MB": f"{ran.memory_mb:,.0f}",
    }
    title = f"one of {load.partitions} service partitions, {events:,} events"
    table = Table("figure", "measured", title=title)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _entries(data: bytes) -> int:
    """The (series, pane) pairs of a partial."""
    contents = decode_message(data).contents
    return 0 if contents is None else len(unpack_tally(contents).entry_series)


if __name__ == "__main__":
    main()
