"""What is shown of a shard, for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import load_objectives
from stream.pipeline import Feed
from stream.slo.readings import readings

MINIMAL = Path(__file__).parents[1] / "config" / "data" / "good" / "minimal.yaml"


TIMES_MS = (1_790_000_005_000, 1_790_000_030_000)


@pytest.mark.parametrize(("target", "ratio"), [("99.9", 0.999), ("99.95", 0.9995), ("57", 0.57)])
def test_a_target_is_the_ratio_that_was_written(target: str, ratio: float, tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    text = MINIMAL.read_text()
    assert "target: 99\n" in text
    file.write_text(text.replace("target: 99\n", f"target: {target}\n"))
    feed = Feed(load_objectives([file]))
    frame, _ = feed.decode([b'{"ts":%d,"service":"checkout","status":200}' % ts for ts in TIMES_MS])
    list(feed.push(frame))
    (reading,) = readings(feed.shard, ()).slos
    assert reading.target_ratio == ratio
