"""Bytes to frames, partials, signals and state, and back."""
