"""What canary analysis learns of a set of events: a tally of its own columns, weights and histograms.

A *cohort* is the series of one version on one track at one endpoint. Stage one counts by series, as for SLOs;
stage two puts the methods of a cohort together.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from stream.sketch.histogram import HistogramSet
from stream.sketch.histogram_codec import histograms_from_bytes, histograms_to_bytes
from stream.wire.columns import pack, unpack
from stream.wire.tally import NUMBERS, Ints, Tally, Targets


@dataclass(slots=True)
class Cohorts:
    """Of analysed services. ``tally`` has no digests and no endpoints."""

    tally: Tally
    weight: Ints
    """[entries] in millionths."""
    squares: Ints
    """[entries] Σw² in sixteenths (``sketch/histogram.py``)."""
    histograms: HistogramSet
    """Latencies in ms; keys are entries."""

    def panes(self) -> set[int]:
        """Panes that hold an event."""
        return set(np.unique(self.tally.entry_pane).tolist())

    def split(self, targets: Targets, partitions: int) -> list[Cohorts | None]:
        """One for each target partition; None where nothing goes."""
        target = targets.of_series[self.tally.entry_series]
        found: list[Cohorts | None] = []
        for t, tally in enumerate(self.tally.split(targets, partitions)):
            found.append(None if tally is None else self._only(tally, np.flatnonzero(target == t)))
        return found

    def _only(self, tally: Tally, entries: Ints) -> Cohorts:
        if tally is self.tally:
            return self
        mine = self.histograms.of(entries)
        places = np.searchsorted(entries, mine.keys).astype(np.int64)
        return Cohorts(tally, self.weight[entries], self.squares[entries], mine.remap(places))


class CohortContents(msgspec.Struct, array_like=True, frozen=True):
    """Cohorts, packed."""

    series: list[bytes]
    columns: list[str]
    numbers: list[bytes]
    """Columns of the tally, then weight and squares."""
    histograms: bytes


def pack_cohorts(cohorts: Cohorts) -> CohortContents:
    tally = cohorts.tally
    numbers = [pack(getattr(tally, name)) for name in NUMBERS]
    numbers += pack(cohorts.weight), pack(cohorts.squares)
    return CohortContents(tally.series, tally.columns, numbers, histograms_to_bytes(cohorts.histograms))


def unpack_cohorts(contents: CohortContents) -> Cohorts:
    """Raises ValueError when the columns cannot be read."""
    *columns, weight, squares = (unpack(data) for data in contents.numbers)
    counted = Tally.of(contents.series, contents.columns, dict(zip(NUMBERS, columns, strict=True)))
    return Cohorts(counted, weight, squares, histograms_from_bytes(contents.histograms))
