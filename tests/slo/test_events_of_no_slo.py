"""Events of services that have no SLO are in no window; that they came is counted, each once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stream.config import load_objectives
from stream.replay import replay
from stream.slo.catalog import Catalog
from stream.slo.intake import Intake, Sending
from stream.slo.lexicon import Lexicon

SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: availability, namespace: shop}
spec:
  service: payment
  endpoints: ["/v1/*"]
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
START_MS = 1_790_000_000_000


@pytest.fixture
def slos(tmp_path: Path) -> Path:
    path = tmp_path / "slos.yaml"
    path.write_text(SLO)
    return path


def event(number: int, service: str, **fields: object) -> bytes:
    ts = START_MS + number * 100
    return json.dumps({"ts": ts, "namespace": "shop", "service": service, "status": 200} | fields).encode()


def test_a_sending_counts_what_no_earlier_one_did(slos: Path) -> None:
    """Partials are cumulative within a chunk; what they say of unmatched events is not."""
    lexicon = Lexicon(Catalog(load_objectives([slos])))
    intake = Intake(0, 1, 0, 1, lexicon, 5_000)
    sendings: list[Sending] = []
    for begin in range(0, 12_000, 30):
        offsets = range(begin, begin + 30)
        values = [event(n, "payment" if n % 3 else f"nobody-{n % 2}") for n in offsets]
        stamps = [START_MS + n * 100 for n in offsets]
        for out in intake.feed(begin, begin + 30, offsets, stamps, values, lexicon):
            assert isinstance(out, Sending)
            sendings.append(out)
        if (rest := intake.flush()) is not None:
            sendings.append(rest)
    chunks = sum(sending.committable is not None for sending in sendings)
    assert len(sendings) > 3 * chunks > 100
    by_service = sum((sending.unmatched for sending in sendings), Counter())
    assert by_service == {("shop", "nobody-0"): 2_000, ("shop", "nobody-1"): 2_000}


def test_an_endpoint_that_no_slo_looks_at_is_not_an_unknown_service(slos: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "events.ndjson"
    recorded.write_bytes(b"\n".join([event(0, "payment", endpoint="/other"), event(1, "payment")]))
    summary = replay([slos], [str(recorded)], tmp_path / "out")
    assert summary.unmatched == 0
    assert "no SLO" not in str(summary)


def test_replay_names_the_first_services_without_an_slo(slos: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "events.ndjson"
    others = [f"other-{number % 8}" for number in range(2_000)]
    services = ["payment", "Payment", *others, "payment"]
    recorded.write_bytes(b"\n".join(event(n, service) for n, service in enumerate(services)))
    summary = replay([slos], [str(recorded)], tmp_path / "out")
    first = ", ".join(f"shop/{name}" for name in ("Payment", *(f"other-{number}" for number in range(4))))
    assert f"2,001 events belong to no SLO: {first}, …" in str(summary).splitlines()
