"""What is valid in an SLO file, but most likely not what was meant: warnings of ``burngate validate``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from stream.config.section import Section, Value
from stream.config.values import shown_ms
from stream.model.objective import BurnRule, Calendar, Rolling
from stream.slo.catalog import NOMINAL_PERIOD_S

UNLIKELY_TARGET_PCT = 50
_OTHER_LANGUAGE = (
    (re.compile(r"^!"), "a leading ! does not exclude"),
    (re.compile(r"^\^|\$$"), "^ and $ are characters like others: a glob matches the whole endpoint anyway"),
    (re.compile(r"\.[*+]"), ".* is a dot and then anything: * alone matches anything"),
    (re.compile(r"\{[^{}]*,[^{}]*\}"), "{a,b} is no choice: write a glob for each"),
    (re.compile(r"(?:^|/):\w"), ":id is no parameter: write *"),
)
"""What other patterns mean by a character, and a glob here does not."""


def doubt_target(spec: Section, target_pct: Decimal | None) -> None:
    if target_pct is not None and target_pct < UNLIKELY_TARGET_PCT:
        spec.warn(
            "target", f"{target_pct} % of the events may be good and the SLO is met", "a share in percent?"
        )


def doubt_rules(spec: Section, window: Rolling | Calendar | None, rules: Sequence[BurnRule]) -> None:
    """A rule that looks further back than the budget does."""
    if window is None:
        return
    longest_s = window.length_s if isinstance(window, Rolling) else NOMINAL_PERIOD_S[window.period]
    for rule in rules:
        if rule.window_s > longest_s:
            shown = shown_ms(longest_s * 1000)
            spec.warn("alerting", f"the window {rule.window} is longer than the time window ({shown})")


def doubt_policy(policy: Section, freeze_pct: Decimal | None, rollback_pct: Decimal | None) -> None:
    if freeze_pct is not None and rollback_pct is not None and rollback_pct > freeze_pct:
        message = f"{rollback_pct} is above freezeDeploymentsThreshold ({freeze_pct})"
        policy.warn("autoRollbackThreshold", message, "releases are taken back before they are held back")


def doubt_glob(value: Value, glob: str) -> None:
    for pattern, says in _OTHER_LANGUAGE:
        if pattern.search(glob):
            value.warn(f"looks like another language than globs: {says}")
