"""Deploy events that say that a version was taken back: which of them wait for their tick, and which counted.

One counts at the first tick after its ``at``; what comes later, at the next one. A repeat changes nothing,
however late it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from stream.model.deploy import DeployEvent, DeployState
from stream.model.objective import PANE_S
from stream.slo.versions import Service
from stream.window.panes import PANE_MS

MAX_WAITING = 256
"""Of a service; beyond it the latest is dropped."""
MAX_COUNTED = 256
"""Of a service, known as repeats by name; one that is not newer than those forgotten is a repeat, too."""

Name = tuple[str, str | None, int]
"""(deployment, share in percent, at): one that is equal in these is a repeat."""


def by_time(name: Name) -> tuple[int, str, str]:
    deployment, percent, at_ms = name
    return at_ms, deployment, percent or ""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a deploy event says."""

    deployment: str
    version: str | None
    """None: that of the deployment."""
    counts_s: int
    """Tick at which it counts."""


@dataclass(slots=True)
class OfService:
    waiting: dict[Name, TakenBack] = field(default_factory=dict)
    counted: dict[Name, None] = field(default_factory=dict)
    forgotten_ms: int = -1
    """The newest ``at`` of those that counted and are not known by name any more."""

    def add(self, name: Name, event: TakenBack) -> bool:
        if name in self.counted or name[2] <= self.forgotten_ms:
            return False
        known = self.waiting.get(name)
        if known is None:
            self.waiting[name] = event
        elif (event.version or "") < (known.version or ""):
            self.waiting[name] = TakenBack(event.deployment, event.version, known.counts_s)
        else:
            return False
        if len(self.waiting) > MAX_WAITING:
            del self.waiting[max(self.waiting, key=self._order)]
        return True

    def _order(self, name: Name) -> tuple[int, int, str, str]:
        return self.waiting[name].counts_s, *by_time(name)

    def due(self, tick_s: int) -> list[TakenBack]:
        """Those that count by this tick, in order; they have counted."""
        ready = sorted((n for n, event in self.waiting.items() if event.counts_s <= tick_s), key=self._order)
        events = [self.waiting.pop(name) for name in ready]
        self.counted.update(dict.fromkeys(ready))
        if len(self.counted) > MAX_COUNTED:
            for name in sorted(self.counted, key=by_time)[:-MAX_COUNTED]:
                self.forgotten_ms = max(self.forgotten_ms, name[2])
                del self.counted[name]
        return events


class RolledBack:
    """The services of a shard that heed them."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.of: dict[Service, OfService] = {}
        """Those that were told of one."""
        self.changed: set[Service] = set()
        """Whose record is not what the last checkpoint holds."""
        self._heeding = frozenset(services)

    def heeds(self, service: Service) -> bool:
        return service in self._heeding

    def add(self, event: DeployEvent, decided_s: int | None) -> bool:
        """``decided_s`` is the last tick that was decided without it. False: a repeat, or of no concern."""
        service = event.namespace, event.service
        if event.state is not DeployState.ROLLED_BACK or not self.heeds(service):
            return False
        counts_s = (event.at_ms // PANE_MS + 1) * PANE_S
        if decided_s is not None:
            counts_s = max(counts_s, decided_s + PANE_S)
        name = event.deployment, _percent(event.stage_pct), event.at_ms
        told = TakenBack(event.deployment, event.version, counts_s)
        if not self.of.setdefault(service, OfService()).add(name, told):
            return False
        self.changed.add(service)
        return True

    def due(self, tick_s: int) -> Iterator[tuple[Service, TakenBack]]:
        """Those that count by this tick."""
        for service, told in self.of.items():
            if told.waiting and (events := told.due(tick_s)):
                self.changed.add(service)
                for event in events:
                    yield service, event


def _percent(stage_pct: Decimal | None) -> str | None:
    return None if stage_pct is None else f"{stage_pct.normalize():f}"
