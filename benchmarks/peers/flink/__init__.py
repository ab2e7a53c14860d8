"""Apache Flink, state in memory, checkpoints on."""

from pathlib import Path

from benchmarks.peers.java import prepare
from benchmarks.peers.peer import Peer

PEER = Peer(
    "flink",
    "Apache Flink",
    prepare(Path(__file__).parent, "FlinkJob", "flink-streaming-java", {"PEER_THREADS": "2"}),
)
