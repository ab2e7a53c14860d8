"""Section 4: burn, rules, budget, forgetting, versions. Whole numbers and fractions, never floats.

An :class:`Slo` keeps every counted request with what arrived; an :class:`AsOf` is the SLO at one tick,
computed from that list anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import floor

from .clock import HOUR_MS, PANE_MS, calendar_period, down, nominal_ms, pane_end, window_start
from .events import MILLIONTHS, Event
from .names import service_key
from .objectives import Objective, Rule, verdict
from .versions import Versions


@dataclass(frozen=True)
class Counted:
    """Something that counts in N: a request, or a finished slice (section 2, latency)."""

    ts: int
    weight: int
    bad: bool


@dataclass(frozen=True)
class Request(Counted):
    event: Event
    reaches_slice: bool = True
    """False: it arrived when its slice was final already."""


@dataclass(frozen=True)
class Totals:
    """Section 4: N and B are weighted (millionths), n and b their unweighted counts."""

    N: int
    B: int
    n: int
    b: int

    def burn(self, objective: Objective) -> Fraction | None:
        """(B/N) / (1 − target/100); nothing when N = 0."""
        return Fraction(self.B, self.N) / objective.allowed_fraction if self.N else None


def totals(counted: Iterable[Counted]) -> Totals:
    every = list(counted)
    bad = [one for one in every if one.bad]
    return Totals(sum(one.weight for one in every), sum(one.weight for one in bad), len(every), len(bad))


@dataclass
class Latch:
    """A state of an SLO that begins below a threshold and ends at the threshold and some points (section 4,
    actions)."""

    on: bool = False

    def advance(self, state: AsOf, threshold: Fraction | None) -> bool:
        """Whether it begins at this tick."""
        before, remaining = self.on, state.remaining_pct
        if threshold is None:
            return False
        if remaining is None:
            self.on = self.on and bool(state.slo.remembered_by(state.tick))
        elif remaining < threshold:
            self.on = True
        else:
            points = min(state.slo.objective.hysteresis, (100 - threshold) / 2)
            self.on = self.on and remaining < threshold + points
        return self.on and not before


@dataclass
class Slo:
    """One SLO with everything it has counted, and what it decided last."""

    objective: Objective
    requests: list[Request] = field(default_factory=list)
    remembered: list[Request] = field(default_factory=list)
    """The requests since the SLO was last forgotten."""
    alerts: list[Alert] = field(default_factory=list)
    freeze: Latch = field(default_factory=Latch)
    rollback: Latch = field(default_factory=Latch)
    held_at: dict[int, bool] = field(default_factory=dict)
    """Tick → did the time window hold a counted event."""

    def observe(self, event: Event, watermark: int) -> None:
        bad = verdict(self.objective, event)
        if bad is None:
            return
        request = Request(event.ts, event.weight, bad, event, not self._slice_is_final(event.ts, watermark))
        self.requests.append(request)
        self.remembered.append(request)

    def _slice_is_final(self, ts: int, watermark: int) -> bool:
        """Section 2: a slice is final one hour after its end."""
        length = self.objective.slice_ms
        return length is not None and watermark >= down(ts, length) + length + HOUR_MS

    @property
    def memory_ms(self) -> int:
        """2W: how long after its newest event the SLO is forgotten."""
        objective = self.objective
        return 2 * (nominal_ms(objective.period) if objective.period else objective.rolling_ms or 0)

    def windows_ms(self) -> list[int]:
        """Every window of the SLO: budget, long and short ones."""
        lengths = [self.memory_ms // 2]
        for rule in self.objective.rules:
            lengths += [rule.long_ms, rule.short_ms or 0]
        return lengths

    def forget_tick(self, seen_by: int | None = None) -> int | None:
        """Forgetting: the first T with the newest counted event's pane ended at or before T − 2W.

        ``seen_by``: only of the events with ts below it.
        """
        newest = max((one.ts for one in self.remembered if seen_by is None or one.ts < seen_by), default=None)
        return None if newest is None else pane_end(newest) + self.memory_ms

    def remembered_by(self, tick: int) -> list[Request]:
        """Counted and not forgotten, of what lies before the tick."""
        return [request for request in self.remembered if request.ts < tick]

    def forget(self, tick: int) -> None:
        """The first counted event is forgotten: the next event starts it anew."""
        self.remembered = [request for request in self.remembered if request.ts >= tick]


def finished_slices(slo: Slo, tick: int) -> list[Counted]:
    """Section 2: a slice counts with weight 1 in the pane in which it ends; unfinished it counts nowhere."""
    length = slo.objective.slice_ms
    assert length is not None
    slices: dict[int, list[Request]] = {}
    for request in slo.requests:
        if request.reaches_slice and down(request.ts, length) + length <= tick:
            slices.setdefault(down(request.ts, length), []).append(request)
    return [
        Counted(start + length - PANE_MS, MILLIONTHS, _slice_is_bad(slo.objective, requests))
        for start, requests in slices.items()
    ]


def _slice_is_bad(objective: Objective, requests: list[Request]) -> bool:
    """More than (100 − percentile) % of its weighted requests are over the threshold."""
    inside = totals(requests)
    bad_pct = Fraction(100 * inside.B, inside.N)
    return bad_pct > objective.slice_allowed_pct


@dataclass
class AsOf:
    """The state as of T: events with ts < T that had arrived by then."""

    slo: Slo
    tick: int

    @cached_property
    def requests(self) -> list[Request]:
        return [request for request in self.slo.requests if request.ts < self.tick]

    @cached_property
    def counted(self) -> list[Counted]:
        if self.slo.objective.slice_ms is None:
            return list(self.requests)
        return finished_slices(self.slo, self.tick)

    def over(self, window_ms: int) -> Totals:
        start = window_start(self.tick, window_ms)
        return totals(one for one in self.counted if one.ts >= start)

    def requests_over(self, window_ms: int) -> list[Request]:
        start = window_start(self.tick, window_ms)
        return [request for request in self.requests if request.ts >= start]

    def truth(self, rule: Rule) -> str:
        """true, false or frozen."""
        windows = [self.over(length) for length in (rule.long_ms, rule.short_ms) if length is not None]
        if any(window.n == 0 for window in windows):
            return "frozen"
        burns = [window.burn(self.slo.objective) for window in windows]
        burning = all(burn is not None and burn > rule.threshold for burn in burns)
        return "true" if burning and windows[0].b >= rule.min_bad else "false"

    # ---- budget

    @cached_property
    def period(self) -> tuple[int, int]:
        """Start and length W of the SLO's time window."""
        objective = self.slo.objective
        if objective.rolling_ms is not None:
            return window_start(self.tick, objective.rolling_ms), objective.rolling_ms
        assert objective.period is not None
        start, end = calendar_period(self.tick, objective.period, objective.zone)
        return start, end - start

    @cached_property
    def budgeted(self) -> Totals:
        start, _ = self.period
        return totals(one for one in self.counted if one.ts >= start)

    @cached_property
    def remaining_pct(self) -> Fraction | None:
        """100 · (1 − B/allowed); nothing when N = 0."""
        if self.budgeted.N == 0:
            return None
        return 100 * (1 - self.budgeted.B / self._allowed())

    def _allowed(self) -> Fraction:
        """(1 − target/100) · N, when projected times W/elapsed."""
        objective = self.slo.objective
        observed = objective.allowed_fraction * self.budgeted.N
        return observed * Fraction(self.period[1], self._elapsed()) if objective.projected else observed

    def _elapsed(self) -> int:
        """T − max(window start, start of the pane of the first counted event), at most W."""
        start, length = self.period
        first = min(request.ts for request in self.slo.remembered_by(self.tick))
        return min(self.tick - max(start, down(first, PANE_MS)), length)

    # ---- exhausts_at

    @cached_property
    def exhausts_at(self) -> Fraction | None:
        """T + remaining/100 · W / burn in whole ms; null when burn ≤ 1 or N = 0, or after the end of a
        calendar period; T when the budget is gone."""
        remaining = self.remaining_pct
        if remaining is None:
            return None
        if remaining <= 0:
            return Fraction(self.tick)
        window = self._exhaustion_window()
        counted = self.over(window) if window else self.budgeted
        burn = counted.burn(self.slo.objective)
        if burn is None or burn <= 1:
            return None
        gone = Fraction(floor(self.tick + remaining / 100 * self.period[1] / burn))
        renewed = sum(self.period) if self.slo.objective.period is not None else None
        return None if renewed is not None and gone > renewed else gone

    def _exhaustion_window(self) -> int | None:
        """The 1 h window, or the longest alerting window below it; the longest of all if none is.

        Without alerting the only window there is: the SLO's own.
        """
        windows = [rule.long_ms for rule in self.slo.objective.rules]
        within = [length for length in windows if length <= HOUR_MS]
        return max(within or windows, default=None)


@dataclass
class Alert:
    """The life of one rule. Section 4: firing, resolved, keepFiringFor."""

    rule: Rule
    starts_at: int | None = None
    """None: inactive."""
    false_for_ms: int | None = None
    """None: not false since it was last true."""

    def advance(self, truth: str, tick: int) -> str | None:
        """The transition, if any: firing or resolved."""
        if self.starts_at is None:
            if truth != "true":
                return None
            self.starts_at, self.false_for_ms = tick, None
            return "firing"
        if truth == "true":
            self.false_for_ms = None
        elif truth == "false":
            self.false_for_ms = 0 if self.false_for_ms is None else self.false_for_ms + PANE_MS
            if self.false_for_ms >= self.rule.keep_firing_ms:
                return "resolved"
        return None


@dataclass
class Service:
    """What all SLOs of a service share: the freeze, the versions, the latencies."""

    namespace: str
    name: str
    slos: list[Slo] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    versions: Versions = field(default_factory=Versions)
    frozen: bool = False

    @property
    def key(self) -> str:
        return service_key(self.namespace, self.name)

    def observe(self, event: Event, next_tick: int) -> None:
        """``next_tick`` is the first one that was not decided when the event came."""
        self.events.append(event)
        in_time = pane_end(event.ts) >= next_tick
        if event.version is not None and event.track != "shadow" and in_time:
            self.versions.see(pane_end(event.ts), event.version)


def longest_window_ms(slos: Iterable[Slo]) -> int:
    return max(length for slo in slos for length in slo.windows_ms())


def horizon_ms(slos: list[Slo]) -> int:
    """A tick with no event in the last horizon: every window is empty, and was so a minute before."""
    slices = max((slo.objective.slice_ms or 0) for slo in slos)
    return max(longest_window_ms(slos), HOUR_MS) + 3 * HOUR_MS + slices
