"""Request events of the shop, second by second of event time.

Every second has a random generator of its own, seeded with (seed, second): what it holds does not depend on
how the time before it was cut into pieces.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.load.shop import (
    ENDPOINTS,
    ERROR_STATUSES,
    NAMESPACE,
    VERSIONS,
    Endpoint,
    busyness,
)
from stream.load.story import HICCUP, Fault, Scene, Story

DEFAULT_RATE = 200.0
"""Requests a second of event time, in the mean."""

_SECOND_MS = 1000
_SLOWEST_MS = 10_000.0  # where a client would have given up
_OUTCOMES = 2 + len(ERROR_STATUSES)


@dataclass(frozen=True, slots=True)
class Lane:
    """Requests that differ in nothing but time, latency and luck."""

    endpoint: Endpoint
    version: str
    track: str
    share: float
    median_ms: float
    error_share: float


@dataclass(frozen=True, slots=True)
class Mix:
    """A scene as columns, one entry a lane; ``tails`` holds the end of an event per (lane, outcome)."""

    shares_so_far: NDArray[np.float64]
    log_median_ms: NDArray[np.float64]
    sigma: NDArray[np.float64]
    error_share: NDArray[np.float64]
    not_ok_share: NDArray[np.float64]
    tails: tuple[bytes, ...]
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events (contract, section 1) ordered by ``ts``, and how many each service has of them.

    ``deploys``: the deploy events that are sent meanwhile, each before the first request that it is about.
    """

    events: list[bytes]
    by_service: Counter[str]
    deploys: list[bytes]


@dataclass(frozen=True, slots=True)
class _Second:
    ts_ms: NDArray[np.int64]
    events: list[bytes]
    services: list[str]


class Shop:
    """The traffic of one story. ``rate``: requests a second of event time, of all services, in the mean."""

    def __init__(self, start_ms: int, *, seed: int = 1, rate: float = DEFAULT_RATE) -> None:
        assert start_ms % _SECOND_MS == 0, "a story starts on a whole second"
        self.story = Story(start_ms)
        self._seed = seed
        self._rate = rate
        self._told_until_ms = start_ms
        self._cut: tuple[int, _Second] | None = None

    def events(self, from_ms: int, until_ms: int) -> Chunk:
        """What happens in [from_ms, until_ms); the same for the same seed, however time is cut up."""
        assert self.story.start_ms <= from_ms <= until_ms
        events: list[bytes] = []
        by_service: Counter[str] = Counter()
        for second_ms in range(from_ms - from_ms % _SECOND_MS, until_ms, _SECOND_MS):
            second = self._second(second_ms)
            first, end = np.searchsorted(second.ts_ms, [from_ms, until_ms])
            events += second.events[first:end]
            by_service.update(second.services[first:end])
        self._told_until_ms = max(self._told_until_ms, until_ms)
        deploys = [orjson.dumps(event) for event in self.story.deploys(from_ms, until_ms)]
        return Chunk(events, by_service, deploys)

    def end_release(self, service: str, at_ms: int) -> int:
        """End the service's release at ``at_ms``, or as soon as what was told allows; returns when."""
        earliest_ms = max(at_ms, self._told_until_ms)
        whole_ms = -(-earliest_ms // _SECOND_MS) * _SECOND_MS
        self.story = self.story.ended(service, whole_ms)
        return self.story.end_ms(service, whole_ms)

    def _second(self, second_ms: int) -> _Second:
        if self._cut is None or self._cut[0] != second_ms:
            self._cut = second_ms, self._make(second_ms)
        return self._cut[1]

    def _make(self, second_ms: int) -> _Second:
        mix = _mix(self.story.scene(second_ms))
        random = np.random.default_rng((self._seed, second_ms // _SECOND_MS))
        wave = busyness((second_ms - self.story.start_ms) // _SECOND_MS)
        count = int(random.poisson(self._rate * wave))
        ts_ms = second_ms + np.sort(random.integers(0, _SECOND_MS, count))
        lane = np.searchsorted(mix.shares_so_far, random.random(count), side="right")
        latency_ms = np.exp(mix.log_median_ms[lane] + mix.sigma[lane] * random.standard_normal(count))
        np.minimum(latency_ms, _SLOWEST_MS, out=latency_ms)
        tail = lane * _OUTCOMES + _outcomes(mix, lane, random)
        tails = mix.tails
        events = [
            b'{"ts":%d,"latency_ms":%.1f,%b' % (ts, latency, tails[which])
            for ts, latency, which in zip(ts_ms.tolist(), latency_ms.tolist(), tail.tolist(), strict=True)
        ]
        services = mix.services
        return _Second(ts_ms, events, [services[which] for which in lane.tolist()])


def _outcomes(mix: Mix, lane: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    """0 answered, 1 refused, from 2 on the error statuses."""
    luck = random.random(lane.size)
    kind = random.integers(0, len(ERROR_STATUSES), lane.size)
    is_error = luck < mix.error_share[lane]
    return np.where(is_error, 2 + kind, (luck < mix.not_ok_share[lane]).astype(np.intp))


@lru_cache(maxsize=64)
def _mix(scene: Scene) -> Mix:
    lanes = [lane for endpoint in ENDPOINTS for lane in _lanes(endpoint, scene)]
    error_share = np.array([lane.error_share for lane in lanes])
    shares_so_far = np.cumsum([lane.share for lane in lanes])
    shares_so_far[-1] = 1.0  # whatever rounding left
    return Mix(
        shares_so_far=shares_so_far,
        log_median_ms=np.log([lane.median_ms for lane in lanes]),
        sigma=np.array([lane.endpoint.sigma for lane in lanes]),
        error_share=error_share,
        not_ok_share=error_share + np.array([lane.endpoint.refused_share for lane in lanes]),
        tails=tuple(_tail(lane, status) for lane in lanes for status in _statuses(lane.endpoint)),
        services=tuple(lane.endpoint.service for lane in lanes),
    )


def _lanes(endpoint: Endpoint, scene: Scene) -> list[Lane]:
    hiccup = HICCUP if scene.has_hiccup else None
    release = next((one for one in scene.releases if one.service == endpoint.service), None)
    if release is None:
        return _lanes_of(endpoint, VERSIONS[endpoint.service], "stable", 1.0, hiccup)
    share = release.share if release.route in (None, endpoint.route) else 0.0
    lanes = _lanes_of(endpoint, release.serving, "stable", 1 - share, hiccup)
    if share:
        lanes += _lanes_of(endpoint, release.version, "canary", share, release.fault)
    return lanes


def _lanes_of(endpoint: Endpoint, version: str, track: str, part: float, fault: Fault | None) -> list[Lane]:
    """One lane; two if a fault slows only a part of the requests down."""
    where = endpoint.service, endpoint.method, endpoint.route
    if fault is None or (fault.service, fault.method, fault.route) != where:
        return [
            Lane(endpoint, version, track, endpoint.share * part, endpoint.median_ms, endpoint.error_share)
        ]
    error_share = endpoint.error_share + fault.error_share
    paces = ((fault.slow_share, fault.slowdown), (1 - fault.slow_share, 1.0))
    return [
        Lane(endpoint, version, track, endpoint.share * part * share, endpoint.median_ms * pace, error_share)
        for share, pace in paces
        if share > 0
    ]


def _statuses(endpoint: Endpoint) -> tuple[int, ...]:
    return (endpoint.ok_status, endpoint.refused_status, *ERROR_STATUSES)


def _tail(lane: Lane, status: int) -> bytes:
    fields = {
        "namespace": NAMESPACE,
        "service": lane.endpoint.service,
        "endpoint": lane.endpoint.route,
        "method": lane.endpoint.method,
        "status": status,
        "version": lane.version,
        "track": lane.track,
    }
    return orjson.dumps(fields)[1:]
