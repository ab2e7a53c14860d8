"""Whom an alert names: the series that brought most of the errors in its long window."""

from __future__ import annotations

import numpy as np

from stream.slo.ledger import Ledger
from stream.window.sums import MILLION

MOST = 5


def contributors(ledger: Ledger, row: int, tick_s: int, window_s: int) -> list[dict[str, object]]:
    """At most five {endpoint, method, version, track, bad, total, share}, most errors first.

    Counts are weighted requests over the long window; share is of all its errors.
    """
    pairs = np.array(sorted(ledger.registry.pairs_of_row.get(row, ())), np.int64)
    weights, bad_weights = ledger.history.totals(pairs, tick_s, window_s)
    all_bad = sum(bad_weights)
    found = []
    for pair, weight, bad_weight in zip(pairs.tolist(), weights, bad_weights, strict=True):
        if bad_weight > 0:
            _, _, endpoint, method, version, track = ledger.registry.name(pair)[0]
            found.append((-bad_weight, endpoint, method, version, track, weight))
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
        for bad, endpoint, method, version, track, weight in sorted(found)[:MOST]
    ]
