"""Is another program's output the oracle's? Field by field, with the first difference told in full."""

from __future__ import annotations

import json
import math
from datetime import datetime
from fractions import Fraction
from typing import Any

from .records import QUANTILES, TOPICS, Record

EXACT = 1e-9
MEAN = 1e-6
"""Of latencies: a digest may keep them in single precision."""
OWN_FIELDS = {"dead-letters": {"error", "detail"}}
WRITTEN_AS_FLOATS = {"target_pct", "burn_rate_threshold", "threshold_pct"}


def first_difference(
    expected: dict[str, list[Record]], actual: dict[str, list[Record]], topics: tuple[str, ...] = TOPICS
) -> str | None:
    """A readable account of the first differing record, topic by topic; None when all agree."""
    for topic in topics:
        ours, theirs = expected[topic], actual[topic]
        for index in range(max(len(ours), len(theirs))):
            if index >= len(ours):
                return _account(topic, index, "the oracle has no such record", None, theirs[index])
            if index >= len(theirs):
                return _account(topic, index, "missing from the output", ours[index], None)
            faults = list(_faults(topic, ours[index], theirs[index]))
            if faults:
                return _account(topic, index, "; ".join(faults), ours[index], theirs[index])
    return _wrong_ids(expected, actual)


def _account(topic: str, index: int, fault: str, ours: Record | None, theirs: Record | None) -> str:
    shown = {key: value for key, value in (ours or {}).items() if key != "_sorted"} or None
    return "\n".join(
        [
            f"{topic} record {index}: {fault}",
            f"  oracle: {json.dumps(shown, sort_keys=True)}",
            f"  output: {json.dumps(theirs, sort_keys=True)}",
        ]
    )


def _faults(topic: str, ours: Record, theirs: Record) -> list[str]:
    data = ours.get("_sorted")
    ignored = OWN_FIELDS.get(topic, set())
    wanted = {key for key in ours if key != "_sorted"} | ignored
    if wanted != set(theirs):
        return [f"fields {sorted(wanted ^ set(theirs))} are on one side only"]
    faults = []
    for key in sorted(wanted - ignored - {"id"}):
        if data is not None and key in QUANTILES:
            fault = rank_fault(data, QUANTILES[key], theirs[key])
            if fault:
                faults.append(f"{key}: {fault}")
        elif key == "source":
            if ours[key]["line"] != theirs[key].get("line"):
                faults.append(f"source.line: {ours[key]['line']} ≠ {theirs[key].get('line')}")
        else:
            faults += _value_faults(key, ours[key], theirs[key], MEAN if data is not None else EXACT)
    return faults


def _value_faults(path: str, ours: Any, theirs: Any, tolerance: float) -> list[str]:
    name = path.rpartition(".")[2]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if list(ours) != list(theirs) and set(ours) != set(theirs):
            return [f"{path}: keys {list(ours)} ≠ {list(theirs)}"]
        return [f for key in ours for f in _value_faults(f"{path}.{key}", ours[key], theirs[key], tolerance)]
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return [f"{path}: {len(ours)} entries ≠ {len(theirs)}"]
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [f for i, (a, b) in pairs for f in _value_faults(f"{path}.{i}", a, b, tolerance)]
    if name in WRITTEN_AS_FLOATS and not isinstance(theirs, float):
        return [f"{path}: {theirs!r} is not written as a float"]
    if name == "exhausts_at" and ours is not None and theirs is not None:
        return [] if _same_instant(ours, theirs) else [f"{path}: {ours} ≠ {theirs}"]
    if _is_number(ours) and _is_number(theirs):
        same = math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=1e-9)
        return [] if same else [f"{path}: {ours!r} ≠ {theirs!r}"]
    same = type(ours) is type(theirs) and ours == theirs
    return [] if same else [f"{path}: {ours!r} ≠ {theirs!r}"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_instant(ours: str, theirs: str) -> bool:
    """To the millisecond, whichever way it is rounded."""
    apart = datetime.fromisoformat(ours) - datetime.fromisoformat(theirs)
    return abs(apart.total_seconds()) <= 0.0011


def rank_fault(data: list[tuple[Fraction, int]], q: Fraction, value: float) -> str | None:
    """Section 5: rank error ≤ 0.05 · q · (1 − q) + 1/count, in weighted ranks of the exact data."""
    weight = sum(w for _, w in data)
    slack = abs(value) * MEAN
    below = Fraction(sum(w for x, w in data if x < value - slack), weight)
    up_to = Fraction(sum(w for x, w in data if x <= value + slack), weight)
    error = max(below - q, q - up_to, Fraction(0))
    bound = Fraction(5, 100) * q * (1 - q) + Fraction(1, len(data))
    if error <= bound:
        return None
    rank = f"{float(below):.6f}..{float(up_to):.6f}"
    return f"{value} has rank {rank}, {float(error):.6f} off, allowed {float(bound):.6f}"


def _wrong_ids(expected: dict[str, list[Record]], actual: dict[str, list[Record]]) -> str | None:
    """`id`: a resolved record has its firing's, else they are distinct: equal exactly where ours are."""
    for topic in ("slo-alerts", "deploy-rollbacks"):
        theirs_of: dict[str, str] = {}
        ours_of: dict[str, str] = {}
        for index, (ours, theirs) in enumerate(zip(expected[topic], actual[topic], strict=True)):
            known = theirs_of.setdefault(ours["id"], theirs["id"])
            owner = ours_of.setdefault(theirs["id"], ours["id"])
            if known != theirs["id"] or owner != ours["id"] or not isinstance(theirs["id"], str):
                return _account(topic, index, "id: not resolved = firing, else distinct", ours, theirs)
    return None
