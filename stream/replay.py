"""Offline runs: the same core, fed from files."""
