"""What a document of a configuration file can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.config.canary import read_analysis
from stream.config.comparison import read_comparison
from stream.config.graph import read_graph
from stream.config.header import Reading
from stream.config.section import Section, Value
from stream.config.slo import read_slo
from stream.config.values import one_of


@dataclass(frozen=True, slots=True)
class KindReader:
    """Who reads a kind, and the version of its form."""

    api_version: str
    read: Callable[[Section], Reading]


KINDS: Mapping[str, KindReader] = {
    "ServiceLevelObjective": KindReader("sre.example.com/v1", read_slo),
    "CanaryAnalysis": KindReader("sre.example.com/v1", read_analysis),
    "ShadowComparison": KindReader("sre.example.com/v1", read_comparison),
    "ServiceGraph": KindReader("sre.example.com/v1", read_graph),
}
"""A further kind is a line here and a reader of its own."""


def read_document(value: Value) -> Reading | None:
    """A document by its kind; None when it has none (that is reported, and the rest is not looked at)."""
    document = value.section()
    kind = document.required("kind", one_of(tuple(KINDS)))
    if kind is None:
        return None
    with document:
        document.required("apiVersion", one_of((KINDS[kind].api_version,)))
        return KINDS[kind].read(document)
