"""What happened, in the end: told from the signals, and checked against what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.text import Text

from stream.console import canaries, text
from stream.console.board import Board, Kind
from stream.demo import pasting
from stream.load.shop import PAYMENT
from stream.load.story import PLANS, RELEASE_FAULT, Plan, Story
from stream.model.names import service_key
from stream.words import counted


@dataclass(frozen=True, slots=True)
class Count:
    """A service's events before the end of the story: as sent, and as the worker counted them."""

    service: str
    sent: int
    counted: float | None
    """None when no objective of the service was decided at the end of the story."""


def counts(board: Board, end_ms: int, sent: Counter[str]) -> list[Count]:
    """Compare each service's events with the totals of its objectives as of ``end_ms``.

    That the shop's objectives count every event, over a window longer than the story, makes them equal.
    """
    found = []
    for service, number in sorted(sent.items()):
        totals = {
            row.total
            for row in board.objectives.values()
            if row.service == service and row.evaluated_ms == end_ms
        }
        wrong = totals - {number}
        counted = None if not totals else float(max(wrong) if wrong else number)
        found.append(Count(service, number, counted))
    return found


class Summary:
    """The end of the demo as text. ``complete``: incident and canaries were seen whole, and every event was
    counted."""

    def __init__(self, board: Board, story: Story, end_ms: int, sent: Counter[str]) -> None:
        self._board = board
        self._story = story
        self._end_ms = end_ms
        self._counts = counts(board, end_ms, sent)
        self._missing: list[str] = []
        self._lines = [*self._incident(), *self._canaries(), *budgets(board), Text(""), *self._counting()]

    @property
    def complete(self) -> bool:
        """Whether nothing of the story is missing from the signals."""
        return not self._missing

    def lines(self) -> list[Text]:
        """All of it, faults last."""
        missing = [Text(f"  missing: {what}", "bold red") for what in self._missing]
        return [*self._lines, *([Text(""), *missing] if missing else [])]

    def _incident(self) -> list[Text]:
        fault_ms = self._story.fault_ms(PAYMENT, self._end_ms)
        release = self._story.version(PAYMENT, self._end_ms)
        lines = [_title("What happened (event time)")]
        lines.append(_line(fault_ms, f"{PAYMENT} {release} began to fail on {RELEASE_FAULT.endpoint}"))
        lines += self._detection(fault_ms, release)
        lines += self._consequences(release)
        lines += self._recovery(fault_ms)
        return [*lines, Text("")]

    def _detection(self, fault_ms: int, release: str) -> list[Text]:
        firing = [alert for alert in self._board.alerts if alert["state"] == "firing"]
        early = [alert for alert in firing if text.epoch_ms(alert["starts_at"]) <= fault_ms]
        self._missing += [f"{alert['slo']} fired before the incident" for alert in early]
        found = [alert for alert in firing if alert not in early and alert["service"] == PAYMENT]
        if not found:
            self._missing.append("an alert")
            return []
        first = min(found, key=lambda alert: text.epoch_ms(alert["starts_at"]))
        at_ms, rule = text.epoch_ms(first["starts_at"]), first["rule"]
        lines = [
            _line(
                at_ms,
                f"detected after {text.duration((at_ms - fault_ms) / 1000)}: {first['slo']} burns "
                f"{text.burn(first['burn_rate']['long'])} over {text.window(rule['window_s'])} "
                f"({first['severity']}, above {rule['burn_rate_threshold']:g}×)",
            )
        ]
        named = [
            f"{one['method']} {one['endpoint']}, version {one['version']}" for one in first["contributors"]
        ]
        if named:
            share = first["contributors"][0]["share"]
            lines.append(_line(None, f"{share * 100:.0f} % of its bad requests: {named[0]}"))
        if named[:1] != [f"{RELEASE_FAULT.endpoint}, version {release}"]:
            self._missing.append("the faulty endpoint and release as the alert's main contributor")
        return lines

    def _consequences(self, release: str) -> list[Text]:
        lines = []
        frozen = [record for record in self._board.freezes if record["state"] == "frozen"]
        for record in frozen:
            reason = record["reasons"][0]
            left = text.percent(reason["budget_remaining_pct"])
            since_ms = text.epoch_ms(record["since"])
            lines.append(_line(since_ms, f"deploys of {record['service']} frozen, {left} of the budget left"))
        for record in self._board.rollbacks:
            if record.get("cause") == "canary":
                continue
            left = text.percent(record["budget_remaining_pct"])
            at_ms = text.epoch_ms(record["evaluated_at"])
            change = f"{record['version']} to {record['previous_version']}"
            lines.append(
                _line(at_ms, f"rollback of {record['service']} from {change}, {left} of the budget left")
            )
        if PAYMENT not in {record["service"] for record in frozen}:
            self._missing.append(f"the freeze of {PAYMENT}")
        if (PAYMENT, release) not in {(one["service"], one["version"]) for one in self._board.rollbacks}:
            self._missing.append(f"the rollback of {PAYMENT} {release}")
        back_ms = self._story.end_ms(PAYMENT, self._end_ms)
        lines.append(_line(back_ms, f"the shop has taken {release} back"))
        return lines

    def _recovery(self, fault_ms: int) -> list[Text]:
        resolved = [happening for happening in self._board.happenings if happening.kind is Kind.RESOLVED]
        still = [row.name for row in self._board.objectives.values() if row.firing]
        self._missing += [f"the end of the alert of {name}" for name in still]
        if still or not resolved:
            return []
        last_ms = max(happening.at_ms for happening in resolved)
        lasted = text.duration((last_ms - fault_ms) / 1000)
        return [_line(last_ms, f"the last alert resolved, {lasted} after the first failure")]

    def _canaries(self) -> list[Text]:
        lines = [_title("Canaries (event time)")]
        for plan in PLANS.values():
            if plan.verdict is not None:
                lines += self._canary(plan, plan.verdict)
        return [*lines, Text("")]

    def _canary(self, plan: Plan, wanted: str) -> list[Text]:
        service, version = plan.service, self._story.version(plan.service, self._end_ms)
        name, share = f"{service} {version}", plan.stages[0][1]
        start_ms, end_ms = (of(service, self._end_ms) for of in (self._story.start_of, self._story.end_ms))
        lines = [_line(start_ms, f"{name} on trial at {share * 100:g} % of {plan.requests}")]
        what = plan.fault or "is as good as the version before it"
        lines.append(_line(None, f"which {what}"))
        said = [
            one
            for one in self._board.verdicts
            if (one["service"], one["canary"]["version"], one["verdict"]) == (service, version, wanted)
        ]
        if not said:
            self._missing.append(f"the verdict {wanted} on {name}")
            return lines
        first = said[0]
        at_ms, took = text.epoch_ms(first["evaluated_at"]), text.duration(canaries.judged_s(first))
        worse = [one for one in first["metrics"] if one["classification"] == "worse"]
        others = [one for one in first["metrics"] if one["classification"] != "worse"]
        shown = ", ".join(canaries.effect(one) for one in worse or others)
        lines.append(_line(at_ms, f"{wanted} after {took}: {shown}"))
        if plan.fault is None:
            lines.append(_line(end_ms, f"the shop has promoted {version}"))
            return lines
        if [one["name"] for one in worse] != ["latency-p99"]:
            self._missing.append(f"the slow tail as the only harm that {name} does")
        if (service, version) not in {(one["service"], one["version"]) for one in self._board.rollbacks}:
            self._missing.append(f"the rollback of {name}")
        if any(alert["service"] == service for alert in self._board.alerts):
            self._missing.append(f"the silence of {service}'s alerts")
        else:
            lines.append(_line(None, f"no alert of {service} fired: its SLOs are met"))
        lines.append(_line(end_ms, f"the shop has taken {version} back"))
        return lines

    def _counting(self) -> list[Text]:
        sent = sum(one.sent for one in self._counts)
        wrong = [one for one in self._counts if one.counted != one.sent]
        for one in wrong:
            found = "no" if one.counted is None else text.count(one.counted)
            self._missing.append(f"{one.service}: {text.count(one.sent)} events sent, {found} counted")
        if self._board.dead_letters:
            self._missing.append(f"{counted(self._board.dead_letters.total(), 'event')} became dead letters")
        verdict = "all of them counted, each once" if not wrong else "not all of them counted"
        return [_title("Events"), Text(f"  {text.count(sent)} sent in the hour, {verdict}")]


def so_far(board: Board, start_ms: int, told_ms: int, sent: int) -> list[Text]:
    """What there is to say when the story is left in its midst."""
    lines = [Text(""), _title(f"Stopped after {text.duration((told_ms - start_ms) / 1000)} of the hour")]
    told = [one for one in board.happenings if one.kind is not Kind.NOTE]
    for happening in sorted(told, key=lambda one: one.at_ms):
        lines.append(_line(happening.at_ms, f"{happening.kind.upper():<8}  {happening.text}"))
    lines += [Text(""), *budgets(board)] if board.objectives else []
    decided = "" if board.decided_ms is None else f", decided up to {text.clock(board.decided_ms)}"
    return [*lines, Text(""), _title("Events"), Text(f"  {text.count(sent)} sent{decided}")]


def budgets(board: Board) -> list[Text]:
    """What is left of each."""
    rows = board.objectives.values()
    width = max((len(row.name) for row in rows), default=0)
    lines = [_title("Error budgets left")]
    for row in rows:
        service = board.services[service_key(row.namespace, row.service)]
        frozen = ", deploys stay frozen until it recovers" if service.frozen_since_ms else ""
        at_fault = any(reason["slo"] == row.name for record in board.freezes for reason in record["reasons"])
        note = frozen if at_fault else ""
        lines.append(Text(f"  {row.name:<{width}}  {text.percent(row.remaining_pct):>7}{note}"))
    return lines


def what_next(metrics_url: str, *, runs: bool) -> list[Text]:
    """Where to go from here."""
    burngate, slos = pasting.command(), pasting.slos()
    metrics = (
        metrics_url if runs else "http://HOST:9108/metrics while a worker runs; here with --keep-running"
    )
    return [
        Text(""),
        _title("Next"),
        Text(f"  on your own Kafka   {burngate} worker --brokers HOST:PORT --slos {slos}"),
        Text(f"  check SLO files     {burngate} validate {slos}"),
        Text(f"  try one on a file   {burngate} replay --slos {slos} --input FILE --output out"),
        Text(f"  metrics             {metrics}"),
    ]


def _title(line: str) -> Text:
    return Text(line, "bold")


def _line(at_ms: int | None, line: str) -> Text:
    return Text(f"  {text.clock(at_ms) if at_ms is not None else '':<8}  {line}")
