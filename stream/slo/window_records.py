"""Panes of state records into the windows of a shard, which may be other ones than those that held them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream.slo.ledger import Ledger
from stream.slo.regrid import Regrid
from stream.slo.windows import Window, longest_by_grid
from stream.window.limbs import WIDTH
from stream.window.sums import PeriodSums
from stream.wire import state
from stream.wire.columns import unpack
from stream.wire.state import decode

Pane = tuple[int, int, bytes]
"""(grid, start, record)."""


def restore_windows(
    ledger: Ledger,
    decided_s: int,
    panes: Iterable[Pane],
    records: Mapping[int, state.RowRecord],
    new_row: NDArray[np.intp],
) -> bool:
    """Fill windows that were moved to the last decided tick, and tell from when on their counts are complete.

    ``records`` are those of the rows that are kept, ``new_row`` has them by the numbers of the panes. Returns
    whether some row holds other panes now.
    """
    objectives = ledger.catalog.objectives
    now = [longest_by_grid(objective) for objective in objectives]
    held: list[list[int]] = [[] for _ in now]
    for row, record in records.items():
        held[row] = now[row] if record.windows is None else record.windows
    regrid = Regrid(ledger.windows, decided_s, held)
    periods = {row: record.period for row, record in records.items() if record.period is not None}
    regrid.sum_up_since({row: start_s for row, (start_s, _) in periods.items()})
    for grid_s, start_s, value in sorted(panes):
        pane = decode(state.PaneRecord, value)
        rows = new_row[unpack(pane.rows)]
        known = rows >= 0
        regrid.put(grid_s, start_s, rows[known], unpack(pane.sums).reshape(-1, WIDTH)[known])
    regrid.finish()
    has_moved = False
    for row, record in records.items():
        before_s, since_s = None, _period_start_s(ledger, objectives[row].window)
        complete_s = regrid.longest_start_s(row)
        if row in periods:
            before_s, sums = periods[row]
            if since_s is not None and since_s <= before_s:
                slot = ledger.windows.slot[row, objectives[row].window]
                ledger.windows.sums[slot] += unpack(sums) - regrid.since(row)
                complete_s = before_s if complete_s is None else min(before_s, complete_s)
        ledger.complete_s[row] = record.complete_s
        if held[row] != now[row] or since_s != before_s:
            has_moved = True
            ledger.complete_s[row] = max(record.complete_s, decided_s if complete_s is None else complete_s)
    return has_moved


def _period_start_s(ledger: Ledger, window: Window) -> int | None:
    """Start of a calendar window's present period."""
    moving = ledger.windows.moving[window]
    return moving.start_s if isinstance(moving, PeriodSums) else None
