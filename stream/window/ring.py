"""The panes of one window, held in a sixth of their room while nothing in them was sampled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.window.limbs import BAD, BAD_MICRO, BAD_WHOLE, EVENTS, MICRO, WHOLE, WIDTH, Sums

_MOST = 2**31 - 1
_PLAIN = [EVENTS, BAD]


class Ring:
    """``panes`` places of ``rows`` rows of sums each.

    Of requests that count once, weighted counts are the plain ones: two numbers say it all, and 32 bits hold
    those of a pane. A pane with anything else in it is held in full.
    """

    def __init__(self, panes: int, rows: int) -> None:
        self._plain = np.zeros((panes, rows, len(_PLAIN)), np.int32)
        self._full: dict[int, Sums] = {}
        self._used: set[int] = set()
        """Places that something was added to: the others need no room of the machine's."""

    def __len__(self) -> int:
        return len(self._plain)

    def add(self, place: int, rows: NDArray[np.intp], counts: Sums) -> None:
        """Add counts of distinct rows, shape [n, 6]."""
        self._used.add(place)
        if place not in self._full:
            if _is_plain(counts):
                sums = self._plain[place][rows] + counts[:, _PLAIN]
                if not len(sums) or (sums.max() <= _MOST and sums.min() >= -_MOST):
                    self._plain[place, rows] = sums
                    return
            self._full[place] = self.get(place)
            self._plain[place] = 0
        self._full[place][rows] += counts

    def get(self, place: int) -> Sums:
        """The pane, shape [rows, 6]; not to be written to."""
        if place in self._full:
            return self._full[place]
        plain = self._plain[place]
        sums = np.zeros((len(plain), WIDTH), np.int64)
        if place in self._used:
            sums[:, EVENTS] = sums[:, WHOLE] = plain[:, 0]
            sums[:, BAD] = sums[:, BAD_WHOLE] = plain[:, 1]
        return sums

    def take(self, place: int) -> Sums | None:
        """The pane, and leave nothing there; None when it is empty."""
        if place not in self._used:
            return None
        sums = self.get(place)
        self._used.discard(place)
        if self._full.pop(place, None) is None:
            self._plain[place] = 0
        return sums

    def clear(self) -> None:
        for place in list(self._used):
            self.take(place)


def _is_plain(counts: Sums) -> bool:
    """Whether every weighted count is the plain one."""
    return bool(
        np.array_equal(counts[:, WHOLE], counts[:, EVENTS])
        and np.array_equal(counts[:, BAD_WHOLE], counts[:, BAD])
        and not counts[:, MICRO].any()
        and not counts[:, BAD_MICRO].any()
    )
