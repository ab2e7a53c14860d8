"""Bytewax, with a combiner by hand before its windows and its recovery store on."""

from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.peers.python import prepare

PEER = Peer("bytewax", "Bytewax", prepare(Path(__file__).parent))
