"""A fresh name and topics for each test, on the shared local Kafka."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from kafka_cluster import Cluster

_numbers = itertools.count(1)
_LIMIT_S = 60.0


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    address = os.environ.get("BURNGATE_KAFKA") or request.getfixturevalue("broker")
    return Cluster(str(address).split(","), f"k{os.getpid()}-{next(_numbers)}")


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a test's coroutine, bounded in time."""

    def runner(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(work, _LIMIT_S))

    return runner
