"""What every test of the suite can use."""

from __future__ import annotations

from broker import broker, prefix

__all__ = ["broker", "prefix"]
