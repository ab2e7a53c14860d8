"""Rolling latency percentiles per service and endpoint, from one-minute digests (contract, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.sketch import DigestSet
from stream.slo.registry import OTHER
from stream.window.minutes import Minutes
from stream.window.panes import HOUR_S, MINUTE_S
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal
from stream.wire.tally import MINUTE_BITS, EndpointKey, Tally

WINDOWS_S = (60, 300, 3600)
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_QS = tuple(QUANTILES.values())


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

    def open(self, source: int, tally: Tally, oldest_minute: int) -> None:
        """Replace what the open chunk of a source contributes."""
        digests = tally.digests
        ids = np.array([self.id_of(key) for key in tally.endpoints], np.int64)
        minute = digests.keys & ((1 << MINUTE_BITS) - 1)
        if len(minute) and minute.min() < oldest_minute:
            digests = digests.select(minute >= oldest_minute)
            minute = minute[minute >= oldest_minute]
        if len(minute):
            digests = digests.remap(ids[digests.keys >> MINUTE_BITS] << MINUTE_BITS | minute)
        self.minutes.open(source, digests)

    def fold(self, source: int) -> None:
        self.minutes.fold(source)

    def at(self, tick_s: int) -> Iterator[Signal]:
        """Records of a whole minute, by topic key, endpoint (the whole service first) and window."""
        minute = tick_s // MINUTE_S
        found: list[tuple[str, str, int, Signal]] = []
        services = self._services()
        for window_s in WINDOWS_S:
            window = self.minutes.window(minute, window_s // MINUTE_S)
            if not len(window.keys):
                continue
            whole = window.remap(services[window.keys])
            for digests, named in ((whole, False), (window, True)):
                for key, value in self._values(digests, named):
                    service = f"{key[0]}/{key[1]}"
                    found.append((service, key[2], window_s, _record(key, named, window_s, value, tick_s)))
        found.sort(key=lambda f: f[:3])
        yield from (signal for *_, signal in found)
        self.minutes.move_to(minute + 1)
        if tick_s % HOUR_S == 0:
            self._forget()

    def _services(self) -> NDArray[np.int64]:
        """By endpoint: the first endpoint of the same service, which stands for the service."""
        first: dict[tuple[str, str], int] = {}
        stands_for = np.zeros(len(self.endpoints), np.int64)
        for number, key in self.named():
            stands_for[number] = first.setdefault(key[:2], number)
        return stands_for

    def _values(self, digests: DigestSet, named: bool) -> Iterator[tuple[EndpointKey, Sequence[float]]]:
        quantiles = digests.quantiles(_QS)
        columns = np.column_stack([digests.count, quantiles, digests.low, digests.high, digests.averages()])
        for i, row in zip(digests.keys.tolist(), columns.tolist(), strict=True):
            key = self.endpoints[i]
            assert key is not None
            namespace, service, endpoint = key
            if not named:
                yield (namespace, service, ""), row
            elif endpoint:
                yield (namespace, service, endpoint), row


def _record(key: EndpointKey, named: bool, window_s: int, row: Sequence[float], tick_s: int) -> Signal:
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
        "evaluated_at": format_ms(tick_s * 1000),
    }
    service_key = f"{namespace}/{service}|{window_s}"
    return Signal("latency-percentiles", f"{service_key}|{endpoint}" if named else service_key, value)
