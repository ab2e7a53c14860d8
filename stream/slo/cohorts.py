"""Frame to cohorts: what stage one counts for canary analyses."""

from __future__ import annotations

import numpy as np

from stream.sketch import DigestSet, HistogramSet
from stream.sketch.histogram import squares_of
from stream.slo.judge import Judge
from stream.slo.tally import Entries, counts, followed
from stream.wire.cohorts import Cohorts
from stream.wire.frame import Frame
from stream.wire.tally import Ints, Targets

NO_ENDPOINT: Ints = np.empty(0, np.int64)


def cohorts(frame: Frame, judge: Judge) -> tuple[Cohorts, Targets]:
    """Count a frame's events for the analyses whose columns ``judge`` knows; the rest is left out. As a tally
    it depends neither on the order of events nor on how they were batched."""
    frame = followed(frame, judge)
    entries = Entries.of(frame)
    known = ~np.isnan(frame.latency_ms)
    found = Cohorts(
        counts(frame, entries, judge, [], DigestSet.empty()),
        entries.total(frame.weight),
        entries.total(squares_of(frame.weight)),
        HistogramSet.from_values(entries.of_event[known], frame.latency_ms[known], frame.weight[known]),
    )
    return found, Targets(judge.feeds().target[entries.used], judge.target_of_endpoint(NO_ENDPOINT))
