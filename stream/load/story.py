"""What happens in the shop: a release, its fault, the way back; and a hiccup that is not worth an alert.

Everything happens at a fixed time of the story except the way back, which whoever listens to the rollback
signal may bring forward (:meth:`Story.rolled_back`). The story starts anew every :data:`PERIOD_S`, each time
with the next release.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stream.load.shop import PAYMENT, STABLE_VERSION

LENGTH_S = 3600
"""What is worth watching."""
PERIOD_S = 6 * 3600
"""Until it happens again: by then the error budget of the last time has recovered."""

_ROLLOUT = ((10 * 60, 0.05), (14 * 60, 0.25), (18 * 60, 0.50))
"""(seconds into the story, share of payment's requests that the new release answers from then on)."""
_FAULT_S = 22 * 60
_WAY_BACK_S = 36 * 60
"""When somebody at last rolls back by hand, if no signal was listened to."""
_HICCUP_S = (6 * 60, 7 * 60)


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of an endpoint's requests fails, and all of them are slower."""

    service: str
    method: str
    route: str
    error_share: float
    slowdown: float

    @property
    def endpoint(self) -> str:
        """``POST /v1/charges``."""
        return f"{self.method} {self.route}"


RELEASE_FAULT = Fault(PAYMENT, "POST", "/v1/charges", error_share=0.16, slowdown=8.0)
"""Holds for the new release only."""
HICCUP = Fault("catalogue", "GET", "/products/{id}", error_share=0.03, slowdown=1.5)


@dataclass(frozen=True, slots=True)
class Scene:
    """What holds at one moment: ``release`` is being rolled out and has ``share`` of payment's requests."""

    release: str
    share: float
    is_release_faulty: bool
    has_hiccup: bool


@dataclass(frozen=True, slots=True)
class Story:
    """Times are epoch milliseconds; ``ways_back`` are the (turn, time) of rollbacks that were listened to."""

    start_ms: int
    ways_back: tuple[tuple[int, int], ...] = ()

    def release(self, at_ms: int) -> str:
        """The version that is, was or will be rolled out in the turn of the story that holds at ``at_ms``."""
        major, minor, _ = STABLE_VERSION.split(".")
        return f"{major}.{int(minor) + 1 + self._turn(at_ms)}.0"

    def fault_ms(self, at_ms: int) -> int:
        """When the release starts to fail, in the turn of ``at_ms``."""
        return self._turn_start_ms(at_ms) + _FAULT_S * 1000

    def way_back_ms(self, at_ms: int) -> int:
        """From when on every request is answered by the stable version again, in the turn of ``at_ms``."""
        by_hand_ms = self._turn_start_ms(at_ms) + _WAY_BACK_S * 1000
        return min([by_hand_ms, *(ms for turn, ms in self.ways_back if turn == self._turn(at_ms))])

    def rolled_back(self, at_ms: int) -> Story:
        """The same story, in which the release of that turn is taken back at ``at_ms``."""
        return replace(self, ways_back=(*self.ways_back, (self._turn(at_ms), at_ms)))

    def chapters(self, from_ms: int, until_ms: int) -> list[tuple[int, str]]:
        """What the shop itself would tell of [from_ms, until_ms): (time, line), in order."""
        start_ms = self._turn_start_ms(until_ms)
        release = self.release(until_ms)
        told = [
            (start_ms + from_s * 1000, f"{PAYMENT} {release} now answers {share * 100:g} % of the requests")
            for from_s, share in _ROLLOUT
        ]
        told.append(
            (self.fault_ms(until_ms), f"{PAYMENT} {release} begins to fail on {RELEASE_FAULT.endpoint}")
        )
        back_ms = self.way_back_ms(until_ms)
        told.append((back_ms, f"{PAYMENT} {release} is taken back, {STABLE_VERSION} answers all requests"))
        return sorted((ms, line) for ms, line in told if from_ms <= ms < until_ms)

    def scene(self, at_ms: int) -> Scene:
        """What holds at ``at_ms``, which is not before the start."""
        assert at_ms >= self.start_ms, "the story has not begun"
        since_s = (at_ms - self._turn_start_ms(at_ms)) // 1000
        share = max((share for from_s, share in _ROLLOUT if since_s >= from_s), default=0.0)
        return Scene(
            release=self.release(at_ms),
            share=share if at_ms < self.way_back_ms(at_ms) else 0.0,
            is_release_faulty=since_s >= _FAULT_S,
            has_hiccup=_HICCUP_S[0] <= since_s < _HICCUP_S[1],
        )

    def _turn(self, at_ms: int) -> int:
        return (at_ms - self.start_ms) // (PERIOD_S * 1000)

    def _turn_start_ms(self, at_ms: int) -> int:
        return self.start_ms + self._turn(at_ms) * PERIOD_S * 1000
