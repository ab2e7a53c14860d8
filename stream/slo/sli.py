"""Service level indicators as columns: named by content, judged by one look-up for a whole batch.

Two SLOs with the same criteria share a column, and a column's name says all there is to know of it, so that
partials of workers with different SLO files are never mixed up.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from stream.model.objective import GRPC_SERVER_ERRORS, Availability, Latency, Sli
from stream.model.outcome import OUTCOMES, outcome_parts

UNCOUNTED, GOOD, BAD = 0, 1, 2


def column_name(sli: Sli) -> str:
    """The column's name, a function of the criteria alone.

    >>> column_name(Latency(500)), column_name(Availability(("2xx",), (0,)))
    ('latency>500ms', 'availability http=2xx grpc=0')
    """
    if isinstance(sli, Latency):
        return f"latency>{sli.threshold_ms}ms"
    http, grpc = ",".join(sli.http), ",".join(map(str, sli.grpc))
    return f"availability http={http} grpc={grpc}" if http or grpc else "availability"


def judge_outcome(sli: Availability, status: int | None, grpc: int | None, ok: bool | None) -> int:
    """UNCOUNTED, GOOD or BAD for one outcome (contract, section 2)."""
    if sli.http or sli.grpc:
        http_known, grpc_known = bool(sli.http) and status is not None, bool(sli.grpc) and grpc is not None
        if not http_known and not grpc_known:
            return UNCOUNTED
        matches = (http_known and (str(status) in sli.http or f"{(status or 0) // 100}xx" in sli.http)) or (
            grpc_known and grpc in sli.grpc
        )
        return GOOD if matches else BAD
    if ok is not None:
        return GOOD if ok else BAD
    if status is None and grpc is None:
        return UNCOUNTED
    return BAD if (status or 0) >= 500 or grpc in GRPC_SERVER_ERRORS else GOOD


def threshold_ms(sli: Sli) -> float | None:
    """Above it an event is bad; None for what is judged by its outcome."""
    return float(sli.threshold_ms) if isinstance(sli, Latency) else None


@cache
def verdicts(sli: Sli) -> NDArray[np.int8]:
    """The verdict on every outcome code, shape [OUTCOMES]; UNCOUNTED for all where the latency judges."""
    table = np.zeros(OUTCOMES, np.int8)
    for code in range(OUTCOMES):
        status, grpc, ok = outcome_parts(code)
        if isinstance(sli, Availability) and (status is None or status >= 100):
            table[code] = judge_outcome(sli, status, grpc, ok)
    table.setflags(write=False)
    return table
