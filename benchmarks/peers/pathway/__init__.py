"""Pathway, with the state of its operators persisted; it writes a retraction for what it revises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Emission, Peer, pane
from benchmarks.peers.python import prepare


def _read(record: Mapping[str, Any]) -> Emission | None:
    """An addition is the newest statement; a retraction takes the one before it back."""
    return pane(record) if record["diff"] > 0 else None


PEER = Peer("pathway", "Pathway", prepare(Path(__file__).parent), _read, whole=True)
