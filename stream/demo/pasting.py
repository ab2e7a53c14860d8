"""Commands as the reader can paste them: for this directory, and for the way that the demo was called."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from stream.load import SHOP_SLOS

_EXAMPLES = Path(__file__).parents[2] / "deploy" / "slos"
"""SLO files to begin with; a checkout has them, an installed package has not."""


def command() -> str:
    """``burngate`` if the shell finds it under this name, else a path to it or the module's call."""
    called = Path(sys.argv[0])
    if called.suffix == ".py":
        return f"{_shown(Path(sys.executable))} -m {__name__.partition('.')[0]}"
    found = shutil.which(called.name)
    if found is not None and called.exists() and os.path.samefile(found, called):
        return called.name
    return _shown(called)


def slos() -> str:
    """SLO files that are there: the checkout's examples, or the shop's."""
    return _shown(_EXAMPLES if _EXAMPLES.is_dir() else SHOP_SLOS)


def _shown(path: Path) -> str:
    """From here if it is below this directory; links are not followed, as a Python's place is its own."""
    whole = Path(os.path.abspath(path))
    here = Path.cwd()
    return shlex.quote(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))
