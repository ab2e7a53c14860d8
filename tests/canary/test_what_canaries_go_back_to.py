"""A canary's rollback keeps its rollout's versions, but does not go back to what was taken back itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.config import load_rules
from stream.model.deploy import DeployEvent, DeployState
from stream.pipeline import Feed

BEGIN_MS = 1_795_410_000_000
ANALYSIS = """
apiVersion: sre.example.com/v1
kind: CanaryAnalysis
metadata: {name: checkout}
spec:
  service: checkout
  metrics: [{name: error-rate}]
  duration: {minimum: 1m, maximum: 3m}
  warmup: 20s
"""
SLO = """
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {name: checkout-up}
spec:
  service: checkout
  sli: {metric: availability}
  target: 99
  timeWindow: {type: rolling, duration: 1h}
"""
MINUTE_MS = 60_000


def requests(
    from_minute: int, until_minute: int, stable: str, canary: str | None = None, bad: int = 2
) -> Iterator[bytes]:
    """Five a second of each; of the canary's, one in ``bad`` fails."""
    for n in range(from_minute * 300, until_minute * 300):
        event = {"ts": BEGIN_MS + n * 200, "service": "checkout", "latency_ms": 5}
        yield json.dumps(event | {"version": stable, "status": 200}).encode()
        if canary:
            status = 500 if n % bad == 0 else 200
            yield json.dumps(event | {"version": canary, "track": "canary", "status": status}).encode()


def told(state: str, minute: float, deployment: str = "d", **versions: Any) -> DeployEvent:
    at_ms = BEGIN_MS + int(minute * MINUTE_MS)
    return DeployEvent(deployment, "default", "checkout", DeployState(state), at_ms, **versions)


@pytest.fixture(params=[ANALYSIS, f"{ANALYSIS}---{SLO}"], ids=["without an SLO", "with an SLO"])
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Feed:
    path = tmp_path / "rules.yaml"
    path.write_text(request.param)
    rules = load_rules([path])
    return Feed(rules.objectives, analyses=rules.analyses)


def rollbacks(feed: Feed, *lines: Iterator[bytes]) -> list[tuple[Any, Any]]:
    frame, rejects = feed.decode([line for some in lines for line in some])
    assert not rejects
    signals = [*feed.push(frame), *feed.finish()]
    found = [s.value for s in signals if s.topic == "deploy-rollbacks"]
    return [(one["version"], one["previous_version"]) for one in found]


def test_a_canary_that_fails_goes_back_to_what_served(feed: Feed) -> None:
    assert rollbacks(feed, requests(0, 12, "1"), requests(12, 16, "1", "2")) == [("2", "1")]


def test_not_to_a_version_that_was_taken_back_and_serves_all_the_same(feed: Feed) -> None:
    story = (
        requests(0, 12, "1"),
        requests(12, 16, "1", "2"),
        requests(16, 30, "2"),
        requests(30, 34, "2", "3"),
    )
    assert rollbacks(feed, *story) == [("2", "1"), ("3", None)]


def test_but_to_that_if_a_deploy_event_names_it(feed: Feed) -> None:
    feed.announce(told("started", 30, version="3", previous_version="2"))
    story = (
        requests(0, 12, "1"),
        requests(12, 16, "1", "2"),
        requests(16, 30, "2"),
        requests(30, 34, "2", "3"),
    )
    assert rollbacks(feed, *story) == [("2", "1"), ("3", "2")]


@pytest.mark.parametrize("version", ["2", None])
def test_a_deploy_event_condemns_the_version_that_it_or_its_rollout_names(
    feed: Feed, version: str | None
) -> None:
    """2 passes, and is taken back by people; then it serves again, and 3 fails."""
    feed.announce(told("started", 12, version="2"))
    feed.announce(told("rolled_back", 17, version=version))
    feed.announce(told("started", 40, "e", version="3"))
    story = (
        requests(0, 12, "1"),
        requests(12, 17, "1", "2", bad=10**9),
        requests(17, 30, "1"),
        requests(30, 40, "2"),
        requests(40, 44, "2", "3"),
    )
    assert rollbacks(feed, *story) == [("3", None)]


def test_one_without_a_version_says_nothing_of_another_deployment(feed: Feed) -> None:
    feed.announce(told("started", 12, version="2"))
    feed.announce(told("rolled_back", 17, "other"))
    feed.announce(told("started", 40, "e", version="3"))
    story = requests(0, 12, "1"), requests(12, 17, "1", "2", bad=10**9), requests(17, 40, "2")
    assert rollbacks(feed, *story, requests(40, 44, "2", "3")) == [("3", "2")]
