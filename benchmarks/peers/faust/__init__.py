"""Plain Faust, as its tutorial counts: a table in memory with its changelog."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.peer import Job, Peer, Prepared, Report


def _prepare(report: Report) -> Prepared:
    job = Job((sys.executable, str(Path(__file__).with_name("job.py")), "worker"))
    return Prepared(version("faust-streaming"), lambda run: job)


PEER = Peer("faust", "plain Faust", _prepare, share=0.02, whole=True, events_per_s=2_000)
