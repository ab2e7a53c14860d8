"""Small state records of a shard: SLOs, alerts, services, what waits for its tick, and names by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.model.objective import Calendar
from stream.slo.evaluator import rule_key
from stream.slo.registry import Rows
from stream.slo.shard import Shard
from stream.slo.version_records import VersionRecords
from stream.slo.windows import longest_by_grid
from stream.window.limbs import WIDTH
from stream.window.sums import PeriodSums
from stream.wire import state
from stream.wire.columns import pack
from stream.wire.frame import SeriesKey
from stream.wire.state import encode
from stream.wire.stored import Place, Stored
from stream.wire.tally import EndpointKey

Pair = tuple[SeriesKey, str, Rows | None]


class SmallRecords:
    """Tells which of them differ from those stored. One for each shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._row_changes = RowChanges(shard)
        self._rows: Stored[state.RowRecord] = Stored("row", encode)
        self._alerts: Stored[bytes] = Stored("alert", bytes)
        self._services: Stored[state.ServiceRecord] = Stored("service", encode)
        self._pending: Stored[state.PendingRecord] = Stored("pending", encode)
        self._pairs: Stored[Pair] = Stored("pair", _encode_pair)
        self._endpoints: Stored[EndpointKey] = Stored("endpoint", _encode_endpoint)
        self._versions = VersionRecords(shard.ledger)

    def find(self, kind: str, name: bytes, value: bytes) -> None:
        """A record that an earlier owner has stored; kinds that are not of these are passed over."""
        kinds = (self._rows, self._alerts, self._services, self._pending, self._pairs, self._endpoints)
        for stored in kinds:
            if stored.kind == kind:
                stored.find(name, value)
        self._versions.find(kind, name)

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write, None to delete; afterwards they count as stored."""
        shard = self._shard
        yield from self._rows.changed(self._row_changes.take())
        yield from self._alerts.all(_announced(shard))
        yield from self._services.all(_services(shard))
        yield from self._pending.all(_pending(shard))
        yield from self._pairs.all(((number,), pair) for number, pair in shard.ledger.registry.named())
        yield from self._endpoints.all(((number,), name) for number, name in shard.percentiles.named())
        yield from self._versions.changes()


def _encode_pair(pair: Pair) -> bytes:
    series, column, rows = pair
    return encode(state.PairRecord(series, column, None if rows is None else list(rows)))


def _encode_endpoint(endpoint: EndpointKey) -> bytes:
    return "\0".join(endpoint).encode()


AlertState = tuple[int, int | None, str, str, int, int]


def _alerts_by_row(shard: Shard) -> dict[int, list[AlertState]]:
    """Alerts that are not inactive, in the order of their rules."""
    found: dict[int, list[AlertState]] = {}
    for place, alert in sorted(shard.evaluator.alerts.items()):
        row, rule = shard.evaluator.rules[place]
        one = (*rule_key(rule), alert.state.value, alert.starts_at_s, alert.false_for_s)
        found.setdefault(row, []).append(one)
    return found


class RowChanges:
    """The records of SLOs that may have changed: between two checkpoints most have not."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._restless = {
            row
            for row, objective in enumerate(shard.catalog.objectives)
            if objective.slices or isinstance(objective.window, Calendar)
        }
        """Rows whose records hold counts."""
        self._before: tuple[NDArray[np.bool_], NDArray[np.bool_], set[int]] | None = None
        """What the last ones said: the time window held an event, below the rollback's threshold, alerts."""
        self._decided_by: list[str] | None = None

    def take(self) -> Iterator[tuple[Place, state.RowRecord]]:
        evaluator, objectives = self._shard.evaluator, self._shard.catalog.objectives
        alerts = _alerts_by_row(self._shard)
        now = evaluator.held_last_minute, evaluator.policies.rollback.past, set(alerts)
        rows: Iterable[int] = range(len(objectives))
        if self._before is not None and self._decided_by is evaluator.policies.decided_by:
            held, below, alerting = self._before
            rows = {*np.flatnonzero((now[0] != held) | (now[1] != below)).tolist(), *(now[2] | alerting)}
            rows = sorted(rows | self._restless)
        self._before, self._decided_by = (now[0].copy(), now[1].copy(), now[2]), evaluator.policies.decided_by
        for row in rows:
            yield (objectives[row].identity,), _row(self._shard, row, alerts.get(row, []))


def _row(shard: Shard, row: int, alerts: list[AlertState]) -> state.RowRecord:
    ledger, evaluator = shard.ledger, shard.evaluator
    objective = shard.catalog.objectives[row]
    period = None
    if isinstance(objective.window, Calendar):
        moving = ledger.windows.moving[objective.window]
        assert isinstance(moving, PeriodSums)
        if moving.start_s is not None:
            period = moving.start_s, pack(ledger.windows.sums[ledger.windows.slot[row, objective.window]])
    return state.RowRecord(
        held_last_minute=bool(evaluator.held_last_minute[row]),
        below_rollback=bool(evaluator.policies.rollback.past[row]),
        alerts=alerts,
        period=period,
        slices=[
            (end_s, str(rows[row].weight), str(rows[row].bad_weight))
            for end_s, rows in sorted(ledger.slices.slices.items())
            if row in rows
        ],
        decided_by=evaluator.policies.decided_by[row],
        windows=longest_by_grid(objective),
        complete_s=int(ledger.complete_s[row]),
    )


def _announced(shard: Shard) -> Iterator[tuple[Place, bytes]]:
    for announced in shard.evaluator.announced.values():
        yield (str(announced["id"]),), orjson.dumps(announced)


def _services(shard: Shard) -> Iterator[tuple[Place, state.ServiceRecord]]:
    policies = shard.evaluator.policies
    under = policies.under()
    for service in shard.catalog.services:
        names = sorted(under.get(service, ()))
        yield service, state.ServiceRecord(service in policies.frozen, under=names)


def _pending(shard: Shard) -> Iterator[tuple[Place, state.PendingRecord]]:
    ledger = shard.ledger
    for pane in ledger.pending.keys() | ledger.pending_versions.keys():
        parts = ledger.pending.get(pane, [])
        rows = np.concatenate([rows for rows, _ in parts]) if parts else np.empty(0, np.int64)
        sums = np.concatenate([sums for _, sums in parts]) if parts else np.empty((0, WIDTH), np.int64)
        sightings = [
            (*service, version, events)
            for service, versions in ledger.pending_versions.get(pane, {}).items()
            for version, events in versions.items()
        ]
        yield (pane,), state.PendingRecord(pack(rows.astype(np.int64)), pack(sums), sightings=sightings)
