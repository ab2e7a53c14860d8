"""Environment and options to typed settings."""
