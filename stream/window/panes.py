"""Panes, grids and the edges of windows (contract, section 3). Times are whole seconds of event time."""

from __future__ import annotations

from stream.model.objective import PANE_S

PANE_MS = PANE_S * 1000

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

_NO_LIMIT_S = 2**62
GRIDS = ((HOUR_S, PANE_S), (6 * HOUR_S, MINUTE_S), (3 * DAY_S, 5 * MINUTE_S), (_NO_LIMIT_S, HOUR_S))
"""(longest window, grid), from fine to coarse."""


def grid_s(window_s: int) -> int:
    """The grid on which a window's start lies: the longer the window, the coarser.

    >>> grid_s(300), grid_s(21_600), grid_s(259_200), grid_s(2_592_000)
    (10, 60, 300, 3600)
    """
    return next(grid for longest, grid in GRIDS if window_s <= longest)


def window_start_s(tick_s: int, window_s: int) -> int:
    """Start of the window of this length that ends at the tick: floor(T − W, grid)."""
    grid = grid_s(window_s)
    return (tick_s - window_s) // grid * grid


def tick_at_or_before(watermark_ms: int) -> int:
    """The last tick that a watermark lets decide, in seconds."""
    return watermark_ms // PANE_MS * PANE_S


def round_up_to_pane_s(length_ms: int) -> int:
    """Length in whole panes, in seconds; at least one pane."""
    return max(1, -(-length_ms // PANE_MS)) * PANE_S
