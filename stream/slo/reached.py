"""Where the state of an app says that each source partition was left, for when Kafka has forgotten it.

Offsets of a group that was empty for long expire; the state does not. A chunk's end may be read on from when
every service partition has heard of it: readers report to all of them. An older one is as good: what is read
again is cut at the same places, and known as a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.window.clock import Reach
from stream.wire.partial import decode_message
from stream.wire.state import ShardRecord, decode, key, parse_key


@dataclass(slots=True)
class Memory:
    """What the state of one service partition knows of the source partitions."""

    as_of_ms: int = 0
    """The broker's time of its last checkpoint."""
    reach: dict[int, Reach] = field(default_factory=dict)
    """By source."""
    ends: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By source: (epoch, offset) of places between two chunks."""


@dataclass(frozen=True, slots=True)
class Resumption:
    epoch: int
    offset: int
    as_of_ms: int
    """Everything below the offset was appended before."""


def memory(records: Mapping[bytes, bytes], as_of_ms: int) -> Memory | None:
    """Of the state records of one service partition; None when it has no state yet. Raises ValueError."""
    found = Memory(as_of_ms)
    if (data := records.get(key("shard"))) is None:
        return None
    for source in decode(ShardRecord, data).sources:
        found.reach[source.number] = Reach(*source.reach)
        if source.final is not None:
            epoch, _, end = source.final
            found.ends.setdefault(source.number, []).append((epoch, end))
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind == "open":
            message = decode_message(value)
            found.ends.setdefault(int(place[0]), []).append((message.reports[0].epoch, message.start))
    return found


def resumptions(memories: Iterable[Memory | None]) -> dict[int, Resumption]:
    """By source, where to read on; a source of which not every service partition has heard is missing."""
    all_of_them = list(memories)
    known: Sequence[Memory] = [m for m in all_of_them if m is not None]
    if not known or len(known) < len(all_of_them):
        return {}
    found: dict[int, Resumption] = {}
    for source in set.intersection(*(set(m.reach) for m in known)):
        epoch = max(m.reach[source].epoch for m in known)
        heard = min((m.reach[source].epoch, m.reach[source].end) for m in known)
        ends = {end for m in known for end in m.ends.get(source, ()) if end[0] == epoch and end <= heard}
        if ends:
            found[source] = Resumption(epoch, max(ends)[1], min(m.as_of_ms for m in known))
    return found
