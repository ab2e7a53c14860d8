"""A shard as state records, and back (codecs: ``wire/state.py``).

Only what changed since the last snapshot is written: panes by (grid, start), for all rows at once, so that
what a checkpoint costs is bounded by the panes that changed and never by events. What no window reaches any
more is deleted. Sums of windows are not kept: they are added up anew from the panes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from stream.model.names import identity, plainly_joined
from stream.model.objective import PANE_S
from stream.sketch import packed_from_bytes, to_bytes
from stream.slo.alerts import Alert, State
from stream.slo.catalog import Catalog, counting_key, counting_key_of_format_3
from stream.slo.evaluator import rule_key
from stream.slo.records import alert_without_rule, freeze_without_slo
from stream.slo.shard import Shard
from stream.slo.slices import Slice
from stream.slo.small_records import SmallRecords
from stream.slo.version_records import restore_versions
from stream.slo.window_records import Pane, restore_windows
from stream.window.history import Cells
from stream.window.limbs import WIDTH
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


@dataclass(frozen=True, slots=True)
class Restored:
    leftovers: list[Signal]
    """The ends of alerts and freezes that the SLO files no longer know: else they would never end."""
    is_other: bool
    """Whether the panes number other rows, or hold them by other windows, than the shard: all have to be
    written anew."""


def restore(shard: Shard, record: state.ShardRecord, records: Mapping[bytes, bytes]) -> Restored:
    """Fill an empty shard from state records. Rows whose meaning changed start anew.

    Raises ValueError on records that cannot be read.
    """
    names = counting_keys(shard.catalog)
    place = {counts: row for row, counts in enumerate(names)}
    recorded = rows_now(shard.catalog, record)
    new_row = np.array([place.get(counts, -1) for counts in recorded], np.intp)
    restorer = _Restorer(shard, record, new_row)
    restorer.run(records)
    return Restored(restorer.leftovers, recorded != names or restorer.has_moved)


class _Restorer:
    """``new_row`` maps the rows of pane records to the shard's own; −1: gone."""

    def __init__(
        self, shard: Shard, record: state.ShardRecord, new_row: np.ndarray[tuple[int], np.dtype[np.intp]]
    ) -> None:
        self.shard = shard
        self.record = record
        self.new_row = new_row
        self.leftovers: list[Signal] = []
        self._kept = {self._name_of(row): row for row in new_row.tolist() if row >= 0}
        self.has_moved = False
        """Whether a row holds other panes than the records do."""
        self._of_version_3: list[tuple[str, str]] = []
        """Services that are frozen, of which it is not known by which SLOs."""

    def run(self, records: Mapping[bytes, bytes]) -> None:
        shard, decided_s = self.shard, self.record.decided_s
        shard.resume(decided_s, self.record.newest_s, self.record.coming)
        if decided_s is not None:
            shard.ledger.windows.move_to(decided_s)
            shard.ledger.history.move_to(decided_s)
        self._places_in_time()
        restore_versions(shard.ledger, records)
        panes: list[Pane] = []
        rows: dict[int, state.RowRecord] = {}
        for name, value in sorted(records.items()):
            kind, place = parse_key(name)
            match kind:
                case "pane" if _generation(place) == self.record.generation:
                    panes.append((int(place[0]), int(place[1]), value))
                case "hist" if shard.ledger.history.longest_s:
                    self._history(int(place[0]), int(place[1]), decode(state.HistoryRecord, value))
                case "digest":
                    shard.percentiles.minutes.add(int(place[0]), packed_from_bytes(value))
                case "pair":
                    self._pair(int(place[0]), decode(state.PairRecord, value))
                case "endpoint":
                    shard.percentiles.restore(int(place[0]), value.decode())
                case "row" if place[0] in self._kept:
                    row = self._kept[place[0]]
                    rows[row] = decode(state.RowRecord, value)
                    self._row(row, rows[row])
                case "alert":
                    self._alert(orjson.loads(value))
                case "service":
                    self._service((place[0], place[1]), decode(state.ServiceRecord, value))
                case "pending":
                    self._pending(int(place[0]), decode(state.PendingRecord, value))
        if decided_s is not None:
            self.has_moved = restore_windows(shard.ledger, decided_s, panes, rows, self.new_row)
            self._migrate_freezes(decided_s)
        shard.ledger.dirty_panes.clear()
        shard.ledger.history.dirty.clear()
        shard.percentiles.minutes.dirty.clear()

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
        policies = evaluator.policies
        policies.rollback.past[row] = record.below_rollback
        # Version 3 does not tell: its SLOs were decided, by what the files say now as far as anybody knows.
        is_told = self.record.version > 3
        policies.decided_by[row] = record.decided_by if is_told else policies.rules[row]
        policies.edited[row] = record.decided_by not in ("", policies.rules[row])
        alerts = {tuple(a[:3]): Alert(State(a[3]), a[4], a[5]) for a in record.alerts}
        for place in evaluator.rules_of_row.get(row, ()) if alerts else ():
            name = rule_key(evaluator.rules[place][1])
            if name in alerts:
                evaluator.alerts[place] = alerts[name]
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
        if service in self.shard.catalog.services:
            if record.frozen:
                self.shard.evaluator.policies.frozen.add(service)
            if record.under is None:
                self._of_version_3 += [service] if record.frozen else []
            for name in record.under or ():
                self._under(service, name)
        elif record.frozen:
            self.leftovers.append(freeze_without_slo(service, self.record.decided_s or 0))

    def _under(self, service: tuple[str, str], name: str) -> None:
        """An SLO that is under its freeze threshold; it may be gone, or have started anew and never been
        decided."""
        policies = self.shard.evaluator.policies
        row = self._kept.get(identity(service[0], name))
        if row is not None and policies.decided_by[row]:
            policies.freeze.past[row] = True
        else:
            policies.gone.setdefault(service, set()).add(name)

    def _migrate_freezes(self, decided_s: int) -> None:
        """Version 3 kept no state by SLO: those of a frozen service are under that have not recovered."""
        evaluator = self.shard.evaluator
        rows = [row for service in self._of_version_3 for row in self.shard.catalog.services[service]]
        for row, now in zip(rows, evaluator.reader.read(rows, decided_s), strict=True):
            gate = now.plan.freeze
            evaluator.policies.freeze.past[row] = gate is not None and now.budget.below(gate.until)

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
