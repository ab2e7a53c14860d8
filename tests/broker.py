"""The one Kafka of the test suite."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from stream.kafka.local import existing_or_local

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """``HOST:PORT`` of a Kafka shared by all tests: give topics, groups and transactions unique prefixes."""
    with existing_or_local() as bootstrap:
        yield bootstrap


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test, or run, uses."""
    return f"t{os.getpid()}-{next(_numbers)}-"
