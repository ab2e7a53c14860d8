"""Random jobs end well: 40 of them here, as many as one likes by ``make random-jobs``."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from quick_schemas import is_valid
from random_jobs.job import STAGES_EVERY, Job, faults

from schemas import faults as schema_faults
from stream.wire.signal import TOPICS

FOUND = (10027, 10407)
"""Seeds that failed once."""


@pytest.mark.parametrize("seed", [*range(40), *FOUND])
def test_a_random_job_ends_well(seed: int, tmp_path: Path) -> None:
    assert faults(seed, tmp_path) == []


def test_a_seed_always_makes_the_same_job() -> None:
    assert [Job.of(seed) for seed in range(8)] == [Job.of(seed) for seed in range(8)]


def test_jobs_are_of_all_kinds() -> None:
    """What a generator does not make any more is not tested any more."""
    jobs = [Job.of(seed) for seed in range(300)]
    text = "\n".join(job.rules.text for job in jobs)
    for word in (
        *("ServiceLevelObjective", "CanaryAnalysis", "ShadowComparison", "ServiceGraph"),
        *("sequential", "fixed", "kayenta", "baseline", "before", "decrease", "either", "asPublished"),
        *("calendar", "percentile", "shortWindow", "observed", "autoRollbackThreshold", "stages", "slo/"),
    ):
        assert f'"{word}' in text, word
    lines = b"\n".join(line for job in jobs for line in (*job.events.lines, *job.deploys, *job.changes))
    for field in (b"sample_rate", b"latency_s", b"grpc_status", b"ok", b"canary", b"shadow", b"rolled_back"):
        assert b'"' + field + b'"' in lines, field
    assert sum(job.seed % STAGES_EVERY == 0 for job in jobs) > 50


def test_the_quick_schemas_are_as_strict_as_the_published_ones(tmp_path: Path) -> None:
    """Records of a few jobs, each spoilt in one place."""
    rng = random.Random(1)
    for seed in range(6):
        assert faults(seed, tmp_path) == []
        for topic in TOPICS:
            for line in (tmp_path / "first" / f"{topic}.ndjson").read_bytes().splitlines()[:10]:
                record = json.loads(line)
                assert is_valid(topic)(record)
                for _ in range(5):
                    spoilt = _spoilt(rng, record)
                    assert is_valid(topic)(spoilt) == (not schema_faults(topic, spoilt)), spoilt


def _spoilt(rng: random.Random, record: dict[str, Any]) -> dict[str, Any]:
    found: Any = copy.deepcopy(record)
    place = found
    while True:
        key = rng.choice([*place] if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if isinstance(place, dict) and rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice(
                [None, -1, 0, 1.5, 101, True, "", "x" * 300, [], {}, "2026-11-23T05:00:10.000Z"]
            )
        return found
