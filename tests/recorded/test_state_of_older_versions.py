"""State and partials that an older version recorded: nothing that it had counted or decided is lost."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded import recording, scenario
from recorded.recording import Part
from recorded.scenario import LATENESS_MS, PARTITIONS, SOURCES

from stream.canary.state import CohortRecord, ColumnsRecord, SaidRecord
from stream.config import load_rules
from stream.errors import FormatError, InvariantError
from stream.pipeline import canary_book, catalog_of
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.slo.reached import memory
from stream.wire import partial, state
from stream.wire.partial import decode_message, encode_reports
from stream.wire.signal import Signal, encode
from stream.wire.state import (
    PairRecord,
    RowRecord,
    ServiceRecord,
    VersionRecord,
    decode,
    decode_shard,
    key,
    parse_key,
)

OLD = recording.version_3()
NEW_KINDS = {"version", "sightings", "rolled-back", "pieces"}
"""Kinds of state records that there were none of when the recording was made."""
WRITERS = [*Path("stream/slo").glob("*.py"), *Path("stream/canary").glob("*.py")]


@cache
def catalog() -> Catalog:
    path = Path(__file__).parent / "rules.yaml"
    path.write_text(scenario.rules())
    try:
        return catalog_of(load_rules([path]))
    finally:
        path.unlink()


def restored(partition: int, records: dict[bytes, bytes] | None = None) -> Keeper:
    mine = catalog().of_partition(partition, PARTITIONS)
    found = OLD.parts[partition].state if records is None else records
    return Keeper(mine, scenario.KEEPER_SERIES, dict(found), [canary_book(mine)])


def of_kind(part: Part, kind: str) -> Iterator[tuple[list[str], bytes]]:
    for name, value in sorted(part.state.items()):
        found, place = parse_key(name)
        if found == kind:
            yield place, value


def checkpoint(keeper: Keeper, records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """State records after a checkpoint upon these."""
    found = dict(records)
    for name, value in keeper.changes().items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


# what is in the recording


def test_every_kind_of_record_is_in_the_recording() -> None:
    text = "\n".join(path.read_text() for path in WRITERS)
    kinds = set(re.findall(r'(?:Stored\(|\bkey\(|_large\()"([a-z-]+)"', text))
    recorded = {parse_key(name)[0] for part in OLD.parts for name in part.state}
    assert kinds - NEW_KINDS == recorded
    assert len(recorded) == 20


def test_the_recording_has_what_is_hard_to_carry_over() -> None:
    services = {tuple(p): decode(ServiceRecord, v) for part in OLD.parts for p, v in of_kind(part, "service")}
    rows = {p[0]: decode(RowRecord, v) for part in OLD.parts for p, v in of_kind(part, "row")}
    pairs = [decode(PairRecord, v) for part in OLD.parts for _, v in of_kind(part, "pair")]
    assert {s for s, record in services.items() if record.frozen} == {
        ("shop", "search"),
        ("shop", "payment"),
        scenario.ODD,
    }
    assert len(services["shop", "payment"].versions) == 6
    assert {name for name, record in rows.items() if record.below_rollback} == {
        "shop/search-up",
        "shop/payment-up",
    }
    assert rows["team/a/up/eu"].alerts
    assert rows["shop/payment-fast"].period is not None
    assert rows["shop/payment-slices"].slices
    assert any(pair.folded for pair in pairs)
    shards = [decode_shard(part.state[key("shard")]) for part in OLD.parts]
    assert all(shard.version == OLD.state_version == 3 for shard in shards)
    assert all(shard.coming and any(source.coming for source in shard.sources) for shard in shards)
    assert any(source.final is not None for source in shards[0].sources)
    assert all(
        decode_message(m).version == OLD.partial_version == 4 for p in OLD.parts for _, m in p.messages
    )


# restored


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_everything_is_taken_over(partition: int) -> None:
    part, keeper = OLD.parts[partition], restored(partition)
    shard, book = keeper.shard, keeper.shard.extensions[0]
    assert keeper.position == part.position
    assert keeper.leftovers == []
    frozen, announced = set(), {}
    for place, value in of_kind(part, "service"):
        service, record = (place[0], place[1]), decode(ServiceRecord, value)
        frozen |= {service} if record.frozen else set()
        found = shard.ledger.versions.seen[service]
        # Its run begins with its first event, its last sighting is known, and nothing of the last hour.
        assert {v: (s.began_ms, s.last_s, s.events) for v, s in found.items()} == {
            name: (first_ms, last_end_s, 0) for name, first_ms, last_end_s, _ in record.versions
        }
    assert shard.evaluator.policies.frozen == frozen
    for _, value in of_kind(part, "alert"):
        one = json.loads(value)
        announced[one["id"]] = one
    assert {str(one["id"]): one for one in shard.evaluator.announced.values()} == announced
    row_of = {f"{o.namespace}/{o.name}": row for row, o in enumerate(shard.catalog.objectives)}
    for place, value in of_kind(part, "row"):
        row, record = row_of[place[0]], decode(RowRecord, value)
        assert bool(shard.evaluator.policies.rollback.past[row]) == record.below_rollback
        assert bool(shard.evaluator.held_last_minute[row]) == record.held_last_minute
        states = [
            a.state.value for p, a in shard.evaluator.alerts.items() if shard.evaluator.rules[p][0] == row
        ]
        assert sorted(states) == sorted(alert[3] for alert in record.alerts)
        assert len(record.slices) == sum(row in rows for rows in shard.ledger.slices.slices.values())
    assert set(book.cohorts.names) == {int(place[0]) for place, _ in of_kind(part, "cohort")}
    for _, value in of_kind(part, "cohort-columns"):
        assert decode(ColumnsRecord, value).names == book.cohorts.columns
    for place, value in of_kind(part, "cohort"):
        cohort = book.cohorts.names[int(place[0])]
        assert (cohort.namespace, cohort.service) == msgspec.structs.astuple(decode(CohortRecord, value))[:2]
    for place, value in of_kind(part, "canary-said"):
        case = book.cases["shop", place[1]]
        assert case.told == decode(SaidRecord, value).told
    assert {case.trial is not None for case in book.cases.values()} == {True}
    assert all(shadow.state.requests for shadow in book.shadows.values())
    assert {(str(n),) for n, _ in shard.percentiles.named()} == {
        tuple(p) for p, _ in of_kind(part, "endpoint")
    }
    assert set(map(str, shard.percentiles.minutes.folded())) == {p[0] for p, _ in of_kind(part, "digest")}
    assert {tuple(map(str, p)) for p in shard.ledger.history.places()} == {
        tuple(p) for p, _ in of_kind(part, "hist")
    }


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_a_checkpoint_leaves_nothing_of_the_old_format_and_is_restored_alike(partition: int) -> None:
    old, keeper = OLD.parts[partition].state, restored(partition)
    new = checkpoint(keeper, old)
    assert decode_shard(new[key("shard")]).version == state.VERSION
    counts = [parse_key(name)[0] for name in new].count
    known = [decode(VersionRecord, value) for name, value in new.items() if name.startswith(b"version\0")]
    assert {(*one.service, one.version, one.began_ms, one.last_s) for one in known} == {
        (*place, *seen[:3])
        for place, value in of_kind(OLD.parts[partition], "service")
        for seen in decode(ServiceRecord, value).versions
    }
    services = [decode(ServiceRecord, v) for name, v in new.items() if parse_key(name)[0] == "service"]
    assert not any(record.versions for record in services)
    for kind in ("row", "service", "alert", "pair", "endpoint", "rollout", "shadow", "trial"):
        assert counts(kind) == [parse_key(name)[0] for name in old].count(kind), kind
    again = restored(partition, new)
    assert again.changes().keys() <= {key("shard")}
    before, after = keeper.shard.evaluator.policies, again.shard.evaluator.policies
    assert after.frozen == before.frozen
    assert after.freeze.past.tolist() == before.freeze.past.tolist()
    assert after.gone == before.gone
    assert followed(restored(partition), partition) == followed(again, partition)


# counts


def followed(keeper: Keeper, partition: int) -> list[tuple[str, str, bytes]]:
    """What it says to the messages that came after the checkpoint."""
    signals: list[Signal] = []
    for offset, (stamp_ms, message) in enumerate(OLD.parts[partition].messages, keeper.position):
        keeper.apply(message, offset, stamp_ms)
        signals += keeper.advance(SOURCES)
    return [(s.topic, s.key, encode(s)) for s in signals]


COUNTS = {
    "slo-budgets": ("slo", ("good", "bad", "total", "window_s", "sli_pct", "burn_rate")),
    "latency-percentiles": ("endpoint", ("window_s", "count", "min", "max")),
    "canary-verdicts": (
        "analysis",
        ("deployment", "stage", "canary", "baseline", "requests", "warmup_requests"),
    ),
    "shadow-verdicts": ("comparison", ("version", "requests", "mismatches", "started_at")),
    "slo-alerts": ("id", ("state", "slo", "starts_at", "burn_rate", "contributors")),
}


def counts(signals: Iterable[tuple[str, str, bytes]]) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for topic, _, value in signals:
        record = json.loads(value)
        if topic in COUNTS:
            names, fields = COUNTS[topic]
            where = record["namespace"], record["service"], str(record[names]), str(record.get("window_s"))
            name = topic, *where, record["evaluated_at"], str(record.get("state"))
            assert name not in found
            found[name] = {field: record[field] for field in fields}
    return found


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_partials_of_the_old_version_go_on_where_its_state_ends(partition: int) -> None:
    expected = counts(OLD.parts[partition].signals)
    assert counts(followed(restored(partition), partition)) == expected
    assert len(expected) > 80


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_readers_of_this_version_go_on_behind_what_the_old_ones_sent(partition: int) -> None:
    """Stopped in the middle of what was recorded, upgraded, started: in a new epoch, behind what counted."""
    part, keeper = OLD.parts[partition], restored(partition)
    stop_ms = (scenario.CUT_S + 120) * 1000
    sent = [one for one in part.messages if one[0] < stop_ms]
    ends: dict[int, int] = {}
    for offset, (stamp_ms, message) in enumerate(sent, keeper.position):
        keeper.apply(message, offset, stamp_ms)
        ends |= {report.source: report.end for report in decode_message(message).reports}
    signals = list(keeper.advance(SOURCES))
    keeper = restored(partition, checkpoint(keeper, part.state))
    lexicon = Lexicon(catalog(), PARTITIONS, scenario.READER_SERIES)
    epoch, term = OLD.sources[0]["epoch"] + 1, OLD.sources[0]["term"] + 1
    intakes = [Intake(source, epoch, ends[source], term, lexicon, LATENESS_MS) for source in range(SOURCES)]
    by_second: dict[int, list[scenario.Arrival]] = defaultdict(list)
    for one in scenario.arrivals():
        if one.offset >= ends[one.source]:
            by_second[one.stamp_ms // 1000].append(one)
    told = {stamp // 1000: m for stamp, m in part.messages[len(sent) :] if decode_message(m).notices}
    quiet_since = dict.fromkeys(range(SOURCES), min(by_second))
    for now_s in range(min(by_second), scenario.END_S):
        if now_s in told:
            keeper.apply(told[now_s], keeper.position, now_s * 1000 + 300)
        for source, intake in enumerate(intakes):
            mine = [one for one in by_second[now_s] if one.source == source]
            messages: list[bytes] = []
            if mine:
                quiet_since[source] = now_s
                columns = [o.offset for o in mine], [o.stamp_ms for o in mine], [o.value for o in mine]
                outs: list[Any] = list(intake.feed(intake.end, mine[-1].offset + 1, *columns, lexicon))
            else:
                outs = [intake.flush()] if now_s - quiet_since[source] > 10 else []
                if now_s - quiet_since[source] > 10:
                    messages = [encode_reports([intake.report(now_s * 1000 - 500)])]
            messages = [_message(o, partition) for o in outs if isinstance(o, Sending)] + messages
            for message in messages:
                keeper.apply(message, keeper.position, now_s * 1000 + 300)
        signals += keeper.advance(SOURCES)
    # Late events count at the tick after they are sent, and other series find no room in a new numbering.
    found = counts((s.topic, s.key, encode(s)) for s in signals)
    got, expected = _after(found, stop_ms + 60_000), _after(counts(part.signals), stop_ms + 60_000)
    last = max(name[5] for name in got)
    assert last > scenario.at(stop_ms / 1000 + 300)
    assert got == {name: record for name, record in expected.items() if name[5] <= last}
    assert len(got) > 30


def _after(found: dict[tuple[str, ...], Any], at_ms: int) -> dict[tuple[str, ...], Any]:
    """Of SLOs, canaries and whole services."""
    at, of_endpoints = scenario.at(at_ms // 1000), "latency-percentiles"
    return {
        n: record for n, record in found.items() if n[5] > at and (n[0] != of_endpoints or n[3] == "None")
    }


def _message(sending: Sending, partition: int) -> bytes:
    return sending.messages.get(partition) or encode_reports([sending.report])


# other formats


def test_newer_state_is_refused_with_its_reason() -> None:
    newer = dict(OLD.parts[0].state)
    record = msgspec.msgpack.decode(newer[key("shard")])
    for body in ([state.VERSION + 1, *record[1:]], [state.VERSION + 1, {"another": "form"}]):
        newer[key("shard")] = msgspec.msgpack.encode(body)
        with pytest.raises(
            FormatError, match=rf"a newer Burngate wrote this state: format {state.VERSION + 1},"
        ):
            restored(0, newer)
        with pytest.raises(FormatError):
            memory(newer)
    newer[key("shard")] = msgspec.msgpack.encode([2, *record[1:]])
    with pytest.raises(FormatError, match="an older Burngate"):
        restored(0, newer)


def test_a_newer_partial_is_no_bug_of_ours() -> None:
    keeper = restored(0)
    message = msgspec.msgpack.decode(OLD.parts[0].messages[0][1])
    for body in ([partial.VERSION + 1, *message[1:]], [partial.VERSION + 1, {"another": "form"}]):
        with pytest.raises(FormatError, match="a newer Burngate wrote a partial") as caught:
            keeper.apply(msgspec.msgpack.encode(body), keeper.position, 1_790_010_900_000)
        assert caught.value.exit_code == 3
    with pytest.raises(InvariantError, match="not a partial"):
        keeper.apply(b"\x93\x04\xa1x", keeper.position, 1_790_010_900_000)
