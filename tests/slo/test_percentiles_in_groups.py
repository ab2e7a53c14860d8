"""Percentiles are made some services at a time: what comes out does not tell how many."""

from __future__ import annotations

import numpy as np
import pytest

from stream.sketch import DigestSet
from stream.slo import percentiles
from stream.slo.percentiles import WINDOWS_S, Percentiles
from stream.wire.signal import Signal

MINUTE = 30_000_000
SERVICES = ("pay", "pay-2", "cart", "z", "a")


def filled(minutes: int) -> Percentiles:
    """Numbers of endpoints are mixed over services, and not every endpoint has a value in every minute."""
    found = Percentiles(1_000)
    rng = np.random.default_rng(3)
    for endpoint in ("/x", "", "/a", "/x/{id}"):
        for service in SERVICES:
            found.id_of(("shop", service, endpoint))
    for minute in range(MINUTE, MINUTE + minutes):
        keys = rng.integers(0, 20, 600)
        values = np.round(rng.lognormal(3, 1, 600), 1)
        found.minutes.add(minute, DigestSet.from_values(keys, values))
    return found


def signals(at_once: int) -> list[Signal]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percentiles, "AT_ONCE", at_once)
        return list(filled(65).at((MINUTE + 65) * 60))


def test_records_are_the_same_however_many_services_are_taken_at_a_time() -> None:
    one_by_one, together = signals(1), signals(2**60)
    assert one_by_one == together == signals(5_000)


def test_records_are_in_order_of_topic_key_endpoint_and_window() -> None:
    """The whole service comes first; an endpoint without a name has no record of its own."""
    endpoints = (None, "/a", "/x", "/x/{id}")
    found = [(s.value["service"], s.value["endpoint"], s.value["window_s"]) for s in signals(1)]
    assert found == [(s, e, w) for s in sorted(SERVICES) for e in endpoints for w in WINDOWS_S]


def test_a_service_counts_what_its_endpoints_count() -> None:
    of_service: dict[object, int] = {}
    for signal in signals(1):
        if signal.value["window_s"] == 3600 and signal.value["endpoint"] is None:
            of_service[signal.value["service"]] = signal.value["count"]  # type: ignore[assignment]
    assert sum(of_service.values()) == 60 * 600


def test_a_first_group_is_out_before_the_next_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percentiles, "AT_ONCE", 1)
    merged: list[int] = []
    merge = DigestSet.merge.__func__  # type: ignore[attr-defined]
    made = filled(65)
    for length_s in WINDOWS_S:
        made.minutes.window(MINUTE + 65, length_s // 60)  # what is merged once and kept

    def counted(cls: type[DigestSet], sets: list[DigestSet]) -> DigestSet:
        merged.append(len(sets))
        return merge(cls, sets)  # type: ignore[no-any-return]

    monkeypatch.setattr(DigestSet, "merge", classmethod(counted))
    records = made.at((MINUTE + 65) * 60)
    next(records)
    assert len(merged) == len(WINDOWS_S)
    assert len(list(records)) + 1 == len(SERVICES) * 4 * len(WINDOWS_S)
    assert len(merged) == len(WINDOWS_S) * len(SERVICES)
