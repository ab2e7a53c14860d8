"""Burngate as it is: its ordinary worker with one objective a service. What it counted is in its budgets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from benchmarks.peers import traffic
from benchmarks.peers.peer import Emission, Job, Peer, Prepared, Report, Run
from stream.wire.rfc3339 import parse_ms


def _prepare(report: Report) -> Prepared:
    def job(run: Run) -> Job:
        slos = traffic.write_slos(run.state / "slos")
        command = [sys.executable, "-m", "stream", "worker", "--brokers", run.broker, "--slos", str(slos)]
        command += ["--app", run.app, "--topic-prefix", run.prefix, "--partitions", str(traffic.PARTITIONS)]
        command += ["--metrics-port", "0"]
        return Job(tuple(command))

    return Prepared(version("burngate"), job)


def _read(record: Mapping[str, Any]) -> Emission:
    # Weighted sums, but every event here has weight one.
    total, bad = int(record["total"]), int(record["bad"])
    return Emission(record["service"], parse_ms(record["evaluated_at"]), total, bad)


PEER = Peer(
    "burngate", "Burngate", _prepare, _read, output="slo-budgets", creates_output=True, cumulative=True
)
