"""``burngate replay`` against an independent, slow reading of the contract (``tests/oracle``)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle.compare import first_difference
from oracle.replay import replay as oracle_replay

from stream.replay import replay
from stream.wire.signal import TOPICS

START_MS = 1_790_000_000_000
ENDPOINTS = ("/pay", "/pay/card", "/refund", "")


def run(slos: str, lines: list[bytes], directory: Path) -> dict[str, list[dict[str, object]]]:
    (directory / "slos.yaml").write_text(slos)
    (directory / "events.ndjson").write_bytes(b"\n".join(lines))
    replay([directory / "slos.yaml"], [str(directory / "events.ndjson")], directory / "out")
    return {
        topic: [
            json.loads(line) for line in (directory / "out" / f"{topic}.ndjson").read_bytes().splitlines()
        ]
        for topic in TOPICS
    }


def agree(slos: str, lines: list[bytes]) -> None:
    with TemporaryDirectory() as directory:
        difference = first_difference(oracle_replay(slos, lines), run(slos, lines, Path(directory)))
        assert difference is None, f"{difference}\n\n{slos}\n\n" + "\n".join(map(repr, lines[:400]))


@st.composite
def slo_document(draw: st.DrawFn, number: int) -> str:
    sli = draw(
        st.sampled_from(
            [
                "{metric: availability}",
                "{metric: availability, successCriteria: {httpStatusCodes: [2xx, 404]}}",
                "{metric: availability, successCriteria: {httpStatusCodes: [200], grpcStatusCodes: [OK, 5]}}",
                "{metric: latency, threshold: 100ms, measurementWindow: 5m}",
                "{metric: latency, threshold: 100ms, percentile: 90, measurementWindow: 30s}",
                "{metric: latency, threshold: 100ms, percentile: 50, measurementWindow: 2m}",
            ]
        )
    )
    window = draw(
        st.sampled_from(
            [
                "{type: rolling, duration: 2m}",
                "{type: rolling, duration: 10m}",
                "{type: rolling, duration: 2h}",
                "{type: calendar, duration: 1d, timeZone: Asia/Kolkata}",
                "{type: calendar, duration: 1w}",
            ]
        )
    )
    text = (
        "apiVersion: sre.example.com/v1\nkind: ServiceLevelObjective\n"
        f"metadata: {{name: slo-{number}, namespace: shop}}\n"
        f"spec:\n  service: {draw(st.sampled_from(['payment', 'search']))}\n  sli: {sli}\n"
        f"  target: {draw(st.sampled_from(['90', '99', '99.5', '50']))}\n  timeWindow: {window}\n"
    )
    if draw(st.booleans()):
        text += f"  budgetBasis: {draw(st.sampled_from(['projected', 'observed']))}\n"
    if draw(st.integers(0, 3)) == 0:
        glob = draw(st.sampled_from(["/pay*", "/pay/?ard", "*fund"]))
        text += f"  endpoints: ['{glob}']\n"
    if draw(st.integers(0, 3)) == 0:
        text += "  tracks: [stable]\n"
    rules = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["10s", "1m", "5m", "1h"]),
                st.sampled_from(["", ", shortWindow: off", ", shortWindow: 10s"]),
                st.sampled_from(["0.5", "1", "1.9"]),
                st.sampled_from(["", ", minBadEvents: 0", ", minBadEvents: 1", ", minBadEvents: 3"]),
                st.sampled_from(["", ", keepFiringFor: 0s", ", keepFiringFor: 30s", ", keepFiringFor: 2m"]),
            ),
            max_size=3,
            unique_by=lambda r: (r[0], r[2]),
        )
    )
    if rules:
        text += "  alerting:\n" + "".join(
            f"    - {{window: {w}, burnRateThreshold: {x}{short}{least}{keep}}}\n"
            for w, short, x, least, keep in rules
        )
    freeze, rollback = draw(st.sampled_from([(None, None), (60, None), (None, 40), (50, 50), (100, 0)]))
    if freeze is not None or rollback is not None:
        text += "  errorBudgetPolicy:\n"
        text += "" if freeze is None else f"    freezeDeploymentsThreshold: {freeze}\n"
        text += "" if rollback is None else f"    autoRollbackThreshold: {rollback}\n"
        text += draw(st.sampled_from(["", *(f"    hysteresis: {points}\n" for points in (0, 0.5, 12, 50))]))
    return text


@st.composite
def slo_files(draw: st.DrawFn) -> str:
    return "---\n".join(draw(slo_document(n)) for n in range(draw(st.integers(1, 4))))


@st.composite
def event_streams(draw: st.DrawFn) -> list[bytes]:
    """Bursts of failures, gaps, disorder within and beyond the lateness, weights, versions, bad lines."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    disorder_ms = draw(st.sampled_from([0, 3_000, 5_000, 40_000, 700_000]))
    gap = draw(st.sampled_from([0.0, 0.01, 0.03]))
    sampled = draw(st.booleans())
    lines: list[bytes] = []
    ts, broken = START_MS + rng.randrange(86_400_000), False
    for i in range(draw(st.integers(1, 160))):
        ts += rng.choice([0, 10, 500, 3_000, 9_000])
        if rng.random() < gap:
            ts += rng.choice([60_000, 600_000, 3_000_000, 10_000_000])
        if rng.random() < 0.08:
            broken = not broken
        bad = rng.random() < (0.6 if broken else 0.05)
        event: dict[str, object] = {
            "ts": max(0, ts - rng.randrange(disorder_ms + 1)),
            "namespace": "shop",
            "service": rng.choice(["payment", "payment", "search", "unknown"]),
            "endpoint": rng.choice(ENDPOINTS),
            "method": rng.choice(["GET", "POST"]),
            "track": rng.choice(["stable", "stable", "canary"]),
        }
        if rng.random() < 0.9:
            event["status"] = rng.choice([500, 503]) if bad else rng.choice([200, 200, 201, 404])
        if rng.random() < 0.1:
            event["grpc_status"] = rng.choice([0, 5, 13, "UNAVAILABLE", "OK"])
        if rng.random() < 0.05:
            event["ok"] = rng.random() < 0.5
        if rng.random() < 0.8:
            event["latency_ms"] = rng.choice([1, 20, 99.5, 100, 100.5, 250] if bad else [1, 20, 50, 100])
        if rng.random() < 0.7:
            event["version"] = rng.choice(["v1", "v2"] if i > 50 else ["v1"])
        if sampled and rng.random() < 0.5:
            event["sample_rate"] = rng.choice([0.1, 0.3, 0.000001, 0.5])
        lines.append(json.dumps(event).encode())
        if rng.random() < 0.02:
            lines.append(rng.choice([b"{", b"", b"[]", b'{"ts": 5}', b'{"ts":1,"service":""}']))
    return lines


PHASES = (Phase.generate,)  # a scenario is read as it is; shrinking takes minutes


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)
@given(slo_files(), event_streams())
def test_replay_agrees_with_the_contract_read_slowly(slos: str, lines: list[bytes]) -> None:
    agree(slos, lines)
