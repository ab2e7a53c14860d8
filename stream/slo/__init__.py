"""Evaluators: burn rate, budget, alerts, freeze, rollback, percentiles."""
