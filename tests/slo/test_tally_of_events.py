"""Judge, lexicon and tally: a batch counted by columns is what its events are, counted one by one."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.events import Event, parse_event
from oracle.objectives import Objective as OracleObjective
from oracle.objectives import matches_glob, verdict

from stream.model.objective import GRPC_CODES, Availability, Latency, Objective, Rolling
from stream.slo import lexicon as lexicons
from stream.slo.catalog import Catalog, partition_of
from stream.slo.lexicon import Lexicon
from stream.slo.sli import BAD, GOOD, UNCOUNTED, column_name, judge_outcome
from stream.slo.tally import tally
from stream.wire.decode import decode
from stream.wire.frame import unpack_series
from stream.wire.partial import Report, decode_message, encode_partial, unpack_tally
from stream.wire.tally import MINUTE_BITS, Tally

T0_MS = 1_790_000_000_000
Cell = tuple[int, int, int, int]
"""events, weight, bad events, bad weight."""

UP = Objective("shop", "o", "payment", Availability(), Decimal(99), Rolling(600))
AVAILABILITIES = (
    Availability(),
    Availability(("2xx", "404")),
    Availability((), (0, 5)),
    Availability(("200",), (0,)),
)
LATENCIES = (Latency(100), Latency(250), Latency(1))


def read_slowly(sli: Availability | Latency, event: Event) -> bool | None:
    """The verdict of the contract's second reading, which knows SLIs by the words of the SLO file."""
    if isinstance(sli, Latency):
        words: dict[str, object] = {"metric": "latency", "threshold": f"{sli.threshold_ms}ms"}
    else:
        criteria = {"httpStatusCodes": [*sli.http], "grpcStatusCodes": [GRPC_CODES[c] for c in sli.grpc]}
        words = {"metric": "availability", "successCriteria": criteria if sli.http or sli.grpc else None}
    o = OracleObjective(
        *(0, event.namespace, "o", event.service, words, Fraction(99), 600_000, None, "UTC", None),
        *(Fraction(0), (), None, None, True, None, None, Fraction(0)),
    )
    return verdict(o, event)


@pytest.mark.parametrize("sli", AVAILABILITIES)
def test_every_outcome_is_judged_as_the_contract_reads(sli: Availability) -> None:
    for status in (None, 100, 199, 200, 204, 299, 301, 404, 499, 500, 599):
        for grpc in (None, *range(17)):
            for ok in (None, True, False):
                event = Event(0, "shop", "payment", "", "", status, grpc, ok, None, None, "stable", 1)
                expected = {None: UNCOUNTED, False: GOOD, True: BAD}[read_slowly(sli, event)]
                assert judge_outcome(sli, status, grpc, ok) == expected, (status, grpc, ok)


def lines(rng: random.Random, count: int) -> list[bytes]:
    made = []
    for _ in range(count):
        event: dict[str, object] = {
            "ts": T0_MS + rng.choice([0, 9_999, 10_000, 59_999, 60_000, rng.randrange(200_000)]),
            "namespace": rng.choice(["shop", "shop", "default"]),
            "service": rng.choice(["payment", "search", "cart", "nobody"]),
            "endpoint": rng.choice(["/pay", "/pay/card", "/b", ""]),
            "track": rng.choice(["stable", "stable", "canary"]),
        }
        if rng.random() < 0.8:
            event["status"] = rng.choice([200, 201, 404, 500, 503])
        if rng.random() < 0.3:
            event["grpc_status"] = rng.choice([0, 5, 13, "OK", "UNAVAILABLE"])
        if rng.random() < 0.1:
            event["ok"] = rng.random() < 0.5
        if rng.random() < 0.8:
            event["latency_ms"] = rng.choice([0, 0.5, 1, 1.5, 100, 100.00000001, 250, 1e300])
        if rng.random() < 0.5:
            event["version"] = rng.choice(["v1", "v2"])
        if rng.random() < 0.4:
            event["sample_rate"] = rng.choice([0.1, 0.3, 0.000001, 1])
        made.append(b"{" if rng.random() < 0.03 else json.dumps(event).encode())
    return made


def catalogs(rng: random.Random) -> Catalog:
    return Catalog(
        [
            replace(
                UP,
                name=f"o{i}",
                service=rng.choice(["payment", "search", "cart"]),
                sli=rng.choice([*AVAILABILITIES, *LATENCIES]),
                endpoints=rng.choice([(), (), ("/pay*",), ("/b", "?pay")]),
                tracks=rng.choice([(), (), ("canary",)]),
            )
            for i in range(rng.randrange(1, 12))
        ]
    )


def good_events(values: list[bytes]) -> list[Event]:
    return [parse_event(v) for v in values if v != b"{"]


def key_of(e: Event) -> tuple[str, ...]:
    return e.namespace, e.service, e.endpoint, e.method, e.version or "", e.track


def one_by_one(catalog: Catalog, events: list[Event]) -> tuple[dict, dict, dict]:
    """(series, pane) → (events, smallest ts); with a column → cell; (endpoint, minute) → latencies."""
    followed = {(o.namespace, o.service) for o in catalog.objectives}
    entries: dict[tuple[object, ...], list[int]] = defaultdict(list)
    cells: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    latencies: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
    for e in events:
        if (e.namespace, e.service) not in followed:
            continue
        entries[key_of(e), e.ts // 10_000].append(e.ts)
        if e.latency_ms is not None:
            latencies[(*key_of(e)[:3],), e.ts // 60_000].append((float(e.latency_ms), e.weight / 1e6))
        columns = {
            column_name(o.sli): o.sli
            for o in catalog.objectives
            if (o.namespace, o.service) == (e.namespace, e.service)
            and (not o.tracks or e.track in o.tracks)
            and (not o.endpoints or any(matches_glob(g, e.endpoint) for g in o.endpoints))
        }
        for name, sli in columns.items():
            bad = read_slowly(sli, e)
            if bad is not None:
                cell = cells[key_of(e), e.ts // 10_000, name]
                for i, more in enumerate((1, e.weight, bad, e.weight * bad)):
                    cell[i] += more
    return (
        {k: (len(v), min(v)) for k, v in entries.items()},
        {k: tuple(v) for k, v in cells.items()},
        latencies,
    )


def read_back(one: Tally) -> tuple[dict, dict, dict]:
    """The same of a tally."""
    series = [unpack_series(one.series[i]) for i in one.entry_series.tolist()]
    place = list(zip(series, one.entry_pane.tolist(), strict=True))
    assert len(set(place)) == len(place), "entries are distinct"
    entries = dict(
        zip(place, zip(one.entry_events.tolist(), one.entry_first_ms.tolist(), strict=True), strict=True)
    )
    cells: dict[tuple[object, ...], Cell] = {}
    columns = (
        one.cell_entry,
        one.cell_column,
        one.cell_events,
        one.cell_weight,
        one.cell_bad,
        one.cell_bad_weight,
    )
    for entry, column, *cell in zip(*(c.tolist() for c in columns), strict=True):
        name = (*place[entry], one.columns[column])
        assert name not in cells, "cells are distinct"
        cells[name] = tuple(cell)
    digests = {}
    d = one.digests
    for key, *values in zip(*(c.tolist() for c in (d.keys, d.count, d.low, d.high, d.weight)), strict=True):
        digests[one.endpoints[key >> MINUTE_BITS], key & ((1 << MINUTE_BITS) - 1)] = tuple(values)
    return entries, cells, digests


def agrees(catalog: Catalog, events: list[Event], got: tuple[dict, dict, dict]) -> None:
    entries, cells, latencies = one_by_one(catalog, events)
    assert got[0] == entries
    assert got[1] == cells
    assert got[2].keys() == latencies.keys()
    for name, (count, low, high, weight) in got[2].items():
        values = [v for v, _ in latencies[name]]
        assert (count, low, high) == (len(values), min(values), max(values))
        assert weight == pytest.approx(sum(w for _, w in latencies[name]), rel=1e-12)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 120), st.integers(1, 4))
def test_a_tally_is_its_events_counted_one_by_one(seed: int, count: int, batches: int) -> None:
    """One lexicon goes through several batches, learning series as they come."""
    rng = random.Random(seed)
    catalog = catalogs(rng)
    lexicon = Lexicon(catalog)
    for _ in range(batches):
        values = lines(rng, count)
        frame, _ = decode(values, lexicon.interner, None)
        agrees(catalog, good_events(values), read_back(tally(frame, lexicon.judge)[0]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 100), st.integers(1, 5))
def test_each_partition_gets_its_services_and_nothing_is_lost_on_the_wire(
    seed: int, count: int, partitions: int
) -> None:
    rng = random.Random(seed)
    catalog = catalogs(rng)
    lexicon = Lexicon(catalog, partitions)
    values = lines(rng, count)
    frame, _ = decode(values, lexicon.interner, None)
    counted, targets = tally(frame, lexicon.judge)
    parts = counted.split(targets, partitions)
    assert len(parts) == partitions
    for target, part in enumerate(parts):
        mine = [e for e in good_events(values) if partition_of(e.namespace, e.service, partitions) == target]
        if part is None:
            assert not one_by_one(catalog, mine)[0]
            continue
        assert len(part)
        message = decode_message(encode_partial(Report(0, 1, 9, 1, None), 0, part, final=True))
        assert message.contents is not None
        agrees(catalog, mine, read_back(unpack_tally(message.contents)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 100))
def test_neither_order_nor_batching_changes_a_tally(seed: int, count: int) -> None:
    rng = random.Random(seed)
    catalog = catalogs(rng)
    values = lines(rng, count)
    shuffled = rng.sample(values, len(values))
    warm, cold = Lexicon(catalog), Lexicon(catalog)
    decode(lines(rng, 30), warm.interner, None)  # numbers the series in another order
    results = [
        read_back(tally(decode(v, one.interner, None)[0], one.judge)[0])
        for v, one in ((values, warm), (shuffled, cold))
    ]
    assert results[0][:2] == results[1][:2]
    assert results[0][2].keys() == results[1][2].keys()
    for name, (*exact, weight) in results[0][2].items():
        assert exact == [*results[1][2][name][:3]]
        assert weight == pytest.approx(results[1][2][name][3], rel=1e-12)


def test_the_largest_weights_of_a_full_chunk_are_summed_exactly() -> None:
    catalog = Catalog([UP, replace(UP, name="fast", sli=Latency(100))])
    lexicon = Lexicon(catalog)
    event = {"ts": T0_MS, "namespace": "shop", "service": "payment", "status": 500, "latency_ms": 101}
    heavy = json.dumps(event | {"sample_rate": 0.000001}).encode()
    odd = json.dumps(event | {"sample_rate": 0.3}).encode()
    frame, _ = decode([heavy] * 49_999 + [odd], lexicon.interner, None)
    counted, _ = tally(frame, lexicon.judge)
    weight = 49_999 * 10**12 + 3_333_333
    assert counted.cell_weight.tolist() == counted.cell_bad_weight.tolist() == [weight, weight]


def test_a_full_lexicon_is_followed_by_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicons, "MAX_SERIES", 3)
    first = Lexicon(Catalog([UP]), 7)
    for number in range(4):
        assert first.renewed() is first
        first.interner.id_of(("shop", "payment", f"/{number}", "", "", "stable"))
    second = first.renewed()
    assert second is not first
    assert (len(second.interner), second.partitions, second.catalog) == (0, 7, first.catalog)


@given(st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9), st.integers(1, 64))
def test_a_service_has_one_partition_in_every_run(namespace: str, service: str, partitions: int) -> None:
    # CRC-32 bit by bit (IEEE 802.3), as every worker in every language would compute it.
    crc = 0xFFFFFFFF
    for byte in f"{namespace}/{service}".encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    assert partition_of(namespace, service, partitions) == (crc ^ 0xFFFFFFFF) % partitions


def test_columns_are_named_by_what_they_count() -> None:
    names = Counter(column_name(sli) for sli in (*AVAILABILITIES, *LATENCIES, Latency(100), Availability()))
    assert len(names) == len(AVAILABILITIES) + len(LATENCIES)
    assert (names["latency>100ms"], names["availability"]) == (2, 2)
