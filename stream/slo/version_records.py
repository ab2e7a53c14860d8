"""Versions and what was said of them as state records, and back.

What was seen in a pane is one record for all services, written once: while a version is seen, these records
tell when it was seen last, and its own is written when its run begins, when it is condemned, and when its
last pane leaves the hour. Else a checkpoint would rewrite every version that serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from stream.slo.ledger import Ledger
from stream.slo.rolled_back import OfService, TakenBack, by_time
from stream.slo.versions import Seen, Sighting
from stream.wire.columns import pack, unpack
from stream.wire.state import (
    RolledBackRecord,
    ServiceRecord,
    SightingsRecord,
    VersionRecord,
    decode,
    encode,
    key,
    parse_key,
)

_KINDS = ("version", "sightings", "rolled-back")


class VersionRecords:
    """Tells which of them differ from those stored. One for each shard."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stored: dict[str, set[tuple[str, ...]]] = {kind: set() for kind in _KINDS}
        self._is_checked = False
        """Whether what an earlier owner stored of services that are gone was deleted."""

    def find(self, kind: str, name: bytes) -> None:
        """A record that an earlier owner has stored; kinds that are not of these are passed over."""
        if kind in self._stored:
            self._stored[kind].add(tuple(parse_key(name)[1]))

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write, None to delete; afterwards they count as stored."""
        versions, rolled_back = self._ledger.versions, self._ledger.rolled_back
        if not self._is_checked:
            self._is_checked = True
            versions.changed |= {int(number) for (number,) in self._stored["version"] - self._numbers()}
            gone = self._stored["rolled-back"] - rolled_back.of.keys()
            rolled_back.changed |= {(namespace, service) for namespace, service in gone}
        for number in sorted(versions.changed):
            seen = versions.record_of(number)
            yield from self._one("version", (number,), None if seen is None else _version(seen))
        panes = dict(versions.hour)
        for tick_s in sorted(versions.fresh):
            yield from self._one("sightings", (tick_s,), _sightings(panes[tick_s]))
        for (tick,) in sorted(self._stored["sightings"]):
            if int(tick) not in panes:
                yield from self._one("sightings", (tick,), None)
        for service in sorted(rolled_back.changed):
            told = rolled_back.of.get(service)
            yield from self._one("rolled-back", service, None if told is None else _rolled_back(told))
        versions.changed.clear()
        versions.fresh.clear()
        rolled_back.changed.clear()

    def _numbers(self) -> set[tuple[str, ...]]:
        seen = self._ledger.versions.seen.values()
        return {(str(one.number),) for versions in seen for one in versions.values()}

    def _one(
        self, kind: str, place: tuple[object, ...], value: bytes | None
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """None: it is gone, which is told only of what is stored."""
        name = tuple(map(str, place))
        if value is not None:
            self._stored[kind].add(name)
        elif name in self._stored[kind]:
            self._stored[kind].discard(name)
        else:
            return
        yield key(kind, *name), value


def _version(seen: Seen) -> bytes:
    return encode(
        VersionRecord(seen.service, seen.version, seen.began_ms, seen.last_s, seen.served_s, seen.condemned_s)
    )


def _sightings(found: list[Sighting]) -> bytes:
    columns = np.array([(s.number, s.events, s.served_s) for s in found], np.int64).reshape(-1, 3).T
    return encode(SightingsRecord(*map(pack, columns)))


def _rolled_back(told: OfService) -> bytes:
    waiting = [
        (*name, told.waiting[name].version, told.waiting[name].counts_s)
        for name in sorted(told.waiting, key=by_time)
    ]
    return encode(RolledBackRecord(waiting, sorted(told.counted, key=by_time), told.forgotten_ms))


def restore_versions(ledger: Ledger, records: Mapping[bytes, bytes]) -> None:
    """Fill an empty ledger. Raises ValueError on records that cannot be read."""
    found: dict[str, list[tuple[list[str], bytes]]] = {kind: [] for kind in (*_KINDS, "service")}
    for name, value in records.items():
        kind, place = parse_key(name)
        if kind in found:
            found[kind].append((place, value))
    for (number,), value in found["version"]:
        one = decode(VersionRecord, value)
        when = one.began_ms, one.last_s, one.served_s
        ledger.versions.restore(
            Seen(int(number), one.service, one.version, *when, condemned_s=one.condemned_s)
        )
    ledger.versions.changed.clear()
    for (tick,), value in sorted(found["sightings"], key=lambda one: int(one[0][0])):
        ledger.versions.restore_pane(int(tick), _sightings_of(decode(SightingsRecord, value)))
    for (namespace, service), value in found["rolled-back"]:
        _restore_rolled_back(ledger, (namespace, service), decode(RolledBackRecord, value))
    for (namespace, service), value in sorted(found["service"]):
        for version, first_ms, last_end_s, _ in decode(ServiceRecord, value).versions:
            ledger.versions.take_over((namespace, service), version, first_ms, last_end_s)


def _sightings_of(record: SightingsRecord) -> list[Sighting]:
    columns = (unpack(record.numbers), unpack(record.events), unpack(record.served_s))
    return [Sighting(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]


def _restore_rolled_back(ledger: Ledger, service: tuple[str, str], record: RolledBackRecord) -> None:
    if not ledger.rolled_back.heeds(service):
        return
    told = ledger.rolled_back.of[service] = OfService(forgotten_ms=record.forgotten_ms)
    for deployment, percent, at_ms, version, counts_s in record.waiting:
        told.waiting[deployment, percent, at_ms] = TakenBack(deployment, version, counts_s)
    told.counted = dict.fromkeys(record.counted)
