"""Deploy events of one service that wait for their time, and which of them were applied.

In whatever order and however often they are told: what was told before a tick is applied there, by its time.
"""

from __future__ import annotations

from decimal import Decimal

from stream.model.deploy import DeployEvent, DeployState

MAX_WAITING = 1024
"""Beyond it the latest ones are dropped."""
MAX_APPLIED = 256

Name = tuple[str, str, str | None, int]
"""(deployment, state, share in percent, at): one that is equal in these is a repeat."""
Packed = tuple[str, int, str, str | None, str | None, str | None]
"""(deployment, at, state, share, version, previous version)."""

_RANK = {state: rank for rank, state in enumerate(DeployState)}


class Announcements:
    def __init__(self) -> None:
        self.overflowed = False
        """Whether one was dropped since this was last asked (:meth:`due`)."""
        self._waiting: dict[Name, DeployEvent] = {}
        self._applied: dict[Name, None] = {}

    def add(self, event: DeployEvent) -> bool:
        """False: a repeat. Of two that differ in nothing that names them, the same one is kept always."""
        name = _name(event)
        if name in self._applied:
            return False
        known = self._waiting.get(name)
        if known is None or _order(event) < _order(known):
            self._waiting[name] = event
        if len(self._waiting) > MAX_WAITING:
            latest = max(self._waiting, key=lambda n: _order(self._waiting[n]))
            del self._waiting[latest]
            self.overflowed = True
        return known is None

    def due(self, tick_s: int) -> list[DeployEvent]:
        """Those whose time has come, in its order; they count as applied."""
        ready = [event for event in self._waiting.values() if event.at_ms <= tick_s * 1000]
        ready.sort(key=_order)
        for event in ready:
            name = _name(event)
            del self._waiting[name]
            self._applied[name] = None
        while len(self._applied) > MAX_APPLIED:
            del self._applied[next(iter(self._applied))]
        self.overflowed = False
        return ready

    # state

    def packed(self) -> tuple[list[Packed], list[Name], bool]:
        waiting = [_packed(event) for event in sorted(self._waiting.values(), key=_order)]
        return waiting, list(self._applied), self.overflowed

    @classmethod
    def of(
        cls, service: tuple[str, str], waiting: list[Packed], applied: list[Name], overflowed: bool
    ) -> Announcements:
        """Raises ValueError on a state that deploy events have not."""
        found = cls()
        for one in waiting:
            event = _unpacked(service, *one)
            found._waiting[_name(event)] = event
        found._applied = dict.fromkeys(applied)
        found.overflowed = overflowed
        return found


def _name(event: DeployEvent) -> Name:
    return event.deployment, event.state.value, _text(event.stage_pct), event.at_ms


def _order(event: DeployEvent) -> tuple[int, int, Decimal, str, str, str]:
    """By time; of one time, as a rollout goes."""
    versions = event.version or "", event.previous_version or ""
    return event.at_ms, _RANK[event.state], event.stage_pct or Decimal(0), event.deployment, *versions


def _text(percent: Decimal | None) -> str | None:
    return None if percent is None else f"{percent.normalize():f}"


def _packed(event: DeployEvent) -> Packed:
    """What of an event is needed when its time has come."""
    state, percent = event.state.value, _text(event.stage_pct)
    return event.deployment, event.at_ms, state, percent, event.version, event.previous_version


def _unpacked(
    service: tuple[str, str],
    deployment: str,
    at_ms: int,
    state: str,
    percent: str | None,
    version: str | None,
    previous: str | None,
) -> DeployEvent:
    share = None if percent is None else Decimal(percent)
    return DeployEvent(deployment, *service, DeployState(state), at_ms, version, previous, share)
