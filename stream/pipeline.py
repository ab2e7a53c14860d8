"""Ingest to decision, top to bottom."""
