"""Partitions are restored in threads, at the same time."""

from __future__ import annotations

import subprocess
import sys

FIRST_MEETING = """
import sys, threading
from stream.wire.state import ShardRecord, SourceRecord, decode, encode

sys.setswitchinterval(1e-6)
source = SourceRecord(0, (1, 2, 3), 0, [], 0, None)
data = encode(ShardRecord(2, 0, None, None, None, [], [], [source], None))
together = threading.Barrier(4)

def restore():
    together.wait()
    for _ in range(5):
        decode(ShardRecord, data)

threads = [threading.Thread(target=restore) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_read_the_first_state_records_at_once_do_not_crash() -> None:
    for _ in range(9):  # processes: a type is met for the first time once in each
        subprocess.run([sys.executable, "-c", FIRST_MEETING], check=True, timeout=30)
