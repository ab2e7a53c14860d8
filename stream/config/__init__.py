"""SLO files: the user's YAML in, objectives or a list of every problem out."""
