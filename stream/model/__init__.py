"""The domain's frozen records."""
