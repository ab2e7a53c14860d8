"""Every kind of fault strikes once while a stream goes on; all that is published is what replay makes of it.

``make faults`` is the long version.
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import pytest
from fault_kinds import kinds
from fault_run import FaultRun
from recorded_stream import recorded

from stream.kafka.local import LocalBroker

EVENTS, RATE, GAPS = 75_000, 1_500.0, 10
SEED = 4
SHORT_STOP_S = 5.0


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_no_fault_loses_an_event_or_counts_one_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")  # it tells of every attempt to reach a Kafka that is gone
    stream = recorded(SEED, EVENTS, RATE, GAPS)
    faults = kinds(SHORT_STOP_S)
    random.Random(SEED).shuffle(faults)
    with LocalBroker() as broker:
        run = FaultRun(broker, "once", stream, RATE, faults, SEED, tmp_path, print, at_once=3)
        outcome = asyncio.run(run.run())
    assert not outcome.differences
    assert {name: toll.times for name, toll in outcome.tolls.items()} == {f.name: 1 for f in faults}
    assert all(toll.lost == 0 and toll.doubled == 0 for toll in outcome.tolls.values())
