"""Stage one and stage two count each event once, through crashes, zombies, repeats and torn sendings."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.model.objective import (
    Availability,
    BurnRule,
    Calendar,
    Latency,
    Objective,
    Period,
    Rolling,
    Slices,
)
from stream.sketch import DigestSet
from stream.slo.catalog import Catalog, partition_of
from stream.slo.intake import Intake, Refused, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.window import chunk
from stream.window.limbs import BAD, EVENTS, total, total_bad
from stream.window.upsert import Verdict
from stream.wire.partial import decode_message, encode_reports

START_MS = 1_790_000_000_000 // 60_000 * 60_000
SOURCES, PARTITIONS = 2, 2
SERVICES = ("payment", "search", "cart", "mail")


def rule(window_s: int) -> BurnRule:
    return BurnRule(f"{window_s}s", window_s, None, Decimal(2), "warning", (), 5, 30_000)


def objectives_of(service: str) -> list[Objective]:
    up = Objective("shop", f"{service}-up", service, Availability(), Decimal(99), Rolling(3600))
    return [
        Objective(
            **{name: getattr(up, name) for name in ("namespace", "name", "service", "sli", "target_pct")},
            window=Rolling(3600),
            rules=(rule(300), rule(1800)),
        ),
        Objective("shop", f"{service}-day", service, Latency(100), Decimal(99), Calendar(Period.DAY)),
        Objective(
            "shop",
            f"{service}-slices",
            service,
            Latency(100),
            Decimal(99),
            Rolling(3600),
            slices=Slices(60, Decimal(10)),
        ),
    ]


CATALOG = Catalog([o for service in SERVICES for o in objectives_of(service)])


def made(seed: int, count: int) -> list[list[tuple[int, int, bytes]]]:
    """(offset, Kafka timestamp, value) by source: gaps, disorder beyond the lateness, poison, weights.

    The last record of each source comes 20 minutes after, so that everything else is decided in the end.
    """
    rng = random.Random(seed)
    logs: list[list[tuple[int, int, bytes]]] = [[] for _ in range(SOURCES)]
    ts = START_MS + rng.randrange(60_000)
    for i in range(count + SOURCES):
        ts += rng.choice([0, 100, 4_000]) if i < count else 1_200_000
        event = {
            "ts": ts - (rng.randrange(20_000) if i < count else 0),
            "namespace": "shop",
            "service": rng.choice([*SERVICES, "nobody"]),
            "endpoint": rng.choice(["/a", "/b"]),
            "status": rng.choice([200, 200, 500]),
            "version": rng.choice(["v1", "v2"]),
            "sample_rate": rng.choice([1, 0.3, 0.000001]),
            "latency_ms": rng.choice([3, 100, 100.5]),
        }
        log = logs[rng.randrange(SOURCES) if i < count else i - count]
        offset = (log[-1][0] if log else -1) + rng.choice([1, 1, 1, 4])
        poison = i < count and rng.random() < 0.05
        stamp = START_MS + 600_000 + i * 900 + (0 if i < count else 7_200_000)
        log.append((offset, stamp, b"{" if poison else json.dumps(event).encode()))
    return logs


def stamp_ms(offset: int) -> int:
    """The broker's, on a message."""
    return START_MS + 30_000_000 + offset * 300


class World:
    """An imagined Kafka, the readers that live, those that should be dead, and the owners."""

    def __init__(self, logs: list[list[tuple[int, int, bytes]]]) -> None:
        self.input = logs
        self.committed = [0] * SOURCES
        self.partials: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.state: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.terms = 0
        self.readers = [self.reader(source) for source in range(SOURCES)]
        self.zombies: list[Intake] = []
        self.owners = [Keeper(CATALOG, 1000) for _ in range(PARTITIONS)]
        self.verdicts: Counter[Verdict | None] = Counter()
        self.late: set[int] = set()
        """Partitions of which an owner that died had counted late events."""

    def reader(self, source: int) -> Intake:
        self.terms += 1
        start = self.committed[source]
        return Intake(source, 1, start, self.terms, Lexicon(CATALOG, PARTITIONS), 5_000)

    def read(self, intake: Intake, size: int, torn_at: int | None = None) -> bool:
        """Read a batch. ``torn_at``: the reader dies after so many messages; True when it did."""
        log = [r for r in self.input[intake.source] if r[0] >= intake.end][:size]
        end = log[-1][0] + 1 if log else intake.end
        offsets, stamps, values = zip(*log, strict=True) if log else ((), (), ())
        lexicon = Lexicon(CATALOG, PARTITIONS)
        for out in intake.feed(intake.end, end, offsets, stamps, values, lexicon):
            if isinstance(out, Refused):
                continue
            for target, message in self.messages(out):
                if torn_at == 0:
                    return True
                torn_at = None if torn_at is None else torn_at - 1
                self.partials[target].append(message)
            if out.committable is not None:
                self.committed[intake.source] = max(self.committed[intake.source], out.committable)
        return False

    def messages(self, sending: Sending) -> Iterator[tuple[int, bytes]]:
        for target in range(PARTITIONS):
            yield target, sending.messages.get(target) or encode_reports([sending.report])

    def flush(self, intake: Intake, idle_for_ms: int | None = None) -> None:
        if (sending := intake.flush()) is not None:
            for target, message in self.messages(sending):
                self.partials[target].append(message)
        if idle_for_ms is not None:
            for log in self.partials:
                log.append(encode_reports([intake.report(stamp_ms(len(log)) - idle_for_ms)]))

    def own(self, p: int, size: int) -> None:
        keeper, log = self.owners[p], self.partials[p]
        for offset in range(keeper.position, min(len(log), keeper.position + size)):
            self.verdicts[keeper.apply(log[offset], offset, stamp_ms(offset))] += 1
        list(keeper.advance(SOURCES))

    def checkpoint(self, p: int) -> None:
        for name, value in self.owners[p].changes().items():
            if value is None:
                self.state[p].pop(name, None)
            else:
                self.state[p][name] = value

    def replace_reader(self, source: int) -> None:
        self.zombies.append(self.readers[source])
        self.readers[source] = self.reader(source)

    def act(self, what: str, number: int) -> None:
        reader, p = self.readers[number % SOURCES], number % PARTITIONS
        match what:
            case "read":
                self.read(reader, 1 + number % 23)
            case "read and die while sending":
                if self.read(reader, 1 + number % 31, torn_at=number % 3):
                    self.readers[reader.source] = self.reader(reader.source)
            case "flush":
                self.flush(reader, idle_for_ms=number % 900 if number % 3 == 0 else None)
            case "replace a reader":
                self.replace_reader(reader.source)
            case "a zombie goes on" if self.zombies:
                self.read(self.zombies[number % len(self.zombies)], 1 + number % 17)
            case "a zombie flushes" if self.zombies:
                self.flush(self.zombies[number % len(self.zombies)])
            case "a message comes again" if self.partials[p]:
                self.partials[p].append(self.partials[p][number % len(self.partials[p])])
            case "decide":
                self.own(p, 1 + number % 11)
            case "checkpoint":
                self.checkpoint(p)
            case "an owner dies":
                if self.owners[p].shard.ledger.late.late:
                    self.late.add(p)
                self.owners[p] = Keeper(CATALOG, 1000, self.state[p])

    def finish(self) -> None:
        for reader in self.readers:
            self.read(reader, 10**6)
            self.flush(reader)
            for log in self.partials:
                log.append(encode_reports([reader.report()]))
        for p in range(PARTITIONS):
            self.own(p, 10**6)


ACTIONS = (
    *["read"] * 4,
    "read and die while sending",
    "flush",
    "replace a reader",
    "a zombie goes on",
    "a zombie flushes",
    "a message comes again",
    *["decide"] * 2,
    "checkpoint",
    "an owner dies",
)


Event = dict[str, object]


def good_events(logs: list[list[tuple[int, int, bytes]]]) -> list[Event]:
    return [json.loads(value) for log in logs for _, _, value in log if value != b"{"]


def weight(event: Event) -> int:
    return {1: 1_000_000, 0.3: 3_333_333, 0.000001: 10**12}[event["sample_rate"]]


def expected_counts(
    events: list[Event], o: Objective, start_s: int, tick_s: int
) -> tuple[int, int, int, int]:
    """(n, b, N, B) of an objective over [start, tick)."""
    mine = [e for e in events if e["service"] == o.service and e["ts"] < tick_s * 1000]
    bad = (
        (lambda e: e["status"] == 500)
        if isinstance(o.sli, Availability)
        else (lambda e: e["latency_ms"] > 100)
    )
    if o.slices is None:
        found = [(weight(e), bad(e)) for e in mine if e["ts"] >= start_s * 1000]
    else:
        slices: dict[int, list[int]] = {}
        for e in mine:
            one = slices.setdefault(e["ts"] // 60_000, [0, 0])
            one[0] += weight(e)
            one[1] += weight(e) * bad(e)
        ended = [v for k, v in slices.items() if start_s < (k + 1) * 60 <= tick_s]
        found = [(1_000_000, 100 * b > 10 * n) for n, b in ended]
    return (
        len(found),
        sum(is_bad for _, is_bad in found),
        sum(w for w, _ in found),
        sum(w for w, is_bad in found if is_bad),
    )


def check(world: World) -> None:
    events = good_events(world.input)
    for p, keeper in enumerate(world.owners):
        ledger = keeper.shard.ledger
        tick_s = ledger.decided_s
        assert tick_s is not None
        assert tick_s >= (min(log_end(log) for log in world.input) - 5_000) // 10_000 * 10
        for row, o in enumerate(CATALOG.objectives):
            if partition_of("shop", o.service, PARTITIONS) != p:
                assert not ledger.windows.sums[ledger.windows.slot[row, o.window]].any()
                continue
            start_s = tick_s - 3600 if isinstance(o.window, Rolling) else (tick_s - 1) // 86_400 * 86_400
            sums = ledger.windows.sums[ledger.windows.slot[row, o.window]]
            got = int(sums[EVENTS]), int(sums[BAD]), total(sums), total_bad(sums)
            assert got == expected_counts(events, o, start_s, tick_s), o.name
            check_history(keeper, row, events, tick_s)
        check_digests(keeper, p, events)
        check_versions(world, keeper, p, events, tick_s)


def log_end(log: list[tuple[int, int, bytes]]) -> int:
    return int(json.loads(log[-1][2])["ts"])


def check_history(keeper: Keeper, row: int, events: list[Event], tick_s: int) -> None:
    """Weighted counts by series over the longest alerting window."""
    o, ledger = CATALOG.objectives[row], keeper.shard.ledger
    pairs = np.array(sorted(ledger.registry.pairs_of_row.get(row, ())), np.int64)
    got = {
        ledger.registry.name(pair)[0]: (n, b)
        for pair, n, b in zip(pairs.tolist(), *ledger.history.totals(pairs, tick_s, 1800), strict=True)
        if n
    }
    expected: dict[tuple[str, ...], tuple[int, int]] = {}
    for e in events:
        if e["service"] == o.service and (tick_s - 1800) * 1000 <= e["ts"] < tick_s * 1000:
            key = ("shop", o.service, e["endpoint"], "", e["version"], "stable")
            bad = e["status"] == 500 if isinstance(o.sli, Availability) else e["latency_ms"] > 100
            n, b = expected.get(key, (0, 0))
            expected[key] = n + weight(e), b + weight(e) * bad
    assert got == expected, o.name


def check_digests(keeper: Keeper, p: int, events: list[Event]) -> None:
    minutes = keeper.shard.percentiles.minutes
    end = START_MS // 60_000 + 45
    window = DigestSet.merge(minutes.window(end, 60))
    names = dict(keeper.shard.percentiles.named())
    got = {names[key]: count for key, count in zip(window.keys.tolist(), window.count.tolist(), strict=True)}
    assert got == Counter(
        ("shop", e["service"], e["endpoint"])
        for e in events
        if e["service"] != "nobody" and partition_of("shop", str(e["service"]), PARTITIONS) == p
        if end - 60 <= e["ts"] // 60_000 < end
    )


def check_versions(world: World, keeper: Keeper, p: int, events: list[Event], tick_s: int) -> None:
    """What came late tells of no version; without it all of the last hour is there."""
    ledger = keeper.shard.ledger
    for service in SERVICES:
        if partition_of("shop", service, PARTITIONS) != p:
            continue
        there = Counter(
            e["version"]
            for e in events
            if e["service"] == service and (tick_s - 3600) * 1000 <= e["ts"] < tick_s * 1000
        )
        seen = Counter({v: s.events for v, s in ledger.versions.seen["shop", service].items()})
        assert seen <= there
        assert p in world.late or ledger.late.late or seen == there


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "MAX_RECORDS", 12)
    monkeypatch.setattr(chunk, "MAX_AGE_MS", 9_000)
    monkeypatch.setattr(chunk, "MAX_ENTRIES", 9)
    monkeypatch.setattr(chunk, "HEAD_RECORDS", 4)


def test_the_services_lie_on_both_partitions() -> None:
    assert {partition_of("shop", s, PARTITIONS) for s in SERVICES} == {0, 1}


@settings(max_examples=45, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 150),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10**4)), max_size=60),
)
def test_whatever_happens_between_the_stages_every_event_counts_once(
    seed: int, count: int, actions: list[tuple[str, int]]
) -> None:
    world = World(made(seed, count))
    for what, number in actions:
        world.act(what, number)
    world.finish()
    check(world)


@pytest.mark.parametrize("seed", range(6))
def test_long_runs_full_of_crashes_count_every_event_once(seed: int) -> None:
    rng = random.Random(seed)
    world = World(made(seed, 250))
    for _ in range(250):
        world.act(rng.choice(ACTIONS), rng.randrange(10**4))
    world.finish()
    check(world)
    assert min(world.verdicts[v] for v in (Verdict.OPEN, Verdict.REPLACE, Verdict.IGNORE)) > 0
    assert not world.verdicts[Verdict.OVERLAP]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_what_is_committed_is_byte_for_byte_the_same_however_it_was_delivered(
    seed: int, sizes: list[int]
) -> None:
    def final_sendings(sizes: list[int]) -> list[tuple[int | None, dict[int, bytes]]]:
        lexicon = Lexicon(CATALOG, PARTITIONS)
        intake, log, found = Intake(0, 1, 0, 1, lexicon, 5_000), made(seed, 120)[0], []
        for size in [*sizes, 10**6]:
            batch = [r for r in log if r[0] >= intake.end][:size]
            if batch:
                columns = list(zip(*batch, strict=True))
                out = intake.feed(intake.end, batch[-1][0] + 1, *columns, lexicon)
                found += [(o.committable, o.messages) for o in out if isinstance(o, Sending)]
        return [one for one in found if one[0] is not None]

    assert final_sendings(sizes) == final_sendings([])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=30))
def test_a_chunk_goes_by_the_rules_it_began_with(seed: int, sizes: list[tuple[int, bool]]) -> None:
    """A reload takes effect at a chunk's start; a chunk never mixes two files' columns."""
    other = Catalog([o for o in CATALOG.objectives if isinstance(o.sli, Availability)])
    lexicons = {False: Lexicon(CATALOG), True: Lexicon(other)}
    log = made(seed, 120)[0]
    intake = Intake(0, 1, 0, 1, lexicons[False], 5_000)
    rules_at_start: dict[int, bool] = {}
    begun_at = 0
    for size, reloaded in sizes:
        batch = [r for r in log if r[0] >= intake.end][:size]
        if not batch:
            break
        if begun_at == intake.end:  # nothing of the open chunk was read yet
            rules_at_start[begun_at] = reloaded
        for out in intake.feed(intake.end, batch[-1][0] + 1, *zip(*batch, strict=True), lexicons[reloaded]):
            if not isinstance(out, Sending):
                continue
            for message in out.messages.values():
                decoded = decode_message(message)
                assert decoded.contents is not None
                assert decoded.contents.columns == list(
                    (other if rules_at_start[decoded.start] else CATALOG).columns
                )
            if out.committable is not None:
                begun_at = out.committable
                rules_at_start[begun_at] = reloaded


def test_a_source_that_began_anew_counts_beside_what_it_held_before() -> None:
    """A topic that was made again: the same offsets, a larger epoch, other records."""
    logs = made(1, 40)
    keeper = Keeper(CATALOG, 1000)
    lexicon = Lexicon(CATALOG)
    offset = 0
    for epoch in (1, 2, 1):  # the last one is a zombie of the topic that is gone
        for source in range(SOURCES):
            intake = Intake(source, epoch, 0, epoch, lexicon, 5_000)
            log = logs[source]
            out = list(intake.feed(0, log[-1][0] + 1, *zip(*log, strict=True), lexicon))
            out.append(intake.flush())
            for sending in out:
                for message in sending.messages.values() if isinstance(sending, Sending) else ():
                    verdict = keeper.apply(message, offset, stamp_ms(offset))
                    offset += 1
                    assert (verdict is Verdict.IGNORE) == (keeper.shard.spans[source].epoch > epoch)
    list(keeper.advance(SOURCES))
    events = good_events(logs)
    ledger = keeper.shard.ledger
    assert ledger.decided_s is not None
    for row, o in enumerate(CATALOG.objectives):
        if o.slices is None and isinstance(o.window, Rolling):
            sums = ledger.windows.sums[ledger.windows.slot[row, o.window]]
            n, b, weight_n, weight_b = expected_counts(events, o, ledger.decided_s - 3600, ledger.decided_s)
            assert (int(sums[EVENTS]), int(sums[BAD])) == (2 * n, 2 * b)
            assert (total(sums), total_bad(sums)) == (2 * weight_n, 2 * weight_b)
