"""Where the state of an app says that each source partition was left, for when Kafka has forgotten it.

Offsets of a group that was empty for long expire; the state does not. A chunk's end may be read on from when
every service partition has heard of it: readers report to all of them. An older one is as good: what is read
again is cut at the same places, and known as a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.wire.partial import decode_message
from stream.wire.state import ShardRecord, decode, key, parse_key


@dataclass(slots=True)
class Memory:
    """What the state of one service partition knows of the source partitions."""

    reach: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """By source: (epoch, end, the broker's time at which that was heard)."""
    ends: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By source: (epoch, offset) of places between two chunks."""


@dataclass(frozen=True, slots=True)
class Resumption:
    epoch: int
    offset: int
    """Where to read on."""
    heard_end: int
    """Everything below had been read, and so was in the topic, ..."""
    heard_ms: int
    """... at this time of the broker."""


def memory(records: Mapping[bytes, bytes]) -> Memory | None:
    """Of the state records of one service partition; None when it has no state yet. Raises ValueError."""
    if (data := records.get(key("shard"))) is None:
        return None
    found = Memory()
    for source in decode(ShardRecord, data).sources:
        epoch, end, _ = source.reach
        found.reach[source.number] = epoch, end, source.reached_ms
        if source.final is not None:
            found.ends.setdefault(source.number, []).append((source.final[0], source.final[2]))
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind == "open":
            message = decode_message(value)
            found.ends.setdefault(int(place[0]), []).append((message.reports[0].epoch, message.start))
    return found


def resumptions(memories: Iterable[Memory | None]) -> dict[int, Resumption]:
    """By source, where to read on; a source of which not every service partition has heard is missing."""
    all_of_them = list(memories)
    known = [m for m in all_of_them if m is not None]
    if not known or len(known) < len(all_of_them):
        return {}
    found: dict[int, Resumption] = {}
    for source in set.intersection(*(set(m.reach) for m in known)):
        newest = max(m.reach[source][0] for m in known)
        epoch, heard_end, heard_ms = min(m.reach[source] for m in known)
        ends = [end for m in known for of, end in m.ends.get(source, ()) if of == newest and end <= heard_end]
        if epoch == newest and ends:
            found[source] = Resumption(epoch, max(ends), heard_end, heard_ms)
    return found
