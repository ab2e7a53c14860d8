"""Apache Kafka Streams, window store in memory, changelog on."""

from pathlib import Path

from benchmarks.peers.java import prepare
from benchmarks.peers.peer import Peer

_VARIABLES = {"PEER_THREADS": "2", "PEER_GUARANTEE": "at_least_once"}

PEER = Peer(
    "kafka-streams",
    "Kafka Streams",
    prepare(Path(__file__).parent, "StreamsJob", "kafka-streams", _VARIABLES),
    whole=True,
)
