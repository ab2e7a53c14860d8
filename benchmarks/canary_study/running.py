"""One row: its rollouts, minute by minute, under every method."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_study.compared import fixed_looks
from benchmarks.canary_study.judging import Sequential
from benchmarks.canary_study.rollouts import MINUTES, PANES_A_MINUTE, Counts, panes
from benchmarks.canary_study.rows import Row

NEVER = MINUTES + 1
AT_ONCE = 500
"""Rollouts that are simulated in one go: more of them take more memory than they save time."""


@dataclass(frozen=True)
class Found:
    """By rollout the minute in which each method first failed it, or NEVER."""

    sequential: NDArray[np.int64]
    fixed: NDArray[np.int64]
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


def run(row: Row, rollouts: int) -> Found:
    parts = [_some(row, min(AT_ONCE, rollouts - start), start) for start in range(0, rollouts, AT_ONCE)]
    names = ("sequential", "fixed", "at_the_end", "passed")
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _some(row: Row, rollouts: int, start: int) -> Found:
    rng = np.random.default_rng([zlib.crc32(f"{row.group}/{row.what}".encode()), start])
    judge = Sequential(row.world, rollouts, row.margins)
    first = {name: np.full(rollouts, NEVER) for name in ("sequential", "fixed", "at_the_end", "passed")}
    so_far: tuple[Counts, Counts] | None = None
    minute: tuple[Counts, Counts] | None = None
    for i, pane in enumerate(panes(row.world, rollouts, rng), 1):
        judge.pane(*pane)
        minute = pane if minute is None else (_plus(minute[0], pane[0]), _plus(minute[1], pane[1]))
        if i % PANES_A_MINUTE:
            continue
        now = i // PANES_A_MINUTE
        so_far = minute if so_far is None else (_plus(so_far[0], minute[0]), _plus(so_far[1], minute[1]))
        failed, passed = judge.look(*minute, *so_far)
        fixed = fixed_looks(*so_far)
        said = {"sequential": failed, "fixed": fixed, "passed": passed}
        if now == MINUTES:
            said["at_the_end"] = fixed
        for name, flags in said.items():
            first[name] = np.where(flags, np.minimum(first[name], now), first[name])
        minute = None
    return Found(**first)


def _plus(one: Counts, other: Counts) -> Counts:
    return Counts(one.requests + other.requests, one.errors + other.errors, one.latencies + other.latencies)
