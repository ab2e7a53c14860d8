"""The version before, which the recorded state is of: its code, and a worker of it.

python older_version.py DIRECTORY worker [ARGUMENT OF burngate worker …]
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

COMMIT = "d1f09fe994c9d94849cb0a1a906485a821f630c6"
ROOT = Path(__file__).parents[2]


def unpacked(directory: Path) -> Path | None:
    """Where its code is now; None without the history that it is in."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "archive", COMMIT, "stream"], capture_output=True, check=False
    )
    if found.returncode:
        return None
    with tarfile.open(fileobj=BytesIO(found.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


if __name__ == "__main__":
    sys.path.insert(0, sys.argv.pop(1))
    from stream.cli import main

    main()
