"""What is kept of a rollout between two owners of a partition."""

from __future__ import annotations

from enum import StrEnum

from msgspec.msgpack import Decoder

from stream.canary.announcements import Name, Packed
from stream.canary.sightings import Heard
from stream.canary.stage import Stage
from stream.wire.state import Record


class Phase(StrEnum):
    WAITING = "waiting"
    """There was no release yet."""
    RUNNING = "running"
    PASSED = "passed"
    """The stage is; the next one is waited for."""
    FAILED = "failed"
    PAUSED = "paused"
    """The stage is over, and nothing could be said for certain."""
    PROMOTED = "promoted"
    """All traffic is the new version's: it is compared with the past."""
    ROLLED_BACK = "rolled_back"
    FINISHED = "finished"


SUPERSEDED = "superseded"
"""Said of a stage that another stage or release ended before there was a verdict."""


class StageDone(Record, frozen=True):
    percent: float | None
    started_s: int
    seconds: int
    verdict: str


class Release(Record, frozen=True):
    """The deployment under way, or the last one."""

    deployment: str
    automatic: str | None
    """Why it began without a deploy event; None: with one."""
    began_ms: int
    last_at_ms: int
    """Time of its newest event."""
    version: str | None
    previous_version: str | None
    reason: str
    """In words, why it is in its phase, as far as that is no matter of its verdict."""
    by_track: bool = False
    """The version does not tell the arms apart."""
    alpha_spent: float = 0.0
    places: tuple[int, ...] = ()
    """Stages of the analysis that have had their share of α."""
    canary_s: int | None = None
    """The last tick at which its arm had requests."""
    baseline_s: int | None = None
    """So any track that it may be compared with."""
    previous_told: bool = False
    """Whether a deploy event named the previous version."""


class RolloutRecord(Record, frozen=True):
    phase: str
    release: Release | None
    stage: Stage | None
    is_judged: bool
    """The verdict on the stage is final."""
    serial: int
    history: list[StageDone]
    faults: list[str]
    ended: list[str]
    waiting: list[Packed]
    applied: list[Name]
    overflowed: bool
    heard: list[Heard]
    sighted: list[tuple[str, str]]


Decoder(RolloutRecord)  # so that no two threads meet it first at once: see wire/state.py
