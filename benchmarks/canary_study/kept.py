"""Rows that were simulated already: a long study can be stopped and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.canary_study.rows import Row
from benchmarks.canary_study.running import Found


class Kept:
    """One JSON object a line: a row, its number of rollouts, and what was found. No path: nothing is kept.

    It is for one version of the code: start a new file when the methods have changed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[tuple[str, str, int], Found] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                found = Found(**{name: np.array(minutes) for name, minutes in said["found"].items()})
                self._found[said["group"], said["what"], said["rollouts"]] = found

    def of(self, row: Row, rollouts: int) -> Found | None:
        return self._found.get((row.group, row.what, rollouts))

    def add(self, row: Row, rollouts: int, found: Found) -> None:
        self._found[row.group, row.what, rollouts] = found
        if self._path is None:
            return
        minutes = {name: getattr(found, name).tolist() for name in found.__dataclass_fields__}
        said = {"group": row.group, "what": row.what, "rollouts": rollouts, "found": minutes}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
