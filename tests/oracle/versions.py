"""Section 4, versions: read off the list of all sightings and namings, anew at every tick."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .clock import DAY_MS, HOUR_MS, PANE_MS, pane_end

LONGEST_SILENCE_MS = 300_000
ENOUGH = 10
MOST_VERSIONS = 256


@dataclass(frozen=True)
class TakenBack:
    """A deploy event `rolled_back`."""

    service: tuple[str, str]
    version: str | None
    counts_at: int
    """The first tick after its `at`."""


def parse_deploys(lines: Iterable[bytes]) -> list[TakenBack]:
    """Of valid ones; of those equal in what names them, one whatever their order."""
    found: dict[tuple[object, ...], dict[str, object]] = {}
    for line in lines:
        event = json.loads(line)
        if event["state"] != "rolled_back":
            continue
        service = event.get("namespace", "default"), event["service"]
        name = (*service, event["deployment"], event.get("stage"), event["at"])
        known = found.setdefault(name, event)
        found[name] = min(known, event, key=lambda one: one.get("version") or "")
    return [
        TakenBack((name[0], name[1]), event.get("version"), pane_end(name[4]))  # type: ignore[arg-type]
        for name, event in found.items()
    ]


@dataclass
class Versions:
    """Of one service."""

    sightings: list[tuple[int, str]] = field(default_factory=list)
    """(tick, version), one for each event; without what is forgotten."""
    served: set[int] = field(default_factory=set)
    """Ticks at which any version was seen."""
    named: list[tuple[int, str]] = field(default_factory=list)
    """(tick, version) by rollbacks and deploy events."""

    def see(self, tick: int, version: str) -> None:
        self.sightings.append((tick, version))
        self.served.add(tick)

    def ticks_of(self, version: str, until: int) -> list[int]:
        return sorted({tick for tick, name in self.sightings if name == version and tick <= until})

    def runs_of(self, version: str, until: int) -> list[int]:
        """The ticks at which its runs begin."""
        begins: list[int] = []
        last: int | None = None
        for tick in self.ticks_of(version, until):
            if last is None or self._passed(last, tick) >= HOUR_MS:
                begins.append(tick)
            last = tick
        return begins

    def _passed(self, since: int, tick: int) -> int:
        """Time between two ticks, with at most 300 s for each stretch without any version."""
        passed, before = 0, since
        for one in sorted(self.served):
            if since < one <= tick:
                passed, before = passed + min(one - before, LONGEST_SILENCE_MS), one
        return passed

    def is_condemned(self, version: str, tick: int) -> bool:
        for when, name in self.named:
            if name != version or when >= tick or not self.ticks_of(version, when):
                continue
            anew = [begin for begin in self.runs_of(version, tick) if begin > when]
            kept = [seen for seen in self.ticks_of(version, tick) if seen >= when + DAY_MS]
            if not anew and not kept:
                return True
        return False

    def known(self, tick: int) -> set[str]:
        return {name for seen, name in self.sightings if seen <= tick}

    def serving(self, tick: int) -> tuple[str | None, str | None]:
        """`version` and `previous_version` of a rollback."""
        lately = Counter(name for seen, name in self.sightings if tick - HOUR_MS <= seen - PANE_MS < tick)
        candidates = {name for name, events in lately.items() if events >= ENOUGH} or set(lately)
        if not candidates:
            return None, None
        begin = {name: self.runs_of(name, tick)[-1] for name in self.known(tick)}
        _, version = max((begin[name], name) for name in candidates)
        others = [
            (self.ticks_of(name, tick)[-1], begin[name], name)
            for name in begin
            if begin[name] < begin[version] and not self.is_condemned(name, tick)
        ]
        return version, max(others)[2] if others else None

    def forget(self, tick: int) -> None:
        """At a tick's end: of more than 256 the longest unseen goes, as if it had never been seen."""
        known = [
            (self.ticks_of(name, tick)[-1], self.runs_of(name, tick)[-1], name) for name in self.known(tick)
        ]
        for _, _, gone in sorted(known)[: max(0, len(known) - MOST_VERSIONS)]:
            self.sightings = [(seen, name) for seen, name in self.sightings if name != gone or seen > tick]
