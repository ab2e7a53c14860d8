"""What the samples say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from worker_stats import NOW_S, full, latency, slo

from stream.export.collector import StatsCollector, bounded
from stream.model.stats import LatencyReading, Readings, Stats

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def exposed(stats: Stats) -> Samples:
    """As Prometheus reads them."""
    text = generate_latest(StatsCollector(stats.snapshot(), NOW_S, "1.2.3")).decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"burngate_{name}", frozenset(labels.items())))


WHO = {"namespace": "shop", "service": "payment", "slo": "payment-availability"}
WHERE = {"namespace": "shop", "service": "payment"}


def test_a_worker_that_has_just_started_says_so() -> None:
    samples = exposed(Stats())
    assert value(samples, "events_total") == 0
    assert value(samples, "slo_files_valid") == 1
    assert value(samples, "build_info", version="1.2.3") == 1
    assert value(samples, "batch_events_count") == 0
    assert not [name for name, _ in samples if "timestamp" in name or "_slo_b" in name]


def test_counters_are_by_error_topic_and_partition() -> None:
    samples = exposed(full())
    assert value(samples, "events_total") == 1000
    assert value(samples, "unmatched_events_total") == 9
    assert value(samples, "dead_letters_total", error="not_json") == 4
    assert value(samples, "dead_letters_total", error="bad_time") == 1
    assert value(samples, "late_events_total") == 3
    assert value(samples, "too_late_events_total") == 2
    assert value(samples, "partials_sent_total") == 7
    assert value(samples, "partials_applied_total") == 6
    assert value(samples, "partials_ignored_total") == 1
    assert value(samples, "signals_total", topic="slo-alerts") == 1
    assert value(samples, "consumer_lag_records", topic="request-events", partition="0") == 12
    assert value(samples, "series", partition="3") == 40
    assert value(samples, "series_overflow_total") == 5


def test_ages_are_as_of_the_scrape() -> None:
    samples = exposed(full())
    assert value(samples, "watermark_delay_seconds", partition="3") == 7.5
    assert value(samples, "checkpoint_age_seconds", partition="3") == 4
    assert value(samples, "last_progress_timestamp_seconds") == NOW_S - 1


def test_an_slo_shows_its_target_burn_budget_and_alerts() -> None:
    samples = exposed(full())
    assert value(samples, "slo_target_ratio", **WHO) == 0.999
    assert value(samples, "slo_burn_rate", **WHO, window="5m") == 14.5
    assert value(samples, "slo_budget_remaining_ratio", **WHO) == -0.25
    assert value(samples, "alert_firing", **WHO, severity="critical") == 1
    assert value(samples, "alert_firing", **WHO, severity="warning") == 0
    assert value(samples, "deploy_frozen", **WHERE) == 1


def test_a_window_without_events_has_no_burn_rate() -> None:
    assert value(exposed(full()), "slo_burn_rate", **WHO, window="1h") is None


def test_latencies_are_seconds_by_window_and_quantile_and_the_whole_service_has_no_endpoint() -> None:
    samples = exposed(full())
    assert value(samples, "latency_seconds", **WHERE, endpoint="", window="5m", quantile="0.999") == 1.999
    charges = {"endpoint": "/v1/charges", "window": "5m"}
    assert value(samples, "latency_seconds", **WHERE, **charges, quantile="0.5") == 0.05


def test_histograms_are_cumulative() -> None:
    stats = Stats()
    for seconds in (0.001, 0.002, 0.3, 1000):
        stats.batch_seconds.observe(seconds)
    samples = exposed(stats)
    buckets = {
        le: value(samples, "batch_duration_seconds_bucket", le=le) for le in ("0.001", "0.5", "60.0", "+Inf")
    }
    assert buckets == {"0.001": 1, "0.5": 3, "60.0": 3, "+Inf": 4}
    assert value(samples, "batch_duration_seconds_count") == 4
    assert value(samples, "batch_duration_seconds_sum") == 1000.303


def test_partitions_are_shown_together() -> None:
    stats = full()
    stats.readings[4] = Readings((slo("search-latency", service="search"),), {("shop", "search"): False})
    samples = exposed(stats)
    assert value(samples, "deploy_frozen", namespace="shop", service="search") == 0
    assert value(samples, "deploy_frozen", **WHERE) == 1


def test_names_of_any_kind_reach_prometheus_unharmed() -> None:
    stats = Stats()
    odd = 'a"b\\c\nd{e}é'
    stats.readings[0] = Readings((slo(odd),))
    assert value(exposed(stats), "slo_target_ratio", **(WHO | {"slo": odd})) == 0.999


def test_the_busiest_endpoints_have_latencies_and_the_others_are_counted() -> None:
    readings = [
        latency(),
        latency("/a", 1),
        latency("/b", 3),
        latency("/c", 2),
        latency("/b", 9, window_s=3600),
    ]
    shown, omitted = bounded(readings, per_service=2, in_all=10)
    assert [(reading.endpoint, reading.window_s) for reading in shown] == [
        (None, 300),
        ("/b", 300),
        ("/c", 300),
        ("/b", 3600),
    ]
    assert omitted == 1


def test_equally_busy_endpoints_are_taken_by_name() -> None:
    shown, omitted = bounded([latency(name) for name in "cab"], per_service=2, in_all=10)
    assert ([reading.endpoint for reading in shown], omitted) == (["a", "b"], 1)


@given(
    st.lists(
        st.builds(
            latency,
            st.none() | st.sampled_from("abcdef"),
            st.integers(1, 9),
            st.sampled_from(["x", "y", "z"]),
            st.sampled_from([60, 300]),
        ),
        unique_by=lambda reading: (reading.service, reading.endpoint, reading.window_s),
    ),
    st.integers(0, 4),
    st.integers(0, 6),
)
def test_no_more_endpoints_are_shown_than_there_is_room_for(
    readings: list[LatencyReading], per_service: int, in_all: int
) -> None:
    shown, omitted = bounded(readings, per_service, in_all)
    endpoints = {(reading.service, reading.endpoint) for reading in shown if reading.endpoint}
    services = [service for service, _ in endpoints]
    every = {(reading.service, reading.endpoint) for reading in readings if reading.endpoint}
    assert len(endpoints) <= in_all
    assert all(services.count(service) <= per_service for service in services)
    assert len(endpoints) + omitted == len(every)
    assert [r for r in shown if not r.endpoint] == [r for r in readings if not r.endpoint]
    assert shown == [r for r in readings if not r.endpoint or (r.service, r.endpoint) in endpoints]
