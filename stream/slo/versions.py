"""Which versions of a service serve, since when, and which were taken back: what a rollback names (contract,
section 4).

Versions have numbers, which are never used again: so that what was counted of one that is forgotten by now is
nobody's. What changed since the last checkpoint is noted here and written by ``version_records.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stream.window.panes import DAY_S, HOUR_S

Service = tuple[str, str]
"""(namespace, service)."""

RUN_GAP_S = HOUR_S
"""So long unseen, a version that comes back begins a new run."""
LONGEST_SILENCE_S = 300
"""A longer one of the whole service counts as this: a night without requests keeps the order."""
ENOUGH_EVENTS = 10
"""A version with fewer in the last hour is no candidate while another one has so many."""
KEPT_S = DAY_S
"""A version that is seen so long after it was taken back is there to stay."""
MAX_VERSIONS = 256
"""Kept of a service; beyond it the longest unseen is forgotten."""


@dataclass(slots=True)
class Seen:
    number: int
    service: Service
    version: str
    began_ms: int
    """Tick at which its run began."""
    last_s: int
    """Tick at which it was seen last."""
    served_s: int
    """The service's own time then: it passes as other time does, but for long silences."""
    events: int = 0
    """In the panes of the last hour."""
    condemned_s: int | None = None
    """Tick at which it was named as one to take back; None: not, or it is over."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Of one version in one pane."""

    number: int
    events: int
    served_s: int


class Versions:
    """The versions of a shard's services."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.seen: dict[Service, dict[str, Seen]] = {service: {} for service in services}
        self.hour: deque[tuple[int, list[Sighting]]] = deque()
        """(tick, what was seen there) of the last hour, in order."""
        self.changed: set[int] = set()
        """Numbers of versions whose record is not what the last checkpoint holds."""
        self.fresh: set[int] = set()
        """Ticks whose sightings no checkpoint holds yet."""
        self._by_number: dict[int, Seen] = {}
        self._newest: dict[Service, tuple[int, int]] = {}
        """(tick, the service's own time) at which any version of a service was seen last."""
        self._sighted: tuple[Service, ...] = ()
        """Services of which a version was seen at this tick."""
        self._next = 0

    # a tick: move_to, then decisions, then condemn, then settle

    def move_to(self, tick_s: int, counts: Mapping[Service, Mapping[str, int]]) -> None:
        """What was seen in the pane that ends at the tick: events by service and version."""
        self._leave(tick_s - HOUR_S)
        self._sighted = tuple(counts)
        sightings = [s for service, versions in counts.items() for s in self._see(service, versions, tick_s)]
        if sightings:
            self.hour.append((tick_s, sightings))
            self.fresh.add(tick_s)

    def _leave(self, until_s: int) -> None:
        """Panes that end by then are no part of the last hour any more."""
        while self.hour and self.hour[0][0] <= until_s:
            tick_s, sightings = self.hour.popleft()
            self.fresh.discard(tick_s)
            for sighting in sightings:
                known = self._by_number.get(sighting.number)
                if known is not None:
                    known.events -= sighting.events
                    if known.last_s == tick_s:
                        self.changed.add(known.number)  # nothing else tells of its last sighting now

    def _see(self, service: Service, versions: Mapping[str, int], tick_s: int) -> Iterator[Sighting]:
        before_s, served_s = self._newest.get(service, (tick_s, 0))
        served_s += min(tick_s - before_s, LONGEST_SILENCE_S)
        self._newest[service] = tick_s, served_s
        for version, events in versions.items():
            known = self.seen[service].get(version)
            if known is None:
                known = self._add(Seen(self._next, service, version, tick_s * 1000, tick_s, served_s))
            elif served_s - known.served_s >= RUN_GAP_S:
                known.began_ms, known.condemned_s = tick_s * 1000, None
                self.changed.add(known.number)
            elif known.condemned_s is not None and tick_s - known.condemned_s >= KEPT_S:
                known.condemned_s = None
                self.changed.add(known.number)
            known.last_s, known.served_s = tick_s, served_s
            known.events += events
            yield Sighting(known.number, events, served_s)

    def _add(self, seen: Seen) -> Seen:
        self._next = max(self._next, seen.number + 1)
        self.seen[seen.service][seen.version] = self._by_number[seen.number] = seen
        self.changed.add(seen.number)
        return seen

    def condemn(self, service: Service, version: str, tick_s: int) -> None:
        """It was named at a tick whose decisions have been made. Nothing is noted of one that is not known:
        when it is seen, that begins a run, which would end its condemnation."""
        known = self.seen[service].get(version)
        if known is not None:
            known.condemned_s = tick_s
            self.changed.add(known.number)

    def settle(self) -> None:
        """At a tick's end: forget what is too much, and that it was seen here."""
        forgotten = False
        for service in self._sighted:
            seen = self.seen[service]
            if len(seen) > MAX_VERSIONS:
                forgotten = True
                order = sorted(seen.values(), key=lambda v: (v.last_s, v.began_ms, v.version))
                for gone in order[:-MAX_VERSIONS]:
                    del seen[gone.version], self._by_number[gone.number]
                    self.changed.add(gone.number)
        if forgotten:
            tick_s, sightings = self.hour.pop()
            self.hour.append((tick_s, [s for s in sightings if s.number in self._by_number]))

    # what a rollback names

    def serving(self, service: Service) -> tuple[str | None, str | None]:
        """The version to take back, and the one to go back to; None where there is none."""
        seen = self.seen[service].values()
        some = [v for v in seen if v.events]
        candidates = [v for v in some if v.events >= ENOUGH_EVENTS] or some
        if not candidates:
            return None, None
        newest = max(candidates, key=lambda v: (v.began_ms, v.version))
        others = [v for v in seen if v.began_ms < newest.began_ms and v.condemned_s is None]
        previous = max(others, key=lambda v: (v.last_s, v.began_ms, v.version), default=None)
        return newest.version, None if previous is None else previous.version

    def is_condemned(self, service: Service, version: str) -> bool:
        known = self.seen.get(service, {}).get(version)
        return known is not None and known.condemned_s is not None

    # state

    def record_of(self, number: int) -> Seen | None:
        """None: it is forgotten."""
        return self._by_number.get(number)

    def restore(self, seen: Seen) -> None:
        """A version as it was stored; before what was seen in the last hour."""
        if seen.service not in self.seen:
            return
        self._add(seen)
        self._newest[seen.service] = max(self._newest.get(seen.service, (0, 0)), (seen.last_s, seen.served_s))

    def take_over(self, service: Service, version: str, began_ms: int, last_s: int) -> None:
        """A version that state of format 3 knows. When others served is not known of it: as if always."""
        self.restore(Seen(self._next, service, version, began_ms, last_s, last_s))

    def restore_pane(self, tick_s: int, sightings: list[Sighting]) -> None:
        """What was seen at a tick of the last hour; panes in order, after all versions."""
        self.hour.append((tick_s, sightings))
        for sighting in sightings:
            self._next = max(self._next, sighting.number + 1)
            if (known := self._by_number.get(sighting.number)) is not None:
                known.last_s, known.served_s = tick_s, sighting.served_s
                known.events += sighting.events
                self._newest[known.service] = tick_s, sighting.served_s
