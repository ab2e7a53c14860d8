"""The life of an alert, as a table (contract, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stream.model.objective import PANE_S


class Verdict(Enum):
    """What a rule says at a tick."""

    TRUE = "true"
    FALSE = "false"
    FROZEN = "frozen"
    """A window holds no event: there is nothing to decide on."""


class State(Enum):
    INACTIVE = "inactive"
    FIRING = "firing"
    CLEARING = "clearing"
    """Firing still, but false since some ticks."""


class Action(Enum):
    NONE = "none"
    FIRE = "fire"
    """Announce; starts_at is this tick."""
    START_CLEARING = "start clearing"
    """The first false tick: the time being false starts at nothing."""
    KEEP_CLEARING = "keep clearing"
    """One more false tick: the time being false grows by a pane."""


TRANSITIONS: dict[tuple[State, Verdict], tuple[State, Action]] = {
    (State.INACTIVE, Verdict.TRUE): (State.FIRING, Action.FIRE),
    (State.INACTIVE, Verdict.FALSE): (State.INACTIVE, Action.NONE),
    (State.INACTIVE, Verdict.FROZEN): (State.INACTIVE, Action.NONE),
    (State.FIRING, Verdict.TRUE): (State.FIRING, Action.NONE),
    (State.FIRING, Verdict.FALSE): (State.CLEARING, Action.START_CLEARING),
    (State.FIRING, Verdict.FROZEN): (State.FIRING, Action.NONE),
    (State.CLEARING, Verdict.TRUE): (State.FIRING, Action.NONE),
    (State.CLEARING, Verdict.FALSE): (State.CLEARING, Action.KEEP_CLEARING),
    (State.CLEARING, Verdict.FROZEN): (State.CLEARING, Action.NONE),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule's alert; times in epoch seconds."""

    state: State = State.INACTIVE
    starts_at_s: int = 0
    false_for_s: int = 0


INACTIVE = Alert()


class Change(Enum):
    """What a step makes known."""

    FIRED = "firing"
    RESOLVED = "resolved"


def step(alert: Alert, verdict: Verdict, tick_s: int, keep_firing_for_ms: int) -> tuple[Alert, Change | None]:
    """The alert after a tick, and what has to be announced.

    A resolved alert comes back inactive; its ``starts_at_s`` is the caller's to keep for the record.
    """
    state, action = TRANSITIONS[alert.state, verdict]
    if action is Action.FIRE:
        return Alert(state, tick_s), Change.FIRED
    if action in (Action.START_CLEARING, Action.KEEP_CLEARING):
        false_for_s = alert.false_for_s + PANE_S if action is Action.KEEP_CLEARING else 0
        if false_for_s * 1000 >= keep_firing_for_ms:
            return INACTIVE, Change.RESOLVED
        return Alert(state, alert.starts_at_s, false_for_s), None
    if state is alert.state:
        return alert, None
    return Alert(state, alert.starts_at_s), None
