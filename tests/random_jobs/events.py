"""Random events for random rules: anything missing, sampled, late, constant, silent, jumping in time; and
deploy and change events that fit, repeat, contradict or are nonsense."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from random_jobs.rules import ENDPOINTS, Rules, Service

Event = dict[str, Any]
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
MAX_TS_MS = 253_402_300_799_999
BAD = (
    b"{", b"[]", b"null", b"{}", b'"text"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{poison", b"   x", b"123",
    b'{"ts":5}', b'{"ts":-1,"service":"payment"}', b'{"ts":1e400,"service":"payment"}',
    b'{"service":"payment"}', b'{"ts":"yesterday","service":"payment"}',
    b'{"ts":1790000000000,"service":""}', b'{"ts":1790000000000,"service":"payment","status":"200"}',
    b'{"ts":1790000000000,"service":"payment","track":"beta"}',
    b'{"ts":1790000000000,"service":"payment","latency_ms":-1}',
    b'{"ts":1790000000000,"service":"payment","sample_rate":0}',
    b'{"ts":1790000000000,"service":"payment","endpoint":"\\ud800"}',
    b"[" * 600 + b"]" * 600, b"\x00", b'{"ts":1790000000000}', b"ts=1 service=payment",
)  # fmt: skip
"""Lines that are no event, each for another reason."""


@dataclass
class Arm:
    """One version of a service on one track: how its requests look, and when there are any."""

    service: Service
    track: str | None
    version: str | None
    weight: float
    latency: str
    says: str
    """Which fields tell whether a request went well."""
    bad: float
    rate: str
    endpoints: tuple[str, ...]
    begins: float
    """Shares of the whole time."""
    ends: float
    slower: float = 1.0


@dataclass
class Stream:
    """What a job reads; ``in_order``: no ts is below the largest so far by more than ``disorder_ms``."""

    lines: list[bytes] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    """The largest ts up to each line."""
    in_order: bool = False
    start_ms: int = 0

    @property
    def end_ms(self) -> int:
        return max(self.stamps, default=self.start_ms)


def stream(rng: random.Random, rules: Rules, *, in_order: bool) -> Stream:
    arms = [arm for service in rules.services for arm in _arms(rng, service)]
    start_ms, as_text = _start(rng)
    found = Stream(in_order=in_order, start_ms=start_ms)
    count = rng.choice([0, 1, 3, 50, 100, 150, 200, 300, 500])
    step_ms = rng.choice([200, 700, 1000, 1500, 2000])
    disorder_ms = rng.choice([0, 0, 2_000, 4_900] if in_order else [0, 4_900, 5_001, 40_000, 900_000])
    jumps = rng.choice([0.0, 0.0, 1.0, 3.0]) / max(count, 1)
    poison = rng.choice([0.0, 0.0, 0.01, 0.3])
    ts, largest = start_ms, start_ms
    for i in range(count):
        ts += int(rng.expovariate(1 / step_ms)) if rng.random() < 0.9 else 0
        if rng.random() < jumps:
            ts += _jump_ms(rng, back=not in_order)
        ts = min(max(ts, 0), MAX_TS_MS - DAY_MS)
        if rng.random() < poison:
            found.lines.append(rng.choice(BAD))
        else:
            at = min(max(0, ts - rng.randrange(disorder_ms + 1)), MAX_TS_MS)
            if in_order:
                at = max(at, largest - disorder_ms)
            largest = max(largest, at)
            event = _event(rng, arms, i / count)
            event["ts"] = _written(rng, at) if as_text or rng.random() < 0.02 else at
            found.lines.append(_encoded(rng, event))
        found.stamps.append(largest)
    return found


def _start(rng: random.Random) -> tuple[int, bool]:
    """(first time, whether all times are text)."""
    day_ms = 1_790_000_000_000 // DAY_MS * DAY_MS
    kind = rng.random()
    if kind < 0.6:
        return day_ms + rng.randrange(300 * DAY_MS), False
    if kind < 0.8:  # a little before midnight, somewhere
        return day_ms + rng.randrange(400) * DAY_MS - rng.randrange(3 * MINUTE_MS), False
    if kind < 0.9:  # clocks go back in Berlin, 25 October 2026; and the year ends
        return int(
            datetime(2026, *rng.choice([(10, 25, 0, 57), (12, 31, 23, 55)]), tzinfo=UTC).timestamp() * 1000
        ), False
    if kind < 0.95:
        return rng.randrange(DAY_MS), True
    return MAX_TS_MS - 2 * DAY_MS + rng.randrange(DAY_MS), rng.random() < 0.5


def _jump_ms(rng: random.Random, *, back: bool) -> int:
    kind = rng.random()
    if back and kind < 0.3:
        return -rng.choice([MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS, 9 * DAY_MS])
    if kind < 0.95:
        return rng.randrange(6 * MINUTE_MS)
    if kind < 0.995:
        return rng.randrange(HOUR_MS)
    return rng.randrange(6 * HOUR_MS)


def _arms(rng: random.Random, service: Service) -> list[Arm]:
    """A stable version at least; a canary, a baseline and a shadow now and then, and releases of stable."""
    everything = tuple(f"/flood/{i}" for i in range(90)) if rng.random() < 0.05 else ENDPOINTS
    endpoints = tuple(rng.sample(everything, rng.choice([1, 2, 4, len(everything)])))
    habits = _habits(rng)

    def arm(track: str | None, version: str | None, weight: float, begins: float, ends: float = 1.0) -> Arm:
        mine = {**habits, **({} if rng.random() < 0.6 else _habits(rng))}
        where = endpoints if rng.random() < 0.7 else tuple(rng.sample(endpoints, 1))
        return Arm(service, track, version, weight, endpoints=where, begins=begins, ends=ends, **mine)

    changes = rng.random()
    found = [arm(rng.choice([None, "stable"]), rng.choice(["1", "1", None, "v1.0"]), 1.0, 0.0)]
    if rng.random() < 0.3:
        found[0].ends = changes
        found.append(arm("stable", "2", 1.0, changes))
    if service.analysed or rng.random() < 0.2:
        begins = rng.choice([0.0, 0.1, 0.3, 0.6])
        version = rng.choice(["2", "2", "3", "1", None, "日本"])
        found.append(
            arm("canary", version, rng.choice([0.05, 0.3, 1.0]), begins, rng.choice([1.0, 1.0, 0.8]))
        )
        if rng.random() < 0.3:
            found.append(arm("baseline", "1", 0.3, begins))
        if rng.random() < 0.15:
            found.append(arm("canary", "4", 0.3, rng.random()))
    if service.compared or rng.random() < 0.1:
        found.append(arm("shadow", rng.choice(["2", None]), 0.5, rng.choice([0.0, 0.3])))
    return found


def _habits(rng: random.Random) -> Event:
    return {
        "latency": rng.choice(
            ["none", "constant", "zero", "spread", "spread", "spread", "some", "two", "wild"]
        ),
        "says": rng.choice(["http", "http", "http", "grpc", "ok", "nothing", "anything"]),
        "bad": rng.choice([0.0, 0.0, 0.01, 0.2, 1.0]),
        "rate": rng.choice(["all", "all", "all", "tenth", "errors", "wild"]),
        "slower": rng.choice([1.0, 1.0, 1.3, 4.0]),
    }


def _event(rng: random.Random, arms: list[Arm], now: float) -> Event:
    here = [arm for arm in arms if arm.begins <= now < arm.ends]
    if not here or rng.random() < 0.02:
        return {"service": rng.choice(["stranger", *(arm.service.name for arm in arms)])}
    (arm,) = rng.choices(here, [one.weight for one in here])
    bad = rng.random() < arm.bad
    event: Event = {"service": arm.service.name}
    if arm.service.namespace != "default" or rng.random() < 0.5:
        event["namespace"] = arm.service.namespace
    endpoint = rng.choice(arm.endpoints)
    if endpoint or rng.random() < 0.3:
        event["endpoint"] = endpoint
    if rng.random() < 0.5:
        event["method"] = rng.choice(["GET", "POST", ""])
    for name, value in (("track", arm.track), ("version", arm.version)):
        if value is not None and rng.random() < 0.99:
            event[name] = value
    event |= _outcome(rng, arm.says, bad) | _latency(rng, arm, bad)
    if arm.rate == "tenth" or (arm.rate == "errors" and not bad):
        event["sample_rate"] = 0.1
    elif arm.rate == "wild":
        event["sample_rate"] = rng.choice([1, 0.3, 0.000001, 0.99, None])
    if rng.random() < 0.03:
        event |= rng.choice(
            [{"tier": "gold"}, {"attributes": {"a": 1, "b": None}}, {"more": [1, {}]}, {"ok": None}]
        )
    return event


def _outcome(rng: random.Random, says: str, bad: bool) -> Event:
    if says == "anything":
        says = rng.choice(["http", "grpc", "ok", "nothing"])
    match says:
        case "http":
            return {"status": rng.choice([500, 503]) if bad else rng.choice([200, 200, 201, 404, 100])}
        case "grpc":
            return {"grpc_status": rng.choice([13, "UNAVAILABLE", 2]) if bad else rng.choice([0, "OK", 5])}
        case "ok":
            return {"ok": not bad}
    return {}


def _latency(rng: random.Random, arm: Arm, bad: bool) -> Event:
    match arm.latency:
        case "none":
            return {}
        case "constant":
            ms: float = 50 * arm.slower
        case "zero":
            ms = 0
        case "some":
            if rng.random() < 0.7:
                return {}
            ms = rng.randrange(1, 120)
        case "two":
            ms = rng.choice([10, 200]) * arm.slower
        case "wild":
            ms = rng.choice([0, 5e-324, 1e-9, 0.5, 1e9, 1e18, 1.7e308, 49.999999, 100])
        case _:
            ms = round(rng.lognormvariate(3, 0.6) * arm.slower * (3 if bad else 1), 3)
    return {"latency_s": ms / 1000} if rng.random() < 0.1 else {"latency_ms": ms}


def _written(rng: random.Random, at_ms: int) -> str:
    """RFC 3339, in one of its spellings."""
    if at_ms >= 253_402_200_000_000 or at_ms < DAY_MS:
        zone = UTC
    else:
        zone = timezone(timedelta(minutes=rng.choice([0, 0, 330, -210, 60])))
    when = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)
    text = f"{when:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + rng.choice(
        [f".{at_ms % 1000:03}", f".{at_ms % 1000:03}999"]
    )
    offset = when.strftime("%z")
    return text + ("Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}")


def _encoded(rng: random.Random, event: Event) -> bytes:
    keys = list(event)
    if rng.random() < 0.1:
        rng.shuffle(keys)
    separators = (", ", ": ") if rng.random() < 0.05 else (",", ":")
    text = json.dumps(
        {key: event[key] for key in keys}, separators=separators, ensure_ascii=rng.random() < 0.1
    )
    return text.encode() + (b"\r" if rng.random() < 0.01 else b"")


def deploys(rng: random.Random, rules: Rules, found: Stream) -> list[bytes]:
    """Releases with their steps, some of them out of order, told twice, or of nobody."""
    lines: list[Event] = []
    for service in rules.services:
        for number in range(rng.choice([0, 0, 1, 1, 2]) if service.analysed else rng.choice([0, 0, 0, 1])):
            at, end = _at(rng, found), found.end_ms
            version = rng.choice(["2", "2", "3", None])
            for state in rng.choice(_COURSES):
                event: Event = {
                    "deployment": f"d{number}", "service": service.name, "namespace": service.namespace,
                    "state": state, "at": at,
                }  # fmt: skip
                if version and rng.random() < 0.8:
                    event["version"] = version
                if rng.random() < 0.4:
                    event["previous_version"] = "1"
                if state == "stage" or rng.random() < 0.3:
                    event["stage"] = rng.choice([5, 25, 50, 100, 0.1])
                lines += [event] * rng.choice([1, 1, 1, 2])
                at += rng.randrange(max((end - at) // 2, 20_000))
    if rng.random() < 0.3:
        rng.shuffle(lines)
    encoded = [json.dumps(one).encode() for one in lines]
    return encoded + ([rng.choice(BAD)] if rng.random() < 0.2 else [])


_COURSES = (
    ("started",), ("started", "finished"), ("started", "rolled_back"), ("promoted",),
    ("started", "stage", "stage", "promoted"), ("stage", "promoted", "finished"),
    ("started", "started", "stage"), ("rolled_back", "started"),
    ("started", "stage", "stage", "stage", "promoted", "stage"),
)  # fmt: skip


def changes(rng: random.Random, rules: Rules, found: Stream) -> list[bytes]:
    lines = []
    for number in range(rng.choice([0, 0, 1, 3, 8])):
        event: Event = {
            "change": f"c{number // 2}",
            "kind": rng.choice(["deploy", "config"]),
            "at": _at(rng, found),
        }
        service = rng.choice(rules.services)
        event["namespace"] = rng.choice([service.namespace, "elsewhere"])
        event |= rng.choice([{"service": service.name}, {"service": "edge"}, {"resource": "db"}])
        if rng.random() < 0.3:
            event |= {"version": "2", "by": "anna", "links": ["https://example.com/1"]}
        lines.append(json.dumps(event).encode())
    return lines + ([rng.choice(BAD)] if rng.random() < 0.2 else [])


def _at(rng: random.Random, found: Stream) -> int:
    """A time before, within or behind the events'."""
    span = max(found.end_ms - found.start_ms, 1)
    return min(max(0, found.start_ms + int(span * rng.uniform(-0.1, 1.1))), MAX_TS_MS)
