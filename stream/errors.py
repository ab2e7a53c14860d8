"""Two families of errors.

Ours are bugs: they are raised by ``assert`` or by :class:`InvariantError` and crash the worker loudly.
Theirs are faults of input, configuration or surroundings: typed, reported without a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class InvariantError(AssertionError):
    """A rule that this program itself must keep was broken: a bug, never the user's fault."""


class UserError(Exception):
    """A fault that its reader can mend: shown as one line or a list, never as a traceback.

    ``exit_code`` is what the command line ends with: 1 configuration, 2 usage or unreadable input,
    3 no progress possible (a supervisor restarts the worker).
    """

    exit_code = 1


class UsageError(UserError):
    """A wrong argument, or an input that cannot be read."""

    exit_code = 2


class StalledError(UserError):
    """The worker cannot make progress, or another one took its place: restart it."""

    exit_code = 3


class FormatError(StalledError):
    """A newer Burngate wrote what is read, or one that is too old: this one must not go on from it."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in a file, with all that is needed to mend it. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}"
            if self.path
            else (f"{self.file}:{self.line}:{self.column}: {self.message}")
        )
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(UserError):
    """Every problem found in the SLO files, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
