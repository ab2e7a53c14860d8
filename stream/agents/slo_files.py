"""The SLO files of a worker: loaded at the start, and looked at from time to time.

Files are changed while they are read: an editor writes a second half, a ConfigMap's link moves to another
directory, of which the old one vanishes. So a load counts when the files were the same before and after it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stream.agents.aside import in_own_thread
from stream.config import Fingerprint, MissingPathsError, UnreadableFilesError, fingerprint, load_rules
from stream.errors import UserError
from stream.model.ruleset import Ruleset

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often files that change meanwhile are read at one look."""
MOST_LOOKS = 12
"""Files that could not be read are tried again at the next look, then after two, four …, at last so many."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of loading the files."""

    seen: Fingerprint
    """The files as they were before."""
    rules: Ruleset | None
    error: UserError | None = None
    is_steady: bool = True
    """Whether they were the same behind it, or said the same twice."""

    @property
    def may_pass(self) -> bool:
        """Whether the same files may be loaded well, or otherwise, the next time."""
        return not self.is_steady or isinstance(self.error, UnreadableFilesError | MissingPathsError)


def attempt(paths: Sequence[Path]) -> Attempt:
    """Load the files; blocks for as long as that takes."""
    rules: Ruleset | None = None
    for _ in range(ATTEMPTS):
        before, last, error = fingerprint(paths), rules, None
        try:
            rules = load_rules(paths)
        except UserError as fault:
            rules, error = None, fault
        if fingerprint(paths) == before or (rules is not None and rules == last):
            return Attempt(before, rules, error)
    return Attempt(before, rules, error, is_steady=False)


class SloFiles:
    """The files below some paths, and what they said last."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._seen: Fingerprint | None = None
        self._said = ""
        """The last complaint about them."""
        self._wait = 1
        self._looks_left = -1
        """Looks until they are loaded again although they did not change; below 0: they are not."""

    def load(self) -> Ruleset:
        """At the start. Raises the UserError that tells what is wrong with them."""
        found = attempt(self.paths)
        if found.error is not None:
            raise found.error
        assert found.rules is not None
        self._remember(found)
        return found.rules

    async def look(self) -> Ruleset | UserError | None:
        """What the files say, or that they say nothing, when they have changed since the last look."""
        now = await in_own_thread(partial(fingerprint, self.paths), "slo-files")
        is_changed = now != self._seen
        self._looks_left = max(self._looks_left - 1, -1)
        if not is_changed and self._looks_left != 0:
            return None
        if is_changed:
            self._wait = 1
        found = await in_own_thread(partial(attempt, self.paths), "slo-files")
        self._remember(found)
        return self._told(found, is_changed)

    def _remember(self, found: Attempt) -> None:
        self._seen = found.seen
        self._looks_left = self._wait if found.may_pass else -1
        self._wait = min(2 * self._wait, MOST_LOOKS)

    def _told(self, found: Attempt, is_changed: bool) -> Ruleset | UserError | None:
        """Complaints are logged once, and again when the files change."""
        if found.error is None and found.is_steady:
            self._said = ""
            return found.rules
        error = found.error if found.is_steady else None
        if error is None:
            error = UserError("they change while they are read")
            kind = "not read"
        elif found.may_pass:
            kind = "unreadable"
        else:
            kind = "invalid"
        if is_changed or str(error) != self._said:
            log.error("the changed SLO files are %s, the old ones stay in use:\n%s", kind, error)
        self._said = str(error)
        return error
