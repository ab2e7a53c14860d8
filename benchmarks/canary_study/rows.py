"""The rows of the study: what happens to the simulated service, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from benchmarks.canary_study.judging import QUANTILES, Margins
from benchmarks.canary_study.latencies import Below, Latencies, known, mixed, slower, stretched
from benchmarks.canary_study.rollouts import Bursts, Endpoint, World
from stream.canary.sequential import Limit
from stream.config.margins import MARGINS
from stream.sketch.buckets import shift_of_ratio

TRIPLED = shift_of_ratio(3)
MOST_FALSE = 0.05
AIM_FALSE = 0.02
LEAST_FOUND = 0.9
EVERYTHING = "lognormal"


def _default_margins() -> Margins:
    """Those of an analysis that names none."""

    def limit(metric: str, unit: float = 1.0) -> Limit:
        margin = MARGINS[metric][1]
        return Limit(1 + float(margin.pct) / 100, float(margin.least) * unit)

    return Margins({name: limit(f"latency-{name}") for name in QUANTILES}, limit("error-rate", 0.01))


DEFAULT_MARGINS = _default_margins()
WIDER = Margins({**DEFAULT_MARGINS.latencies, "p50": Limit(1.06, 1.0)}, Limit(1.75, 0.001))
"""What an hour of 1,000 requests a minute can tell apart."""
WIDER_SAID = "6 % of p50 and 75 % of errors"


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


def _ten(**world: object) -> World:
    ten = tuple(usual() for _ in range(10))
    return replace(World(ten, ten), **world)  # type: ignore[arg-type]


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
    rows.append(("a day's waves in an hour, 1,000/min, 5 %", _alike(usual(), waves=True)))
    rows.append(("ten endpoints in waves, 1,000/min, 5 %", _ten(waves=True)))
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
        if not bursts.common:
            rows.append((f"{what}, all of ten endpoints", _ten(bursts=bursts)))
    return [Row("no harm, margin 0", what, world, at_most=MOST_FALSE) for what, world in rows]


def _canary(below: Below, errors: float = 0.01, **world: object) -> World:
    return replace(World((usual(),), (Endpoint(Latencies.of(below), errors),)), **world)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Harm:
    what: str
    world: World
    is_inside: bool = False
    """The default margins."""


def _harms() -> list[_Harm]:
    base = known()[EVERYTHING]
    size = {"per_minute": 2000, "share": 0.05}
    found = [_Harm(f"errors 1 % → {pct} %", _canary(base, pct / 100, **size)) for pct in (2, 3, 5)]
    found += [
        _Harm(f"p99 +{pct} %", _canary(stretched(base, 1 + pct / 100, 0.9, 0.985), **size), pct == 10)
        for pct in (10, 25, 100)
    ]
    few_slow = mixed((0.97, base), (0.03, slower(base, 3)))
    found.append(_Harm("3 % of requests 3× slower", _canary(few_slow, **size)))
    found.append(_Harm("p50 +5 %", _canary(slower(base, 1.05), **size), is_inside=True))
    ten = _ten(**size)
    bad = replace(usual(), errors=0.1)
    found.append(_Harm("one endpoint of ten: errors 1 % → 10 %", replace(ten, canary=(*ten.canary[:9], bad))))
    all_bad = replace(usual(), errors=0.03)
    found.append(_Harm("each endpoint of ten: errors 1 % → 3 %", replace(ten, canary=(all_bad,) * 10)))
    return found


def harms() -> list[Row]:
    """Each at 2,000 requests a minute, 5 % of them the canary's; at margin 0, and at the default margins."""
    each = _harms()
    return [Row("harm, margin 0", one.what, one.world) for one in each] + [
        Row(
            "the same, default margins",
            f"{one.what}{' (inside)' if one.is_inside else ''}",
            one.world,
            DEFAULT_MARGINS,
            at_most=MOST_FALSE if one.is_inside else None,
        )
        for one in each
        if one.world.endpoints == 1
    ]


STARTS = {"p50": (0.0, 0.45), "p95": (0.85, 0.94), "p99": (0.955, 0.985)}
"""Between which quantiles a harm to this one sets in."""


def _by(metric: str, times: int, margins: Margins) -> tuple[str, World]:
    """So many times its margin is this metric worse."""
    base = known()[EVERYTHING]
    if metric == "errors":
        rate = 0.01 * (1 + times * (margins.errors.ratio - 1))
        return f"errors 1 % → {100 * rate:.2f} %", _canary(base, rate, share=0.5)
    factor = 1 + times * (margins.latencies[metric].ratio - 1)
    changed = slower(base, factor) if metric == "p50" else stretched(base, factor, *STARTS[metric])
    return f"{metric} +{100 * (factor - 1):.0f} %", _canary(changed, share=0.5)


def at_the_margins() -> list[Row]:
    """1,000 requests a minute, half of them the canary's."""
    each = (*STARTS, "errors")
    inside = [Row("the margin", *_by(m, 1, DEFAULT_MARGINS), DEFAULT_MARGINS, MOST_FALSE) for m in each]
    twice = [
        Row("twice the margin", *_by(m, 2, DEFAULT_MARGINS), DEFAULT_MARGINS, at_least=LEAST_FOUND)
        for m in each
    ]
    wider = [
        Row(f"margins of {WIDER_SAID}", *_by(m, times, WIDER), WIDER, at_most, at_least)
        for m in ("p50", "errors")
        for times, at_most, at_least in ((1, MOST_FALSE, None), (2, None, LEAST_FOUND))
    ]
    alike = _alike(usual(), share=0.5)
    return [
        Row("no harm, default margins", "lognormal, 1,000/min, 50 %", alike, DEFAULT_MARGINS, MOST_FALSE),
        *(*inside, *twice, *wider),
    ]


ALL = {"nulls": nulls, "harms": harms, "margins": at_the_margins}
