"""What every test of the suite can use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from broker import broker, prefix
from hypothesis import settings

__all__ = ["broker", "prefix"]

settings.register_profile("unhurried", deadline=None)  # each test has a limit anyway
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where the programs of the interop tests have to be there, a skipped interop test is a failed one."""
    report = yield
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and os.environ.get("BURNGATE_REQUIRE_INTEROP") == "1"
        and item.get_closest_marker("interop")
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"BURNGATE_REQUIRE_INTEROP=1, but: {reason}"
    return report
