"""An SLO that counts nothing is mostly a mistake in its file: a replay names it, a metric is not there."""

from __future__ import annotations

import json
from pathlib import Path

from stream.export.collector import StatsCollector
from stream.model.stats import Readings, SloReading, Stats
from stream.replay import replay

SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: %s, namespace: shop}
spec:
  service: %s
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
START_MS = 1_795_410_000_000


def replayed(tmp_path: Path, slos: dict[str, str], times_ms: list[tuple[str, int]]) -> str:
    (tmp_path / "slos.yaml").write_text("---\n".join(SLO % one for one in slos.items()))
    events = [
        {"ts": START_MS + at_ms, "namespace": "shop", "service": service, "status": 200}
        for service, at_ms in times_ms
    ]
    (tmp_path / "e.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(replay([tmp_path / "slos.yaml"], [str(tmp_path / "e.ndjson")], tmp_path / "out"))


def test_a_replay_names_them(tmp_path: Path) -> None:
    said = replayed(tmp_path, {"a": "payment", "b": "paymnet", "c": "ledger"}, [("payment", 0)])
    assert "\n2 SLOs counted no event: shop/b, shop/c\n" in said


def test_one_that_counted_and_was_forgotten_since_is_none_of_them(tmp_path: Path) -> None:
    said = replayed(
        tmp_path,
        {"a": "payment", "b": "ledger"},
        [("payment", 0), ("ledger", 5 * 3_600_000), ("ledger", 10**8)],
    )
    assert "counted no event" not in said


def test_only_so_many_are_named(tmp_path: Path) -> None:
    said = replayed(tmp_path, {f"s{number}": f"x{number}" for number in range(9)}, [("payment", 0)])
    assert "\n9 SLOs counted no event: shop/s0, shop/s1, shop/s2, shop/s3, shop/s4, …\n" in said


def test_the_metric_is_absent_until_an_event_was_counted() -> None:
    def reading(name: str, last_event_s: int | None) -> SloReading:
        return SloReading("shop", name, "payment", 0.99, {}, 1.0, {}, last_event_s)

    stats = Stats(readings={0: Readings((reading("a", 1_795_410_000), reading("b", None)))})
    samples = [
        sample
        for family in StatsCollector(stats, 0.0, "1").collect()
        for sample in family.samples
        if sample.name == "burngate_slo_last_event_timestamp_seconds"
    ]
    assert [(sample.labels["slo"], sample.value) for sample in samples] == [("a", 1_795_410_000.0)]
