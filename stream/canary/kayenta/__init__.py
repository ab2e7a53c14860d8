"""Kayenta's judge, as published, for those who come from it: points of a time series, not requests."""
