"""What a worker tells in its log of the job itself: decisions, events that nobody asked for, bad records."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from stream.model.ruleset import Ruleset

log = logging.getLogger(__name__)

MOST_STRANGERS = 100
"""Services that are named because no rule is for them."""
_MOST_COMPARED = 5_000
"""Services of rules, among which a name that is nearly right is looked for."""
_HOUR_S = 3600.0


def tell_decisions(published: Iterable[tuple[str, bytes | None]]) -> None:
    """A line for each alert, freeze, rollback and final verdict; of (bare topic, record), once published."""
    for topic, value in published:
        if topic in _LINES and value is not None:
            record = orjson.loads(value)
            if (line := _LINES[topic](record)) is not None:
                fields = {name: record[name] for name in ("namespace", "service", "slo") if name in record}
                log.info("%s", line, extra=fields)


def _alert(record: Mapping[str, Any]) -> str:
    who = f"{record['namespace']}/{record['slo']}"
    return f"alert {record['state']}: {who}, {record['severity']}, as of {record['evaluated_at']}"


def _freeze(record: Mapping[str, Any]) -> str:
    who = f"{record['namespace']}/{record['service']}"
    if record["state"] == "open":
        return f"deployments of {who} are open again, since {record['since']}"
    names = ", ".join(reason["slo"] for reason in record["reasons"])
    return f"deployments of {who} are frozen, since {record['since']}, because of {names}"


def _rollback(record: Mapping[str, Any]) -> str:
    taken, to = record.get("version"), record.get("previous_version")
    what = f" of {taken}" if taken is not None else ""
    what += f" to {to}" if to is not None else ""
    who = f"{record['namespace']}/{record['service']}"
    return f"rollback of {who} is called for{what}, as of {record['evaluated_at']}"


def _verdict(record: Mapping[str, Any]) -> str | None:
    if not record["final"]:
        return None
    name = record.get("analysis") or record.get("comparison")
    return (
        f"verdict of {record['namespace']}/{name}: {record['verdict']}, {record['reason']}, as of "
        f"{record['evaluated_at']}"
    )


_LINES: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "slo-alerts": _alert,
    "deploy-freezes": _freeze,
    "deploy-rollbacks": _rollback,
    "canary-verdicts": _verdict,
    "shadow-verdicts": _verdict,
}


class Strangers:
    """Services of events that no rule is for: each is told once, with the nearest one that has a rule."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, services: Iterable[tuple[str, str]], rules: Ruleset) -> None:
        for service in services:
            if service not in self._told and len(self._told) < MOST_STRANGERS:
                self._told.add(service)
                named = "/".join(service)
                near = nearest(service, rules)
                hint = "no rule is for it" if near is None else f"an SLO is for {'/'.join(near)}"
                fields = dict(zip(("namespace", "service"), service, strict=True))
                log.warning("events say %s; %s", named, hint, extra=fields)


def nearest(service: tuple[str, str], rules: Ruleset) -> tuple[str, str] | None:
    """The service of a rule that was probably meant: of the same name in another namespace, or of one that
    differs in a few letters."""
    known: dict[tuple[str, str], None] = {}
    known |= dict.fromkeys((one.namespace, one.service) for one in rules.objectives)
    known |= dict.fromkeys((one.namespace, one.service) for one in rules.analyses)
    known |= dict.fromkeys((one.namespace, one.service) for one in rules.comparisons)
    namesake = next((one for one in known if one[1] == service[1]), None)
    if namesake is not None or len(known) > _MOST_COMPARED:
        return namesake
    by_name = {"/".join(one): one for one in known}
    close = difflib.get_close_matches("/".join(service), by_name, n=1)
    return by_name[close[0]] if close else None


class BadRecords:
    """Of each kind of error the first in an hour is told, with its place and detail; all of them are dead
    letters."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._told_s: dict[str, float] = {}

    def tell(self, topic: str, partition: int, offset: int, error: str, detail: str) -> None:
        now_s = self._now_s()
        if now_s - self._told_s.get(error, now_s - _HOUR_S) < _HOUR_S:
            return
        self._told_s[error] = now_s
        log.warning(
            "%s[%d]: the record at offset %d is a dead letter, %s: %s (the first of its kind in an hour)",
            *(topic, partition, offset, error, detail),
            extra={"topic": topic, "partition": partition, "error": error},
        )
