"""What the runner knows of a peer: how to get it, how to start its job, and how to read what the job says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.load import MINUTES_S, Load

Report = Callable[[str], object]


class UnavailableError(Exception):
    """The peer cannot be had on this machine; the text says why. Its row says so, the others go on."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One statement of a job: up to ``end_ms`` of event time it has counted so many events of ``scope``."""

    scope: str
    end_ms: int
    count: int
    errors: int


@dataclass(frozen=True, slots=True)
class Job:
    """How to start a peer's job: the same command again after a crash goes on from its durable state."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """Where one run of a job reads, writes and keeps its state."""

    broker: str
    app: str
    prefix: str
    """Of its input topic ``<prefix>request-events`` and of its outputs."""
    state: Path

    @property
    def input(self) -> str:
        return f"{self.prefix}request-events"

    def variables(self) -> dict[str, str]:
        """What the jobs find in their environment."""
        return {
            "PEER_BROKER": self.broker,
            "PEER_APP": self.app,
            "PEER_INPUT": self.input,
            "PEER_OUTPUT": f"{self.prefix}panes",
            "PEER_STATE": str(self.state),
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A peer that can be run: fetched, built, its job at hand."""

    version: str
    job: Callable[[Run], Job]


def pane(record: Mapping[str, Any]) -> Emission | None:
    """An output record of the job as every peer but Burngate writes it."""
    series = "|".join(record[name] for name in ("service", "endpoint", "version", "track"))
    return Emission(series, record["pane_ms"] + 10_000, record["count"], record["errors"])


@dataclass(frozen=True, slots=True)
class Peer:
    """A stream processor and its job. ``prepare`` fetches and builds what is missing, once."""

    name: str
    title: str
    prepare: Callable[[Report], Prepared]
    read: Callable[[Mapping[str, Any]], Emission | None] = pane
    output: str = "panes"
    creates_output: bool = False
    cumulative: bool = False
    """It states totals since the beginning, at whole minutes, by service; the others a pane's, by series."""
    share: float = 1.0
    """Of the events: what is slow gets fewer, so that a run ends."""
    whole: bool = False
    """Measure it from the process' start, less a run of a tenth of the events: it may do one stage for many
    events before the next, so that the times at which it speaks say little."""
    events_per_s: int = 20_000
    """Of event time."""

    def load(self, events: int, layout: str) -> Load:
        """The peer's share of so many events.

        Speed is measured on even ones, for which what speaks once a minute needs minutes.
        """
        count = round(events * self.share)
        by_minute = self.cumulative and layout == "even"
        per_s = min(self.events_per_s, count // MINUTES_S) if by_minute else self.events_per_s
        return Load(count, max(1, per_s), layout)
