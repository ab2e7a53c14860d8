"""Quantile sketches."""
