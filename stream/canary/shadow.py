"""A dual-write comparison under way: requests of the track ``shadow``, and how many of them differ.

It begins with the first of them, and anew when a version appears that was not compared before, or after a
silence. Counts are cumulative since then. No clock: event time is an argument.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from msgspec.msgpack import Decoder
from msgspec.structs import replace

from stream.canary.mismatch_test import FEWEST_PANES, Mismatches, MismatchTest
from stream.canary.sightings import SILENT_S
from stream.canary.verdict import Interval, Judgement, MetricResult, Recommendation, Verdict
from stream.model.comparison import Comparison
from stream.model.objective import PANE_S
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import Signal
from stream.wire.state import Record

MAX_VERSIONS = 64
"""That were compared before, and are remembered."""
MINUTE_S = 60


class ShadowRecord(Record, frozen=True):
    """All that is kept between two owners of a partition."""

    versions: tuple[str, ...] = ()
    """Compared ones, the present one last; empty where events name none."""
    began_s: int | None = None
    heard_s: int = 0
    """The last tick with a request."""
    requests: int = 0
    mismatches: int = 0
    seen: Mismatches = Mismatches()
    looks: int = 0
    verdict: str | None = None
    """The last word, once there is one."""
    counted: tuple[tuple[str, int, int, float, float], ...] = ()
    """(version, requests, mismatches, n, bad) that the next tick counts."""


Decoder(ShadowRecord)  # so that no two threads meet it first at once: see wire/state.py


class Shadow:
    """One ``ShadowComparison`` at work."""

    def __init__(self, comparison: Comparison, record: ShadowRecord | None = None) -> None:
        self.comparison = comparison
        self.state = record or ShadowRecord()
        """Its whole state; it may be stored and given to another."""

    def count(self, version: str, requests: int, mismatches: int, n: float, bad: float) -> None:
        """What the pane that the next tick ends had of a version (empty: the events name none). ``n`` and
        ``bad`` are the numbers of requests and mismatches, less what sampling takes from them."""
        assert 0 <= mismatches <= requests, (mismatches, requests)
        more = (version, requests, mismatches, n, bad)
        self.state = replace(self.state, counted=tuple(sorted((*self.state.counted, more))))

    def at(self, tick_s: int, frozen: bool = False) -> Iterator[Signal]:
        """Decide at a tick: a record each whole minute, and when the last word is said. ``frozen``: whether
        deployments of the service are."""
        counted = self.state.counted
        self.state = replace(self.state, counted=())
        for version in sorted({version for version, *_ in counted}):
            self._follow(version, tick_s)
        mine = [one for one in counted if self.state.versions and one[0] == self.state.versions[-1]]
        for _, requests, mismatches, n, bad in _summed(mine):
            self._add(requests, mismatches, n, bad, tick_s)
        if self.state.began_s is None or self.state.verdict is not None:
            return
        self.state = replace(self.state, looks=self.state.looks + 1)
        if self._is_last(tick_s) or tick_s % MINUTE_S == 0:
            said = self.judge(tick_s)
            if said.final:
                self.state = replace(self.state, verdict=said.verdict.value)
            yield shadow_record(self, _heeding(said, frozen), tick_s)

    def _follow(self, version: str, tick_s: int) -> None:
        """Begin anew with a version that was not compared before, and with any after a silence."""
        state = self.state
        is_back = state.began_s is not None and tick_s - state.heard_s > SILENT_S
        if version in state.versions and not is_back:
            return
        versions = (*(known for known in state.versions if known != version), version)[-MAX_VERSIONS:]
        self.state = ShadowRecord(versions, tick_s - PANE_S, tick_s)

    def _add(self, requests: int, mismatches: int, n: float, bad: float, tick_s: int) -> None:
        state = self.state
        if state.verdict is None:
            state = replace(
                state,
                requests=state.requests + requests,
                mismatches=state.mismatches + mismatches,
                seen=state.seen.plus(n, bad),
            )
        self.state = replace(state, heard_s=tick_s)

    def _is_last(self, tick_s: int) -> bool:
        """Whether a look ends the comparison."""
        comparison, state = self.comparison, self.state
        assert state.began_s is not None
        elapsed_s, test = tick_s - state.began_s, self.test
        if elapsed_s >= comparison.longest_s:
            return True
        return self._has_enough and (
            test.is_beyond or (elapsed_s >= comparison.shortest_s and test.is_within)
        )

    @property
    def _has_enough(self) -> bool:
        state = self.state
        return state.requests >= self.comparison.least_events and state.seen.panes >= FEWEST_PANES

    def judge(self, tick_s: int) -> Judgement:
        """What is to be said of all that was counted.

        ``fail``: the interval is above what is allowed. ``pass``: it is not above it, and the shortest
        duration is over. ``inconclusive`` until then, and at the end: never a silent pass. ``nodata``: no
        requests.
        """
        comparison, state = self.comparison, self.state
        if state.began_s is None or not state.requests:
            return Judgement(
                Verdict.NODATA, Recommendation.PAUSE, "the track shadow had no requests", final=False
            )
        is_last, test = self._is_last(tick_s), self.test
        result = _result(test, comparison)
        reason, verdict, advice = result.reason, Verdict.INCONCLUSIVE, Recommendation.CONTINUE
        if is_last:
            advice = Recommendation.PAUSE
        if not self._has_enough:
            reason = f"{state.requests:,} requests: {comparison.least_events:,} are needed; {reason}"
        elif test.is_beyond:
            verdict = Verdict.FAIL  # it serves nobody yet: there is nothing to roll back
        elif is_last and test.is_within:
            verdict, advice = Verdict.PASS, Recommendation.PROMOTE
        return Judgement(verdict, advice, reason, metrics=(result,), final=is_last)

    @property
    def test(self) -> MismatchTest:
        comparison = self.comparison
        most = float(comparison.most_mismatch_pct) / 100
        return MismatchTest(self.state.seen, most, float(comparison.alpha))


def shadow_record(shadow: Shadow, said: Judgement, tick_s: int) -> Signal:
    """How it stands, or the last word."""
    comparison, state, test = shadow.comparison, shadow.state, shadow.test
    assert state.began_s is not None
    low, high = test.interval() if state.requests else (None, None)
    value: dict[str, object] = {
        "schema": "burngate.shadow/v1",
        "comparison": comparison.name,
        "namespace": comparison.namespace,
        "service": comparison.service,
        "version": state.versions[-1] or None,
        "verdict": said.verdict.value,
        "final": said.final,
        "reason": said.reason,
        "recommendation": said.recommendation.value,
        "requests": state.requests,
        "mismatches": state.mismatches,
        "mismatch_pct": None if state.seen.rate is None else 100 * state.seen.rate,
        "interval_pct": None if low is None or high is None else [100 * low, 100 * high],
        "maximum_pct": float(comparison.most_mismatch_pct),
        "effective_n": state.seen.n / state.seen.design_effect,
        "design_effect": state.seen.design_effect,
        "alpha": float(comparison.alpha),
        "looks": state.looks,
        "minimum_s": comparison.shortest_s,
        "maximum_s": comparison.longest_s,
        "minimum_events": comparison.least_events,
        "started_at": format_ms(1000 * state.began_s),
        "evaluated_at": format_ms(1000 * tick_s),
    }
    return Signal("shadow-verdicts", comparison.service_key, value)


def _result(test: MismatchTest, comparison: Comparison) -> MetricResult:
    """The rate as a metric, with what is allowed in the place of the baseline."""
    seen = test.seen
    assert seen.rate is not None
    low, high = test.interval()
    standing = "worse" if test.is_beyond else "within" if test.is_within else "open"
    where = {"worse": "more than", "within": "not more than", "open": "around"}[standing]
    reason = (
        f"{100 * seen.rate:.4g} % mismatches [{100 * low:.4g} %, {100 * high:.4g} %]: {where} the "
        f"{comparison.most_mismatch_pct:f} % that are allowed"
    )
    ratio = Interval(low / test.most, high / test.most)
    return MetricResult(
        "mismatch",
        seen.rate,
        test.most,
        round(seen.n),
        0,
        seen.n / seen.design_effect,
        0.0,
        standing,
        reason,
        seen.rate / test.most,
        ratio,
        design_effect=seen.design_effect,
        margin_ratio=1.0,
    )


def _heeding(said: Judgement, frozen: bool) -> Judgement:
    """Nothing is promoted while the service's deployments are frozen."""
    if not frozen or said.recommendation is not Recommendation.PROMOTE:
        return said
    reason = f"{said.reason}; the service's deployments are frozen"
    return dataclasses.replace(said, recommendation=Recommendation.PAUSE, reason=reason)


def _summed(
    counted: list[tuple[str, int, int, float, float]],
) -> Iterator[tuple[str, int, int, float, float]]:
    """All of one version, as one pane."""
    if counted:
        columns = list(zip(*counted, strict=True))
        yield counted[0][0], sum(columns[1]), sum(columns[2]), sum(columns[3]), sum(columns[4])
