"""Whom an alert names: the series that brought most of the errors in its long window."""

from __future__ import annotations

import numpy as np

from stream.slo.ledger import Ledger
from stream.window.limbs import MILLION

MOST = 5


def contributors(ledger: Ledger, row: int, tick_s: int, window_s: int) -> list[dict[str, object]]:
    """At most five {endpoint, method, version, track, bad, total, share}, most errors first.

    Counts are weighted requests over the long window; share is of all its errors.
    """
    pairs = np.array(sorted(ledger.registry.pairs_of_row.get(row, ())), np.int64)
    found: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for pair, weight, bad in zip(
        pairs.tolist(), *ledger.history.totals(pairs, tick_s, window_s), strict=True
    ):
        _, _, endpoint, method, version, track = ledger.registry.name(pair)[0]
        name = endpoint, method, version, track
        before = found.get(name, (0, 0))
        found[name] = before[0] + weight, before[1] + bad
    all_bad = sum(bad for _, bad in found.values())
    guilty = sorted((-bad, name, weight) for name, (weight, bad) in found.items() if bad > 0)
    return [
        {
            "endpoint": endpoint,
            "method": method,
            "version": version or None,
            "track": track,
            "bad": -bad / MILLION,
            "total": weight / MILLION,
            "share": -bad / all_bad,
        }
        for bad, (endpoint, method, version, track), weight in guilty[:MOST]
    ]
