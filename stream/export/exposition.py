"""A worker's metrics as the bytes of an answer: Prometheus' text or OpenMetrics, packed or not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client import PROCESS_COLLECTOR, Metric
from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    choose_encoder,
    generate_latest,
    gzip_accepted,
)
from prometheus_client.registry import Collector

from stream.export.collector import StatsCollector
from stream.model.stats import Stats


@dataclass(frozen=True, slots=True)
class Form:
    """How metrics are written: which of Prometheus' formats, gzip or not."""

    content_type: str
    packed: bool
    encode: Callable[[Collector], bytes] = field(compare=False)

    @classmethod
    def wanted(cls, accept: str, accept_encoding: str) -> Form:
        """What the headers of a request ask for: one of a few."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        return cls(content_type, gzip_accepted(accept_encoding), encode)


class _Everything(Collector):
    """The worker's own metrics and the standard ``process_*`` ones."""

    def __init__(self, stats: StatsCollector) -> None:
        self._stats = stats

    def collect(self) -> list[Metric]:
        return [*self._stats.collect(), *PROCESS_COLLECTOR.collect()]


def render(snapshot: Stats, now_s: float, form: Form) -> bytes:
    body = form.encode(_Everything(StatsCollector(snapshot, now_s, version("burngate"))))
    return gzip.compress(body, compresslevel=1) if form.packed else body
