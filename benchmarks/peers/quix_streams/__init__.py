"""Quix Streams, a tumbling window with its changelog on."""

from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.peers.python import prepare

PEER = Peer("quix-streams", "Quix Streams", prepare(Path(__file__).parent), share=0.1, whole=True)
