"""SLO files: the user's YAML in, objectives or a list of every problem out."""

from stream.config.files import Fingerprint, fingerprint
from stream.config.load import (
    Located,
    MissingPathsError,
    Report,
    UnreadableFilesError,
    check_paths,
    load_objectives,
    load_rules,
)
from stream.config.render import render_json, render_missing, render_text, summary_line

__all__ = [
    "Fingerprint",
    "Located",
    "MissingPathsError",
    "Report",
    "UnreadableFilesError",
    "check_paths",
    "fingerprint",
    "load_objectives",
    "load_rules",
    "render_json",
    "render_missing",
    "render_text",
    "summary_line",
]
