"""What a change of the SLO files changed, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from stream.model.objective import Objective
from stream.model.ruleset import Ruleset
from stream.slo.catalog import counting_key
from stream.words import counted

MOST_NAMED = 5


def edits(old: Ruleset, new: Ruleset) -> str:
    """SLOs that were added, removed and changed, and those whose counts start anew; whether anything else
    changed."""
    before, now = _by_name(old.objectives), _by_name(new.objectives)
    changed = [name for name in now if name in before and now[name] != before[name]]
    anew = [name for name in changed if counting_key(now[name]) != counting_key(before[name])]
    parts = [
        _named(names, what)
        for what, names in (
            ("added", [name for name in now if name not in before]),
            ("removed", [name for name in before if name not in now]),
            ("changed", changed),
        )
        if names
    ]
    if anew:
        parts.append(f"the counts of {_list(anew)} start anew")
    for what, one, other in (
        ("canary analyses", old.analyses, new.analyses),
        ("shadow comparisons", old.comparisons, new.comparisons),
        ("service graphs", old.graphs, new.graphs),
    ):
        if one != other:
            parts.append(f"{what} changed")
    return "; ".join(parts) or "the order of the SLOs changed"


def _by_name(objectives: Sequence[Objective]) -> dict[str, Objective]:
    return {f"{one.namespace}/{one.name}": one for one in objectives}


def _named(names: list[str], what: str) -> str:
    return f"{counted(len(names), 'SLO')} {what} ({_list(names)})"


def _list(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
