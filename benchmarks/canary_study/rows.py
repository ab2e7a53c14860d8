"""The rows of the study: what happens to the simulated service, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from benchmarks.canary_study.judging import Margins
from benchmarks.canary_study.latencies import Below, Latencies, known, mixed, slower, stretched
from benchmarks.canary_study.rollouts import Bursts, Endpoint, World
from stream.canary.sequential import Limit
from stream.sketch.buckets import shift_of_ratio

TRIPLED = shift_of_ratio(3)
MOST_FALSE = 0.05
AIM_FALSE = 0.02
LEAST_FOUND = 0.9
EVERYTHING = "lognormal"

DEFAULT_MARGINS = Margins({"p50": (1.06, 1.0), "p95": (1.10, 2.0), "p99": (1.15, 5.0)}, Limit(1.75, 0.001))


@dataclass(frozen=True)
class Row:
    group: str
    what: str
    world: World
    margins: Margins = Margins()  # noqa: RUF009 frozen
    at_most: float | None = None
    """Of rollouts that may fail."""
    at_least: float | None = None
    """Of rollouts that must fail."""


@cache
def usual() -> Endpoint:
    return Endpoint(Latencies.of(known()[EVERYTHING]))


def _alike(endpoint: Endpoint, **world: object) -> World:
    return replace(World((endpoint,), (endpoint,)), **world)  # type: ignore[arg-type]


def nulls() -> list[Row]:
    """Canaries like their baseline, at margin 0."""
    rows = [
        (f"{name}, 1,000/min, 5 %", _alike(Endpoint(Latencies.of(known()[name]))))
        for name in ("lognormal", "Pareto 1.5", "bimodal", "whole ms", "ties")
    ]
    for per_minute in (100, 1000, 10_000):
        for share in (0.01, 0.05, 0.5):
            if (per_minute, share) != (1000, 0.05):
                world = _alike(usual(), per_minute=per_minute, share=share)
                rows.append((f"lognormal, {per_minute:,}/min, {share:.0%}".replace("%", " %"), world))
    rows.append(("waves over the hour, 1,000/min, 5 %", _alike(usual(), waves=True)))
    slow = Endpoint(Latencies.of(known()["slow endpoint"]), errors=0.05)
    mix = World(
        (replace(usual(), part=0.7), replace(slow, part=0.3)),
        (replace(usual(), part=0.3), replace(slow, part=0.7)),
    )
    rows.append(("canary gets the slow endpoint, 1,000/min, 5 %", mix))
    for what, bursts in (
        ("errors 30 % in 5 % of panes, both arms at once", Bursts(0.05, errors=0.3, common=True)),
        ("errors 30 % in 5 % of panes, each arm by itself", Bursts(0.05, errors=0.3)),
        ("3× slower in 5 % of panes, both arms at once", Bursts(0.05, slower=TRIPLED, common=True)),
        ("3× slower in 5 % of panes, each arm by itself", Bursts(0.05, slower=TRIPLED)),
    ):
        rows.append((what, _alike(usual(), bursts=bursts)))
        rows.append((f"{what}, 50 %", _alike(usual(), bursts=bursts, share=0.5)))
    return [Row("no harm, margin 0", what, world, at_most=MOST_FALSE) for what, world in rows]


def _canary(below: Below, errors: float = 0.01, **world: object) -> World:
    return replace(World((usual(),), (Endpoint(Latencies.of(below), errors),)), **world)  # type: ignore[arg-type]


def harms() -> list[Row]:
    """Each at 2,000 requests a minute, 5 % of them the canary's, margin 0."""
    base = known()[EVERYTHING]
    size = {"per_minute": 2000, "share": 0.05}
    worlds = [(f"errors 1 % → {pct} %", _canary(base, pct / 100, **size)) for pct in (2, 3, 5)]
    worlds += [
        (f"p99 +{pct} %", _canary(stretched(base, 1 + pct / 100, 0.9, 0.985), **size))
        for pct in (10, 25, 100)
    ]
    worlds.append(
        ("3 % of requests 3× slower", _canary(mixed((0.97, base), (0.03, slower(base, 3))), **size))
    )
    worlds.append(("p50 +5 %", _canary(slower(base, 1.05), **size)))
    ten = tuple(usual() for _ in range(10))
    bad = replace(usual(), errors=0.1)
    worlds.append(("one endpoint of ten: errors 1 % → 10 %", World(ten, (*ten[:9], bad), 2000, 0.05)))
    return [Row("harm, margin 0", what, world) for what, world in worlds]


def at_the_margins() -> list[Row]:
    """1,000 requests a minute, half of them the canary's; the default margins."""
    base = known()[EVERYTHING]
    rows = []
    for name, (start, full) in {"p50": (0.0, 0.45), "p95": (0.85, 0.94), "p99": (0.955, 0.985)}.items():
        ratio = DEFAULT_MARGINS.latencies[name][0]
        for times in (1, 2):
            factor = 1 + times * (ratio - 1)
            changed = slower(base, factor) if name == "p50" else stretched(base, factor, start, full)
            rows.append((times, f"{name} {factor - 1:+.0%}", _canary(changed)))
    for times in (1, 2):
        rate = 0.01 * (1 + times * (DEFAULT_MARGINS.errors.ratio - 1))
        rows.append((times, f"errors 1 % → {100 * rate:.2f} %", _canary(base, rate)))
    rows.sort(key=lambda row: row[0])
    return [
        Row(
            "the margin" if times == 1 else "twice the margin",
            what.replace("%", " %").replace("  ", " "),
            replace(world, share=0.5),
            DEFAULT_MARGINS,
            at_most=MOST_FALSE if times == 1 else None,
            at_least=LEAST_FOUND if times == 2 else None,
        )
        for times, what, world in rows
    ] + [
        Row(
            "no harm, default margins",
            "lognormal, 1,000/min, 50 %",
            _alike(usual(), share=0.5),
            DEFAULT_MARGINS,
            MOST_FALSE,
        )
    ]


ALL = {"nulls": nulls, "harms": harms, "margins": at_the_margins}
