"""The table of metrics keeps Prometheus' rules, and is all that is exposed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client.exposition import generate_latest
from worker_stats import NOW_S, full

from stream.export.collector import StatsCollector
from stream.export.names import METRICS, Kind, MetricName, markdown_table

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
BASE_UNITS = {"seconds", "ratio"}
OTHER_UNITS = re.compile(
    r"_(s|ms|milliseconds|us|microseconds|ns|minutes|hours|days|percent|pct|kb|mb|kilobytes|megabytes)(_|$)"
)
RESERVED_ENDS = ("_count", "_sum", "_bucket", "_created")


@each_metric
def test_a_name_is_plain_and_ours(metric: MetricName) -> None:
    assert re.fullmatch(r"burngate(_[a-z]+)+", metric.name)
    assert not metric.name.endswith(RESERVED_ENDS)
    assert not set(metric.name.split("_")) & {*Kind}, "a name does not repeat its kind"


def test_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@each_metric
def test_counters_and_only_they_end_in_total(metric: MetricName) -> None:
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)


@each_metric
def test_units_are_base_units_and_stand_last(metric: MetricName) -> None:
    assert not OTHER_UNITS.search(metric.name)
    for unit in BASE_UNITS & set(metric.name.split("_")):
        assert metric.unit == unit
        assert metric.name.removesuffix("_total").endswith(f"_{unit}")


@each_metric
def test_the_help_is_a_sentence(metric: MetricName) -> None:
    assert re.fullmatch(r"[A-Z0-9].*\.", metric.help)
    assert "\n" not in metric.help


@each_metric
def test_labels_are_plain_and_only_summaries_have_quantiles(metric: MetricName) -> None:
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert len(set(metric.labels)) == len(metric.labels)
    assert "le" not in metric.labels
    assert ("quantile" in metric.labels) == (metric.kind is Kind.SUMMARY)


def test_the_collector_exposes_exactly_the_table_in_its_order() -> None:
    families = [*StatsCollector(full().snapshot(), NOW_S, "1.2.3").collect()]
    assert [(family.name, family.type, family.documentation) for family in families] == [
        (metric.name.removesuffix("_total"), metric.kind, metric.help) for metric in METRICS
    ]
    for metric, family in zip(METRICS, families, strict=True):
        assert family.samples, metric.name
        own = {"le"} if metric.kind is Kind.HISTOGRAM else set()
        assert all(set(sample.labels) - own == set(metric.labels) for sample in family.samples)
        assert all(sample.name.startswith(metric.name) for sample in family.samples)


def test_the_readmes_table_has_a_row_for_each() -> None:
    _, _, *rows = markdown_table().splitlines()
    assert [re.match(r"\| `([a-z_]+)` \|", row)[1] for row in rows] == [metric.name for metric in METRICS]  # type: ignore[index]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@pytest.mark.interop
def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = generate_latest(StatsCollector(full().snapshot(), NOW_S, "1.2.3"))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
