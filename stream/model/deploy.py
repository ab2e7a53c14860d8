"""What others tell of releases and changes: deploy events and change events (schemas/, docs/canary.md)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class DeployState(StrEnum):
    STARTED = "started"
    STAGE = "stage"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class DeployEvent:
    """One step of a release of one service. ``deployment`` with ``state``, ``stage_pct`` and ``at_ms`` names
    it: a second one that is equal in these is a repeat."""

    deployment: str
    namespace: str
    service: str
    state: DeployState
    at_ms: int
    version: str | None = None
    previous_version: str | None = None
    stage_pct: Decimal | None = None
    """Share of the traffic that the new version gets from now on."""
    by: str | None = None
    change_kind: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A change that is planned or made: to a service, or to a resource that services share."""

    change: str
    """Its id."""
    namespace: str
    service: str | None
    resource: str | None
    """One of both is given."""
    kind: str
    """Such as ``deploy``, ``config``, ``schema``, ``scaling``: similar changes are those of the same kind."""
    at_ms: int
    version: str | None = None
    by: str | None = None
    links: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str | None, str | None, str]:
        """A second event of it replaces the first. The changes of several services may have one id."""
        return self.namespace, self.service, self.resource, self.change
