"""Where the state of an app says that each source partition was left, for when Kafka has forgotten it.

Offsets of a group that was empty for long expire; the state does not. A chunk's end may be read on from when
every service partition has heard of it: readers report to all of them. An older one is as good: what is read
again is cut at the same places, and known as a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.wire.partial import RULE, decode_message
from stream.wire.pieces import Pieces
from stream.wire.state import decode_shard, key, parse_key


@dataclass(slots=True)
class Memory:
    """What the state of one service partition knows of the source partitions."""

    reach: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """By source: (epoch, end, the broker's time at which that was heard)."""
    terms: dict[int, int] = field(default_factory=dict)
    """By source: term of the reader that was heard last."""
    ends: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By source: (epoch, offset) of places between two chunks."""
    rules: dict[int, int] = field(default_factory=dict)
    """By source: by which rule its chunks are cut."""


@dataclass(frozen=True, slots=True)
class Resumption:
    epoch: int
    offset: int
    """Where to read on."""
    heard_end: int
    """Everything below had been read, and so was in the topic, ..."""
    heard_ms: int
    """... at this time of the broker."""
    read_end: int
    """Nothing from here on was counted anywhere."""
    term: int
    """No reader's was larger."""
    rule: int
    """By which chunks were cut."""


def memory(records: Mapping[bytes, bytes]) -> Memory | None:
    """Of the state records of one service partition; None when it has no state yet. Raises ValueError, or
    FormatError on the state of another version."""
    if (data := records.get(key("shard"))) is None:
        return None
    found = Memory()
    for source in decode_shard(data).sources:
        epoch, end, term = source.reach
        found.reach[source.number] = epoch, end, source.reached_ms
        found.terms[source.number], found.rules[source.number] = term, source.rule
        if source.final is not None:
            found.ends.setdefault(source.number, []).append((source.final[0], source.final[2]))
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind == "open":
            message = decode_message(value)
            found.ends.setdefault(int(place[0]), []).append((message.reports[0].epoch, message.start))
    return found


def resumptions(memories: Iterable[Memory | None]) -> dict[int, Resumption | None]:
    """Where to read on, for every source that the state knows; None: it does not tell, for not every service
    partition has heard of the source, or of its newest epoch."""
    all_of_them = list(memories)
    known = [m for m in all_of_them if m is not None]
    return {
        source: _resumption(source, known) if len(known) == len(all_of_them) else None
        for source in set().union(*(m.reach for m in known))
    }


def _resumption(source: int, memories: list[Memory]) -> Resumption | None:
    if not all(source in m.reach for m in memories):
        return None
    newest, read_end, _ = max(m.reach[source] for m in memories)
    epoch, heard_end, heard_ms = min(m.reach[source] for m in memories)
    ends = [end for m in memories for of, end in m.ends.get(source, ()) if of == newest and end <= heard_end]
    if epoch != newest or not ends:
        return None
    term = max(m.terms.get(source, 0) for m in memories)
    rule = min(m.rules.get(source, RULE) for m in memories)
    return Resumption(epoch, max(ends), heard_end, heard_ms, read_end, term, rule)


Ends = dict[tuple[int, int], int]
"""By (source, epoch): everything below this offset is counted, or lies in partials."""


def ends_in_state(records: Mapping[bytes, bytes]) -> tuple[int, Ends]:
    """Of one service partition: the offset of the first partial that its state does not know, and what that
    knows. Raises ValueError."""
    if (data := records.get(key("shard"))) is None:
        return 0, {}
    record = decode_shard(data)
    return record.position, {(s.number, s.reach[0]): s.reach[1] for s in record.sources}


def pieces_in_state(records: Mapping[bytes, bytes]) -> Pieces:
    """Of messages of which the rest is to come behind that place. Raises ValueError."""
    pieces = Pieces()
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind == "pieces":
            pieces.restore(int(place[0]), value)
    return pieces


def add_partial(ends: Ends, data: bytes) -> None:
    """With what a further partial says. Raises ValueError."""
    for report in decode_message(data).reports:
        of = report.source, report.epoch
        ends[of] = max(report.end, ends.get(of, 0))
