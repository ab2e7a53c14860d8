"""A worker's stats with something in every field."""

from __future__ import annotations

from stream.model.stats import LatencyReading, Readings, SloReading, Stats

NOW_S = 1_795_410_100.0


def slo(name: str = "payment-availability", **changes: object) -> SloReading:
    values: dict[str, object] = {
        "namespace": "shop",
        "slo": name,
        "service": "payment",
        "target_ratio": 0.999,
        "burn": {"5m": 14.5, "1h": None},
        "budget_remaining_ratio": -0.25,
        "firing": {"critical": True, "warning": False},
        "last_event_s": 1_795_410_000,
    }
    return SloReading(**(values | changes))  # type: ignore[arg-type]


def latency(endpoint: str | None = None, count: int = 100, service: str = "payment", window_s: int = 300):
    return LatencyReading("shop", service, endpoint, window_s, count, (50.0, 90.0, 95.0, 99.0, 1999.0))


def full() -> Stats:
    stats = Stats(
        events=1000, unmatched=9, late=3, too_late=2, partials_sent=7, partials_applied=6, partials_ignored=1
    )
    stats.unmatched_by["default", "payment"] += 9
    stats.dead_letters["not_json"] += 4
    stats.dead_letters["bad_time"] += 1
    stats.deploy_events["taken"] += 2
    stats.batch_events.observe(1000)
    stats.batch_seconds.observe(0.3)
    stats.lag["request-events", 0] = 12
    stats.series[3] = 40
    stats.series_overflow = 5
    stats.watermark_s[3] = NOW_S - 7.5
    stats.signals["slo-alerts"] += 1
    stats.readings[3] = Readings(
        (slo(), slo("payment-latency")),
        {("shop", "payment"): True},
        (latency(), latency("/v1/charges")),
    )
    stats.checkpoint_at_s[3] = NOW_S - 4
    stats.checkpoint_seconds.observe(0.02)
    stats.restore_seconds.observe(2.0)
    stats.progress_at_s = NOW_S - 1
    stats.slo_files_loaded_at_s = NOW_S - 600
    return stats
