"""State of an app that has run for a month: every window of every objective filled on its own grid.

Thirty days cannot be waited for, and decoding a month's requests would take an afternoon. So what stage one
would have sent is made as tallies, partition by partition, and goes through the product's own stage two
(``Keeper``), which counts it and writes it by its own codec in its own transaction. Per series there are 70
events a minute (10,000 series: a billion a day): every 10-second pane of the last hour, every minute of the
five hours before it, as far as alerting windows look back, one latency digest for each endpoint and minute
of the last hour; and for each service every hour of the month. Few are bad: no alert fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from aiokafka import TopicPartition

from benchmarks.producing import PARTITIONS
from benchmarks.traffic import latency_sli, slo
from stream.config import load_objectives
from stream.kafka.state import StateStore
from stream.kafka.topics import Admin, declare_topics
from stream.sketch import DigestSet
from stream.slo.catalog import Catalog, partition_of
from stream.slo.keeper import Keeper
from stream.wire.frame import SeriesKey, pack_series
from stream.wire.partial import Report, encode_partial, encode_reports
from stream.wire.tally import MINUTE_BITS, Tally

END_MS = 1_790_002_740_000
"""Up to when the state reaches: a minute before a full hour."""
ENDPOINTS = 10
MAX_SERIES = 100_000
_PER_MINUTE = 70
_PANE_MS, _MINUTE, _HOUR = 10_000, 6, 360  # in panes
_COLUMNS = {"availability": 0.0005, "latency>250ms": 0.0004, "latency>500ms": 0.0}


@dataclass(frozen=True, slots=True)
class Size:
    """Of the state, all partitions together."""

    records: int
    size_bytes: int


def objectives(services: int) -> list[str]:
    """Availability and two latencies for each service."""
    kinds = {"availability": "{metric: availability}", "fast": latency_sli(250), "slow": latency_sli(500)}
    return [slo(f"s{n}-{name}", f"s{n}", sli) for n in range(services) for name, sli in kinds.items()]


async def write(broker: str, app: str, slos: Path, services: int) -> Size:
    """Make the app's topics, and its state for services ``s0``, ``s1``, …"""
    catalog = Catalog(load_objectives([slos]))
    topics = declare_topics(app, PARTITIONS)
    async with Admin([broker]) as admin:
        await admin.ensure(topics)
    store = StateStore([broker], app, topics.state.name)
    size = Size(0, 0)
    for partition in range(PARTITIONS):
        mine = [n for n in range(services) if partition_of("default", f"s{n}", PARTITIONS) == partition]
        changes = await asyncio.to_thread(_state, catalog.of_partition(partition, PARTITIONS), mine)
        held = await store.acquire(partition)
        await held.checkpoint(changes, [], {TopicPartition(topics.partials.name, partition): 0}, app)
        await held.release()
        written = sum(len(key) + len(value or b"") for key, value in changes.items())
        size = Size(size.records + len(changes), size.size_bytes + written)
    return size


def _state(catalog: Catalog, services: list[int]) -> dict[bytes, bytes | None]:
    keeper = Keeper(catalog, MAX_SERIES // PARTITIONS)
    for offset, tally in enumerate(_tallies(services)):
        report = Report(0, 1, offset + 1, 1, END_MS)
        keeper.apply(encode_partial(report, offset, tally, final=True), offset, END_MS + _MINUTE * _PANE_MS)
        if offset == 0:  # time passes once; everything else finds its pane as late events do
            others = [Report(source, 1, 1, 1, END_MS) for source in range(1, PARTITIONS)]
            keeper.apply(encode_reports(others), 1, END_MS + _MINUTE * _PANE_MS)
            list(keeper.advance(PARTITIONS))
            keeper.position = 1
    assert keeper.shard.ledger.decided_s == END_MS // 1000, "time has not passed"
    assert keeper.shard.ledger.late.too_late == 0, "some of it was dropped"
    keeper.position = 0  # of the partials topic, which is empty
    return keeper.changes()


def _tallies(services: list[int]) -> Iterator[Tally]:
    rng = np.random.default_rng(1)
    end = END_MS // _PANE_MS
    series = [
        ("default", f"s{n}", f"/v1/orders/{{id}}/{e}", "GET", "2.4.0", "stable")
        for n in services
        for e in range(ENDPOINTS)
    ]
    every, first = np.arange(len(series)), np.arange(0, len(series), ENDPOINTS)
    digests = _digests(len(series), rng)
    for minute in range(60):
        panes = end - 1 - minute * _MINUTE - np.arange(_MINUTE)
        tally = _tally(series, every, panes, _PER_MINUTE // _MINUTE, rng)
        keys = (every << MINUTE_BITS) + int(panes[0]) // _MINUTE
        yield replace(tally, endpoints=[key[:3] for key in series], digests=replace(digests, keys=keys))
    for minute in range(60, 6 * 60 + 1):
        yield _tally(series, every, np.array([end - 1 - minute * _MINUTE]), _PER_MINUTE, rng)
    for hours in np.array_split(np.arange(6, 30 * 24), 30):
        yield _tally(series, first, end - 1 - hours * _HOUR, _PER_MINUTE * 60 * ENDPOINTS, rng)


def _digests(endpoints: int, rng: np.random.Generator) -> DigestSet:
    """One digest of a minute's values for each endpoint."""
    keys = np.repeat(np.arange(endpoints), _PER_MINUTE)
    return DigestSet.from_values(keys, np.round(rng.lognormal(3.5, 0.6, len(keys)), 1))


def _tally(
    series: list[SeriesKey], which: np.ndarray, panes: np.ndarray, events: int, rng: np.random.Generator
) -> Tally:
    """The same number of events in each of these series and panes."""
    entries = len(which) * len(panes)
    of_all = len(_COLUMNS) * entries
    bad = np.concatenate([rng.binomial(events, share, entries) for share in _COLUMNS.values()])
    pane = np.repeat(panes, len(which))
    return Tally(
        series=[pack_series(key) for key in series],
        columns=list(_COLUMNS),
        endpoints=[],
        entry_series=np.tile(which, len(panes)),
        entry_pane=pane,
        entry_events=np.full(entries, events),
        entry_first_ms=pane * _PANE_MS,
        cell_entry=np.tile(np.arange(entries), len(_COLUMNS)),
        cell_column=np.repeat(np.arange(len(_COLUMNS)), entries),
        cell_events=np.full(of_all, events),
        cell_weight=np.full(of_all, events * 1_000_000),
        cell_bad=bad,
        cell_bad_weight=bad * 1_000_000,
        digests=DigestSet.empty(),
    )
