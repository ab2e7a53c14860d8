"""What rollbacks name, by ``burngate replay`` and by the contract read slowly: releases that come, go and
come back, pauses of minutes to days, deploy events that take versions back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import oracle.versions
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle.compare import first_difference
from oracle.replay import replay as oracle_replay
from release_stories import RULES, history

from schemas import faults
from stream.replay import replay
from stream.slo import versions


def agree(lines: list[bytes], deploys: list[bytes]) -> int:
    """How many rollbacks there were."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "slos.yaml").write_text(RULES)
        (directory / "events.ndjson").write_bytes(b"\n".join(lines))
        (directory / "deploys.ndjson").write_bytes(b"\n".join(deploys))
        replay(
            [directory / "slos.yaml"],
            [str(directory / "events.ndjson")],
            directory / "out",
            deploys=[str(directory / "deploys.ndjson")],
        )
        topic = "deploy-rollbacks"
        found = [json.loads(line) for line in (directory / "out" / f"{topic}.ndjson").open()]
    expected = oracle_replay(RULES, lines, deploys=deploys)
    difference = first_difference(expected, {topic: found, "slo-alerts": []}, (topic,))
    assert difference is None, f"{difference}\n\n" + "\n".join(map(repr, [*lines[:400], *deploys]))
    assert all(faults(topic, record) == [] for record in found)
    return len(found)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 14), most=st.sampled_from([2, 256]))
def test_rollbacks_name_what_the_contract_says(seed: int, length: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "MAX_VERSIONS", most)
        patch.setattr(oracle.versions, "MOST_VERSIONS", most)
        agree(*history(random.Random(seed), length))
