"""Section 6: lines in, topics out; sections 3 (what is decided when) and 5 (order) are its frame."""

from __future__ import annotations

from collections.abc import Sequence

from . import records
from .clock import MINUTE_MS, PANE_MS, down, pane_end, up, window_start
from .decisions import Alert, AsOf, Service, Slo, horizon_ms, longest_window_ms
from .events import Refused, parse_event
from .names import service_key, slo_key
from .objectives import parse_objectives
from .records import TOPICS, Record
from .versions import parse_deploys


def replay(
    slo_text: str, lines: list[bytes], lateness_ms: int = 5000, deploys: Sequence[bytes] = ()
) -> dict[str, list[Record]]:
    """Topic → records in the contract's order. ``lines`` and ``deploys`` without their line feed."""
    run = _Run(slo_text, lateness_ms, deploys)
    for line_number, line in enumerate(lines, start=1):
        run.read(line_number, line.removesuffix(b"\r"))
    run.finish()
    return run.output


class _Run:
    def __init__(self, slo_text: str, lateness_ms: int, deploys: Sequence[bytes]) -> None:
        self.lateness_ms = lateness_ms
        self.slos = [Slo(objective) for objective in parse_objectives(slo_text)]
        self.services: dict[tuple[str, str], Service] = {}
        for slo in self.slos:
            slo.alerts = [Alert(rule) for rule in slo.objective.rules]
            identity = (slo.objective.namespace, slo.objective.service)
            self.services.setdefault(identity, Service(*identity)).slos.append(slo)
        for told in parse_deploys(deploys):
            if told.service in self.services and told.version is not None:
                self.services[told.service].versions.named.append((told.counts_at, told.version))
        self.longest_ms = longest_window_ms(self.slos)
        self.horizon_ms = horizon_ms(self.slos)
        self.largest_ts: int | None = None
        self.next_tick = 0
        self.output: dict[str, list[Record]] = {topic: [] for topic in TOPICS}

    # ---- section 3: the watermark

    @property
    def watermark(self) -> int | None:
        return None if self.largest_ts is None else self.largest_ts - self.lateness_ms

    def read(self, line_number: int, line: bytes) -> None:
        """Blank lines are skipped but numbered; a bad line never moves the watermark."""
        if not line.strip():
            return
        try:
            event = parse_event(line)
        except Refused:
            self.output["dead-letters"].append(records.dead_letter(line, line_number, self.watermark))
            return
        if self._too_late(event.ts):
            return
        if self.largest_ts is None:
            self.next_tick = up(event.ts - self.lateness_ms + 1, PANE_MS)
        self.largest_ts = max(event.ts, self.largest_ts or 0)
        assert self.watermark is not None
        service = self.services.get((event.namespace, event.service))
        if service is not None:
            service.observe(event, self.next_tick)
            for slo in service.slos:
                slo.observe(event, self.watermark)
        self.decide(self.watermark)

    def _too_late(self, ts: int) -> bool:
        """The pane ends at or before floor(watermark − the longest window of any SLO, its grid)."""
        return self.watermark is not None and pane_end(ts) <= window_start(self.watermark, self.longest_ms)

    def finish(self) -> None:
        """After the last line, time advances to the first tick ≥ the largest ts + 1 ms."""
        if self.largest_ts is not None:
            self.decide(up(self.largest_ts + 1, PANE_MS))

    def decide(self, until: int) -> None:
        """Every tick is decided once the watermark reaches it; stretches with nothing due are skipped."""
        while self.next_tick <= until:
            if self._is_quiet(self.next_tick):
                self.next_tick = self._next_due(self.next_tick, until)
                if self.next_tick > until:
                    break
            self._tick(self.next_tick)
            self.next_tick += PANE_MS

    def _arrived(self) -> list[int]:
        return [event.ts for service in self.services.values() for event in service.events]

    def _is_quiet(self, tick: int) -> bool:
        return not any(tick - self.horizon_ms <= ts < tick for ts in self._arrived())

    def _next_due(self, tick: int, until: int) -> int:
        """The next tick that sees an event, or forgets an SLO; the first after ``until`` if there is none."""
        seen = [pane_end(ts) for ts in self._arrived() if ts >= tick]
        forgotten = [max(due, tick) for slo in self.slos if (due := slo.forget_tick(tick)) is not None]
        return min([*seen, *forgotten, down(until, PANE_MS) + PANE_MS])

    # ---- section 4 at one tick

    def _tick(self, tick: int) -> None:
        for service in sorted(self.services.values(), key=lambda service: service.key):
            states = [AsOf(slo, tick) for slo in service.slos]
            for state in states:
                self._alerts(state)
            self._freeze(service, states, tick)
            for state in states:
                self._rollback(service, state)
            service.versions.forget(tick)
        if tick % MINUTE_MS == 0:
            for service in sorted(
                self.services.values(), key=lambda s: service_key(s.namespace, s.name, True)
            ):
                self.output["latency-percentiles"] += records.percentiles(service, tick)
        self._budgets(tick)

    def _alerts(self, state: AsOf) -> None:
        """Alert records; at the forgetting tick every firing alert resolves."""
        slo, tick = state.slo, state.tick
        due_at = slo.forget_tick(seen_by=tick)
        due = due_at is not None and due_at <= tick
        for life in slo.alerts:
            if due:
                transition = "resolved" if life.starts_at is not None else None
            else:
                transition = life.advance(state.truth(life.rule), tick)
            if transition is not None:
                self.output["slo-alerts"].append(records.alert(state, life, transition))
            if transition == "resolved":
                life.starts_at = None
        if due:
            slo.forget(tick)

    def _freeze(self, service: Service, states: list[AsOf], tick: int) -> None:
        """Frozen while any SLO is under its threshold; a record per transition."""
        for state in states:
            state.slo.freeze.advance(state, state.slo.objective.freeze_below)
        offenders = [state for state in states if state.slo.freeze.on]
        if bool(offenders) != service.frozen:
            service.frozen = bool(offenders)
            self.output["deploy-freezes"].append(records.freeze(service, tick, offenders))

    def _rollback(self, service: Service, state: AsOf) -> None:
        """One record each time remaining_pct falls below the threshold, armed again once it has recovered."""
        if state.slo.rollback.advance(state, state.slo.objective.rollback_below):
            record = records.rollback(service, state)
            self.output["deploy-rollbacks"].append(record)
            if record["version"] is not None:
                service.versions.named.append((state.tick, record["version"]))

    def _budgets(self, tick: int) -> None:
        """At whole minutes at which the time window holds a counted event, or held one a minute before."""
        if tick % MINUTE_MS:
            return
        for slo in sorted(self.slos, key=lambda slo: slo_key(slo.objective.namespace, slo.objective.name)):
            state = AsOf(slo, tick)
            slo.held_at[tick] = state.budgeted.n > 0
            if slo.held_at[tick] or slo.held_at.get(tick - MINUTE_MS, False):
                self.output["slo-budgets"].append(records.budget(state))
