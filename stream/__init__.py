"""Burngate: a streaming SLO processor that gates deploys."""
