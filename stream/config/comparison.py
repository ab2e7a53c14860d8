"""The kind ``ShadowComparison``: its keys, one line each, and what they mean."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from stream.config.canary import duration_range
from stream.config.header import NO_METADATA, Metadata, Reading, read_metadata
from stream.config.section import Section, Value
from stream.config.values import count, name, number, one_of
from stream.model.analysis import SLO_PREFIX
from stream.model.comparison import OK, Comparison


def read_comparison(document: Section) -> Reading:
    """Reads what stands beside ``apiVersion`` and ``kind``."""
    metadata = document.required("metadata", read_metadata) or NO_METADATA
    comparison = document.required("spec", partial(_spec, metadata))
    return Reading(metadata.identity, metadata.mark, comparison, "comparison")


def _spec(metadata: Metadata, value: Value) -> Comparison | None:
    plain = Comparison("", "", "", Decimal(1))
    lengths_s = plain.shortest_s, plain.longest_s
    with value.section() as spec:
        service = spec.required("service", name)
        most_mismatch_pct = spec.required("maximumMismatch", number(above=0, below=100))
        mismatch = spec.optional("compare", _compare, plain.mismatch)
        alpha = spec.optional("alpha", number(above=0, below=1), plain.alpha)
        shortest_s, longest_s = spec.optional("duration", duration_range(*lengths_s), lengths_s)
        least_events = spec.optional("minimumEvents", count, plain.least_events)
    if metadata.name is None or service is None or most_mismatch_pct is None:
        return None
    return Comparison(
        metadata.namespace,
        metadata.name,
        service,
        most_mismatch_pct,
        mismatch,
        alpha,
        shortest_s,
        longest_s,
        least_events,
    )


def _compare(value: Value) -> str:
    with value.section() as compare:
        return compare.optional("mismatch", _mismatch, OK)


def _mismatch(value: Value) -> str:
    found = name(value)
    if found == OK or (found.startswith(SLO_PREFIX) and len(found) > len(SLO_PREFIX)):
        return found
    return one_of((OK, f"{SLO_PREFIX}<name of an SLO>"))(value)
