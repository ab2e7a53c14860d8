"""A step is timed by pytest-benchmark, then held to its limit: a multiple of a reference of the same run."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pytest

from benchmarks.traffic import Traffic

EVENTS = 10_000
ROUNDS = 15
_LIMITS = tomllib.loads(Path(__file__).with_name("limits.toml").read_text())

VALUES = [event for event, _ in zip(Traffic(minutes=1).events(), range(EVENTS), strict=False)]
_NUMBERS = np.random.default_rng(1).integers(1 << 40, size=EVENTS)


def _parse() -> None:
    """What any program that reads the events does at least."""
    for value in VALUES:
        orjson.loads(value)


def _sort() -> None:
    """One stable sort of a number for each event."""
    np.argsort(_NUMBERS, kind="stable")


_REFERENCES = {"parse": _parse, "sort": _sort}


class Step(Protocol):
    def __call__(
        self, name: str, work: Callable[..., Any], setup: Callable[[], Any] | None = None
    ) -> None: ...


@pytest.fixture
def step(benchmark: Any) -> Step:
    """Time one step and hold it to its limit. ``setup`` returns pytest-benchmark's (args, kwargs)."""

    def run(name: str, work: Callable[..., Any], setup: Callable[[], Any] | None = None) -> None:
        before_s = _best_s(_REFERENCES[_LIMITS[name]["reference"]])
        benchmark.pedantic(work, setup=setup, rounds=ROUNDS, warmup_rounds=2)
        after_s = _best_s(_REFERENCES[_LIMITS[name]["reference"]])
        ratio, limit = benchmark.stats.stats.min / min(before_s, after_s), _LIMITS[name]["ratio"]
        benchmark.extra_info["ratio"], benchmark.extra_info["limit"] = round(ratio, 2), limit
        print(f"{name}: {ratio:.2f} × {_LIMITS[name]['reference']}, limit {limit:.2f}")
        assert ratio <= limit, f"{name} takes {ratio:.2f} times its reference, the limit is {limit:.2f}"

    return run


def _best_s(work: Callable[[], None]) -> float:
    """The shortest of several rounds: what the machine's other work disturbs least."""
    taken = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began_s)
    return min(taken)
