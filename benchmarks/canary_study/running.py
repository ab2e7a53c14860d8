"""One row: its rollouts, minute by minute, under every method."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.compared import fixed_looks
from benchmarks.canary_study.judging import Sequential
from benchmarks.canary_study.kayenta import Kayenta
from benchmarks.canary_study.rollouts import MINUTES, PANES_A_MINUTE, Counts, panes
from benchmarks.canary_study.rows import Row

NEVER = MINUTES + 1
AT_ONCE = 250
"""Rollouts of one endpoint that are simulated in one go: more of them take longer, as they fit no cache."""
LEAST_AT_ONCE = 50


@dataclass(frozen=True)
class Found:
    """By rollout the minute in which each method first failed it, or NEVER."""

    sequential: NDArray[np.int64]
    fixed: NDArray[np.int64]
    kayenta: NDArray[np.int64]
    at_the_end: NDArray[np.int64]
    passed: NDArray[np.int64]
    """The minute in which the sequential method first passed it."""

    @staticmethod
    def share(minutes: NDArray[np.int64]) -> float:
        return float(np.mean(minutes < NEVER))

    @staticmethod
    def median(minutes: NDArray[np.int64]) -> float | None:
        """Minutes to the verdict, where there was one."""
        there = minutes[minutes < NEVER]
        return float(np.median(there)) if len(there) else None


NAMES = tuple(field.name for field in fields(Found))


def run(row: Row, rollouts: int) -> Found:
    at_once = max(AT_ONCE // row.world.endpoints, LEAST_AT_ONCE)
    parts = [_some(row, min(at_once, rollouts - start), start) for start in range(0, rollouts, at_once)]
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in NAMES))


def _some(row: Row, rollouts: int, start: int) -> Found:
    rng = np.random.default_rng([zlib.crc32(f"{row.group}/{row.what}".encode()), start])
    judge = Sequential(row.world, rollouts, row.margins)
    kayenta = Kayenta(rollouts)
    first = {name: np.full(rollouts, NEVER) for name in NAMES}
    so_far, minute = ([Counts.none(rollouts, row.world.endpoints) for _ in range(2)] for _ in range(2))
    for i, pane in enumerate(panes(row.world, rollouts, rng), 1):
        judge.pane(*pane)
        for arm, more in zip(minute, pane, strict=True):
            arm.add(more)
        if i % PANES_A_MINUTE:
            continue
        now = i // PANES_A_MINUTE
        for arm, more in zip(so_far, minute, strict=True):
            arm.add(more)
        failed, passed = judge.look(*so_far)
        fixed = fixed_looks(*so_far)
        said = {"sequential": failed, "fixed": fixed, "kayenta": kayenta.look(*minute), "passed": passed}
        if now == MINUTES:
            said["at_the_end"] = fixed
        # A verdict ends the stage: what fails later has passed, and the other way round.
        said["passed"] = passed & (first["sequential"] == NEVER) & ~failed
        said["sequential"] = failed & (first["passed"] == NEVER)
        for name, flags in said.items():
            first[name] = np.where(flags, np.minimum(first[name], now), first[name])
        for arm in minute:
            arm.clear()
    return Found(**first)
