"""Rolling latency percentiles per service and endpoint, from one-minute digests (contract, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stream.model.names import service_prefix
from stream.sketch import DigestSet, Mergeable
from stream.slo.registry import OTHER
from stream.window.minutes import Minutes
from stream.window.panes import HOUR_S, MINUTE_S
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal
from stream.wire.tally import MINUTE_BITS, EndpointKey, Tally

WINDOWS_S = (60, 300, 3600)
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_QS = tuple(QUANTILES.values())
AT_ONCE = 50_000
"""Centroids, before merging, of the longest window whose records are made in one go."""
FEW_ENDPOINTS = 5_000
"""Up to so many series each may be an endpoint of its own."""
SERIES_AN_ENDPOINT = 5


def most_endpoints(max_series: int) -> int:
    """Endpoints that are kept apart where ``max_series`` are: mostly several series share one, and each costs
    three records a minute. A flood of new ones would else be a flood of records."""
    return min(max_series, max(FEW_ENDPOINTS, max_series // SERIES_AN_ENDPOINT))


class Percentiles:
    """Digests of a shard's endpoints; at most ``max_endpoints`` are kept apart, the rest is ``__other__``."""

    def __init__(self, max_endpoints: int) -> None:
        self.minutes = Minutes()
        self.endpoints: list[EndpointKey | None] = []
        """By number; None is free for another."""
        self.max_endpoints = max_endpoints
        self._ids: dict[EndpointKey, int] = {}
        self._free: list[int] = []

    def id_of(self, key: EndpointKey) -> int:
        known = self._ids.get(key)
        if known is None and len(self._ids) >= self.max_endpoints:
            key = key[0], key[1], OTHER
            known = self._ids.get(key)
        if known is None:
            if not self._free:
                self._free.append(len(self.endpoints))
                self.endpoints.append(None)
            known = self._ids[key] = self._free.pop()
            self.endpoints[known] = key
        return known

    def named(self) -> Iterator[tuple[int, EndpointKey]]:
        """(number, endpoint) of all that are known."""
        return ((number, key) for number, key in enumerate(self.endpoints) if key is not None)

    def restore(self, number: int, text: str) -> None:
        """Name an endpoint as state records have it; numbers come in any order."""
        while len(self.endpoints) <= number:
            self._free.append(len(self.endpoints))
            self.endpoints.append(None)
        self._free.remove(number)
        namespace, service, endpoint = text.split("\0", 2)
        self._ids[namespace, service, endpoint] = number
        self.endpoints[number] = namespace, service, endpoint

    def _forget(self) -> None:
        """Give the numbers of endpoints that no digest belongs to any more free for others."""
        held = self.minutes.endpoints()
        for number, key in list(self.named()):
            if number not in held:
                del self._ids[key]
                self.endpoints[number] = None
                self._free.append(number)

    def open(self, source: int, tally: Tally, oldest_minute: int, newest_minute: int | None = None) -> None:
        """Replace what the open chunk of a source contributes, in the minutes from one to another."""
        digests = tally.digests
        ids = np.array([self.id_of(key) for key in tally.endpoints], np.int64)
        minute = digests.keys & ((1 << MINUTE_BITS) - 1)
        kept = minute >= oldest_minute
        if newest_minute is not None:
            kept &= minute <= newest_minute
        if not kept.all():
            digests, minute = digests.select(kept), minute[kept]
        if len(minute):
            digests = digests.remap(ids[digests.keys >> MINUTE_BITS] << MINUTE_BITS | minute)
        self.minutes.open(source, digests)

    def fold(self, source: int) -> None:
        self.minutes.fold(source)

    def at(self, tick_s: int) -> Iterator[Signal]:
        """Records of a whole minute, by topic key, endpoint (the whole service first) and window."""
        minute, evaluated_at = tick_s // MINUTE_S, format_ms(tick_s * 1000)
        windows = [(length_s, self.minutes.window(minute, length_s // MINUTE_S)) for length_s in WINDOWS_S]
        for endpoints in self._groups(windows[-1][1]):
            found: list[tuple[str, str, int, Signal]] = []
            numbers = np.array(sorted(endpoints), np.int64)
            for window_s, parts in windows:
                window = DigestSet.merge([part.of(numbers) for part in parts])
                for key, named, value in self._values(window, endpoints):
                    service = service_prefix(*key[:2])
                    found.append(
                        (service, key[2], window_s, _record(key, named, window_s, value, evaluated_at))
                    )
            found.sort(key=lambda f: f[:3])
            yield from (signal for *_, signal in found)
        self.minutes.move_to(minute + 1)
        if tick_s % HOUR_S == 0:
            self._forget()

    def _groups(self, window: Sequence[Mergeable]) -> Iterator[dict[int, int]]:
        """Services by topic key, some at a time, so that what is merged at once has a bound, and others may
        run in between: (number of an endpoint → the one that stands for its service). The endpoints of one
        service are never apart."""
        centroids = np.zeros(len(self.endpoints), np.int64)
        for part in window:
            centroids[part.keys] += part.sizes
        services: dict[str, list[int]] = {}
        for number in np.flatnonzero(centroids).tolist():
            key = self.endpoints[number]
            assert key is not None
            services.setdefault(service_prefix(*key[:2]), []).append(number)
        group: dict[int, int] = {}
        for _, numbers in sorted(services.items()):
            group.update(dict.fromkeys(numbers, numbers[0]))
            if centroids[list(group)].sum() >= AT_ONCE:
                yield group
                group = {}
        if group:
            yield group

    def _values(
        self, window: DigestSet, endpoints: dict[int, int]
    ) -> Iterator[tuple[EndpointKey, bool, Sequence[float]]]:
        """(endpoint, whether it is that alone and not its whole service, numbers of the record)."""
        whole = window.remap(np.array([endpoints[number] for number in window.keys.tolist()], np.int64))
        for digests, named in ((whole, False), (window, True)):
            quantiles = digests.quantiles(_QS)
            columns = [digests.count, quantiles, digests.low, digests.high, digests.averages()]
            for number, row in zip(digests.keys.tolist(), np.column_stack(columns).tolist(), strict=True):
                key = self.endpoints[number]
                assert key is not None
                if not named:
                    yield (key[0], key[1], ""), False, row
                elif key[2]:
                    yield key, True, row


def _record(key: EndpointKey, named: bool, window_s: int, row: Sequence[float], evaluated_at: str) -> Signal:
    namespace, service, endpoint = key
    count, *numbers = row
    value: dict[str, object] = {
        "schema": "burngate.percentiles/v1",
        "namespace": namespace,
        "service": service,
        "endpoint": endpoint if named else None,
        "window_s": window_s,
        "count": int(count),
        **dict(zip((*QUANTILES, "min", "max", "mean"), numbers, strict=True)),
        "evaluated_at": evaluated_at,
    }
    of_service = f"{service_prefix(namespace, service)}|{window_s}"
    return Signal("latency-percentiles", f"{of_service}|{endpoint}" if named else of_service, value)
