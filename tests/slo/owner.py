"""The owner of one partition, pane by pane, through edits of its SLO files: requests in, records out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stream.model.objective import Objective
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.keeper import Keeper
from stream.slo.lexicon import Lexicon
from stream.wire.partial import encode_reports
from stream.wire.signal import Signal

PANE_MS = 10_000
LATENESS_MS = 5_000
Record = dict[str, Any]
_NOBODY = {"service": "nobody", "status": 200}


class Owner:
    """Requests lie in the middle of their pane, so that they let the tick at its beginning be decided."""

    def __init__(self, objectives: Sequence[Objective], now_ms: int) -> None:
        self.now_ms = now_ms // PANE_MS * PANE_MS
        """Where the next pane begins."""
        self.signals: list[Signal] = []
        self.state: dict[bytes, bytes] = {}
        self._catalog = Catalog(objectives)
        self._lexicon = Lexicon(self._catalog)
        self._intake = Intake(0, 1, 0, 1, self._lexicon, LATENESS_MS)
        self.keeper = Keeper(self._catalog, 100)
        self._sent = 0

    def records(self, topic: str, since: int = 0) -> list[Record]:
        return [signal.value for signal in self.signals[since:] if signal.topic == topic]

    def pane(self, good: int = 0, bad: int = 0, service: str = "payment", **more: object) -> None:
        """The next ten seconds; one request that no SLO looks at is always there, so that time goes on."""
        ts = self.now_ms + LATENESS_MS
        requests = [{"service": service, "status": 200}] * good + [{"service": service, "status": 500}] * bad
        self._feed([{"ts": ts, "namespace": "shop", **one, **more} for one in [*requests, _NOBODY]], ts)
        if (sent := self._intake.flush()) is not None:
            self._take(sent)
        self.now_ms += PANE_MS
        self.signals += self.keeper.advance(1)

    def panes(self, count: int, good: int = 0, bad: int = 0, service: str = "payment") -> None:
        for _ in range(count):
            self.pane(good, bad, service)

    def skip(self, seconds: int) -> None:
        """Nothing comes for so long."""
        self.now_ms += seconds * 1000

    def _feed(self, events: list[Record], ts: int) -> None:
        at, values = self._intake.end, [json.dumps(event).encode() for event in events]
        end, stamps = at + len(values), [ts] * len(values)
        for sending in self._intake.feed(at, end, range(at, end), stamps, values, self._lexicon):
            if isinstance(sending, Sending):
                self._take(sending)

    def _take(self, sending: Sending) -> None:
        for message in sending.messages.values() or [encode_reports([sending.report])]:
            self.keeper.apply(message, self._sent, self.now_ms + PANE_MS)
            self._sent += 1

    def checkpoint(self) -> None:
        for name, value in self.keeper.changes().items():
            if value is None:
                self.state.pop(name, None)
            else:
                self.state[name] = value

    def restart(self, objectives: Sequence[Objective] | None = None) -> None:
        """From the state, with other SLO files or the same."""
        self.checkpoint()
        if objectives is not None:
            self._catalog = Catalog(objectives)
            self._lexicon = Lexicon(self._catalog)
        self.keeper = Keeper(self._catalog, 100, self.state)
        self.signals += self.keeper.leftovers
