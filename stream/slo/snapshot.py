"""A shard as state records, and back (codecs: ``wire/state.py``).

Only what changed since the last snapshot is written: panes by (grid, start), for all rows at once, so that
what a checkpoint costs is bounded by the panes that changed and never by events. What no window reaches any
more is deleted. Sums of windows are not kept: they are added up anew from the panes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from stream.model.names import plainly_joined
from stream.model.objective import PANE_S, Calendar
from stream.sketch import packed_from_bytes, to_bytes
from stream.slo.alerts import Alert, State
from stream.slo.catalog import Catalog, counting_key, counting_key_of_format_3
from stream.slo.evaluator import rule_key
from stream.slo.records import alert_without_rule, freeze_without_slo
from stream.slo.shard import Shard
from stream.slo.slices import Slice
from stream.slo.small_records import SmallRecords
from stream.slo.version_records import restore_versions
from stream.window.history import Cells
from stream.window.limbs import WIDTH
from stream.window.sums import PeriodSums
from stream.wire import state
from stream.wire.columns import pack, unpack
from stream.wire.signal import Signal
from stream.wire.state import PLAIN_NAMES, decode, encode, key, parse_key

Changes = dict[bytes, bytes | None]


class Snapshots:
    """Knows what is stored, to write only what differs. One for each shard."""

    def __init__(
        self, shard: Shard, stored: Mapping[bytes, bytes] | None = None, generation: int = 0
    ) -> None:
        self.shard = shard
        self.generation = generation
        """Of the pane records that count."""
        self._places: dict[str, set[tuple[int, ...]]] = {kind: set() for kind in _LARGE}
        """By kind: the records that are stored; what changed is known where it changes."""
        self._small = SmallRecords(shard)
        for name, value in (stored or {}).items():
            kind, place = parse_key(name)
            if kind in self._places:
                self._places[kind].add(tuple(map(int, place)))
            else:
                self._small.find(kind, name, value)

    def changes(self) -> Changes:
        """Records to write, None to delete; afterwards they count as stored."""
        changes: Changes = {}
        changes.update(self._panes())
        changes.update(self._history())
        changes.update(self._digests())
        changes.update(self._small.changes())
        return changes

    def rewritten_panes(self) -> Iterator[Changes]:
        """All panes anew, some at a time, for their rows have other numbers, or they hold other sums.

        They are of a new generation, which counts from the next :meth:`changes` on, when the shard's record
        names it; if it does not come to that they are found and deleted. Nothing may change meanwhile.
        """
        windows, decided_s = self.shard.ledger.windows, self.shard.ledger.decided_s
        self.shard.ledger.dirty_panes.clear()
        self.generation = 1 + max((_generation(place) for place in self._places["pane"]), default=0)
        part: Changes = {}
        size = 0
        for grid_s in windows.grids() if decided_s is not None else ():
            for start_s in range(windows.oldest_s(grid_s), decided_s or 0, grid_s):
                for name, record in self._pane(grid_s, start_s):
                    part[name] = record
                    size += len(record)
                    if size >= PART_BYTES:
                        yield part
                        part, size = {}, 0
        if part:
            yield part

    def _panes(self) -> Iterator[tuple[bytes, bytes | None]]:
        windows, dirty = self.shard.ledger.windows, self.shard.ledger.dirty_panes
        for grid_s in windows.grids():
            for start_s in sorted({pane * PANE_S // grid_s * grid_s for pane in dirty}):
                yield from self._pane(grid_s, start_s)
        dirty.clear()
        oldest_s = {grid_s: windows.oldest_s(grid_s) for grid_s in windows.grids()}
        for place in list(self._places["pane"]):
            grid_s, start_s = place[:2]
            if start_s < oldest_s.get(grid_s, FAR) or _generation(place) != self.generation:
                self._places["pane"].discard(place)
                yield key("pane", *place), None

    def _pane(self, grid_s: int, start_s: int) -> Iterator[tuple[bytes, bytes]]:
        rows, sums = self.shard.ledger.windows.get_pane(grid_s, start_s)
        if len(rows):
            place = (grid_s, start_s, self.generation)[: 3 if self.generation else 2]
            self._places["pane"].add(place)
            yield key("pane", *place), encode(state.PaneRecord(pack(rows.astype(np.int64)), pack(sums)))

    def _history(self) -> Iterator[tuple[bytes, bytes | None]]:
        history = self.shard.ledger.history
        if not history.longest_s:  # no rule looks at it any more
            history.dirty.update((grid_s, start_s) for grid_s, start_s in self._places["hist"])
        for place in list(history.dirty):
            cells = history.get(place)
            record = cells and state.HistoryRecord(
                pack(cells.pair), pack(cells.weight), pack(cells.bad_weight), cells.unit
            )
            yield from self._large("hist", place, encode(record) if record else None)
        history.dirty.clear()

    def _digests(self) -> Iterator[tuple[bytes, bytes | None]]:
        minutes = self.shard.percentiles.minutes
        for minute in list(minutes.dirty):
            digests = minutes.get(minute)
            yield from self._large("digest", (minute,), None if digests is None else to_bytes(digests))
        minutes.dirty.clear()

    def _large(
        self, kind: str, place: tuple[int, ...], value: bytes | None
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """A record that has changed; None: it is gone, which is told only of what is stored."""
        stored = self._places[kind]
        if value is not None:
            stored.add(place)
        elif place in stored:
            stored.discard(place)
        else:
            return
        yield key(kind, *place), value


_LARGE = ("pane", "hist", "digest")
FAR = 2**62
PART_BYTES = 8 << 20
"""Of records that are written anew, in one transaction: of a second or two on a slow machine."""


def _generation(place: Sequence[str] | Sequence[int]) -> int:
    """Of a pane's record; the first one is not named."""
    return int(place[2]) if len(place) > 2 else 0


def counting_keys(catalog: Catalog) -> list[str]:
    return [counting_key(objective) for objective in catalog.objectives]


def rows_now(catalog: Catalog, record: state.ShardRecord) -> list[str]:
    """Counting keys of the recorded rows as they are made now."""
    if record.version > PLAIN_NAMES:
        return record.rows
    now: dict[str, str] = {}
    for objective in catalog.objectives:
        now.setdefault(counting_key_of_format_3(objective), counting_key(objective))
    return [now.get(key, key) for key in record.rows]


def restore(shard: Shard, record: state.ShardRecord, records: Mapping[bytes, bytes]) -> list[Signal]:
    """Fill an empty shard from state records. Rows whose meaning changed start anew.

    Returns the ends of alerts and freezes that the SLO files no longer know: else they would never end.
    Raises ValueError on records that cannot be read.
    """
    place = {counts: row for row, counts in enumerate(counting_keys(shard.catalog))}
    new_row = np.array([place.get(counts, -1) for counts in rows_now(shard.catalog, record)], np.intp)
    return _Restorer(shard, record, new_row).run(records)


class _Restorer:
    """``new_row`` maps the rows of pane records to the shard's own; −1: gone."""

    def __init__(
        self, shard: Shard, record: state.ShardRecord, new_row: np.ndarray[tuple[int], np.dtype[np.intp]]
    ) -> None:
        self.shard = shard
        self.record = record
        self.new_row = new_row
        self.leftovers: list[Signal] = []

    def run(self, records: Mapping[bytes, bytes]) -> list[Signal]:
        shard, decided_s = self.shard, self.record.decided_s
        shard.resume(decided_s, self.record.newest_s, self.record.coming)
        if decided_s is not None:
            shard.ledger.windows.move_to(decided_s)
            shard.ledger.history.move_to(decided_s)
        self._places_in_time()
        restore_versions(shard.ledger, records)
        kept = {self._name_of(row): row for row in self.new_row.tolist() if row >= 0}
        for name, value in sorted(records.items()):
            kind, place = parse_key(name)
            match kind:
                case "pane" if _generation(place) == self.record.generation:
                    self._pane(int(place[0]), int(place[1]), decode(state.PaneRecord, value))
                case "hist" if shard.ledger.history.longest_s:
                    self._history(int(place[0]), int(place[1]), decode(state.HistoryRecord, value))
                case "digest":
                    shard.percentiles.minutes.add(int(place[0]), packed_from_bytes(value))
                case "pair":
                    self._pair(int(place[0]), decode(state.PairRecord, value))
                case "endpoint":
                    shard.percentiles.restore(int(place[0]), value.decode())
                case "row" if place[0] in kept:
                    self._row(kept[place[0]], decode(state.RowRecord, value))
                case "alert":
                    self._alert(orjson.loads(value))
                case "service":
                    self._service((place[0], place[1]), decode(state.ServiceRecord, value))
                case "pending":
                    self._pending(int(place[0]), decode(state.PendingRecord, value))
        shard.ledger.dirty_panes.clear()
        shard.ledger.history.dirty.clear()
        shard.percentiles.minutes.dirty.clear()
        return self.leftovers

    def _name_of(self, row: int) -> str:
        """By which the row's own record is found."""
        objective = self.shard.catalog.objectives[row]
        if self.record.version > PLAIN_NAMES:
            return objective.identity
        return plainly_joined(objective.namespace, objective.name)

    def _places_in_time(self) -> None:
        known = self.new_row >= 0
        mine, ledger = self.new_row[known], self.shard.ledger
        if len(known):
            ledger.first[mine] = unpack(self.record.first)[known]
            ledger.newest[mine] = unpack(self.record.newest)[known]

    def _pane(self, grid_s: int, start_s: int, record: state.PaneRecord) -> None:
        rows = self.new_row[unpack(record.rows)]
        known = rows >= 0
        sums = unpack(record.sums).reshape(-1, WIDTH)
        self.shard.ledger.windows.put_pane(grid_s, start_s, rows[known], sums[known])

    def _history(self, grid_s: int, start_s: int, record: state.HistoryRecord) -> None:
        cells = Cells(unpack(record.pairs), unpack(record.weights), unpack(record.bad_weights), record.unit)
        self.shard.ledger.history.restore((grid_s, start_s), cells)

    def _pair(self, number: int, record: state.PairRecord) -> None:
        folded = None
        if record.folded is not None:
            rows = self.new_row[np.array(record.folded, np.intp)]
            folded = tuple(rows[rows >= 0].tolist())
        self.shard.ledger.registry.restore(number, record.series, record.column, folded)

    def _row(self, row: int, record: state.RowRecord) -> None:
        ledger, evaluator = self.shard.ledger, self.shard.evaluator
        if record.held_last_minute:
            evaluator.held_last_minute[row] = True
        if record.below_rollback:
            evaluator.below_rollback.add(row)
        alerts = {tuple(a[:3]): Alert(State(a[3]), a[4], a[5]) for a in record.alerts}
        for place in evaluator.rules_of_row.get(row, ()) if alerts else ():
            name = rule_key(evaluator.rules[place][1])
            if name in alerts:
                evaluator.alerts[place] = alerts[name]
        window = self.shard.catalog.objectives[row].window
        if record.period is not None and isinstance(window, Calendar):
            moving = ledger.windows.moving[window]
            assert isinstance(moving, PeriodSums)
            if moving.start_s == record.period[0]:
                ledger.windows.sums[ledger.windows.slot[row, window]] = unpack(record.period[1])
        if row in ledger.slices.length_s:
            for end_s, weight, bad_weight in record.slices:
                ledger.slices.slices.setdefault(end_s, {})[row] = Slice(int(weight), int(bad_weight))

    def _alert(self, announced: dict[str, Any]) -> None:
        """An alert that fires: its rule is in the SLO files and its row is kept, or it ends here."""
        rule = announced["rule"]
        name = announced["namespace"], announced["slo"]
        named = rule["window_s"], rule["short_window_s"], rule["burn_rate_threshold"]
        for place, (row, known) in enumerate(self.shard.evaluator.rules):
            objective = self.shard.catalog.objectives[row]
            if (
                (objective.namespace, objective.name) == name
                and (known.window_s, known.short_window_s, float(known.threshold)) == named
                and row in self.new_row
            ):
                self.shard.evaluator.announced[place] = announced
                return
        self.leftovers.append(alert_without_rule(announced, self.record.decided_s or 0))

    def _service(self, service: tuple[str, str], record: state.ServiceRecord) -> None:
        if not record.frozen:
            return
        if service in self.shard.catalog.services:
            self.shard.evaluator.frozen.add(service)
        else:
            self.leftovers.append(freeze_without_slo(service, self.record.decided_s or 0))

    def _pending(self, pane: int, record: state.PendingRecord) -> None:
        rows = self.new_row[unpack(record.rows)]
        known = rows >= 0
        if known.any():
            sums = unpack(record.sums).reshape(-1, WIDTH)
            self.shard.ledger.pending.setdefault(pane, []).append((rows[known].astype(np.int64), sums[known]))
        for namespace, service, version, _ in record.versions:
            self.shard.ledger.put_version((namespace, service, version, pane), 1)
        for namespace, service, version, events in record.sightings:
            self.shard.ledger.put_version((namespace, service, version, pane), events)
