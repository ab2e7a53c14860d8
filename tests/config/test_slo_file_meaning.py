"""What good SLO files mean."""

from decimal import Decimal
from pathlib import Path

import pytest

from stream.config import load_objectives
from stream.errors import ConfigError
from stream.model.objective import (
    Availability,
    BurnRule,
    Calendar,
    Latency,
    Objective,
    Period,
    Rolling,
    Slices,
)

DATA = Path(__file__).parent / "data"

AVAILABILITY = "metric: availability"
LATENCY = "metric: latency, threshold: 500ms, measurementWindow: 5m"
ROLLING = "type: rolling, duration: 30d"


def slo(*, sli: str = AVAILABILITY, target: str = "99", window: str = ROLLING, more: str = "") -> str:
    return (
        "apiVersion: sre.example.com/v1\nkind: ServiceLevelObjective\nmetadata: {name: checkout}\nspec:\n"
        f"  service: checkout\n  sli: {{{sli}}}\n  target: {target}\n  timeWindow: {{{window}}}\n{more}"
    )


@pytest.fixture
def load(tmp_path: Path):
    def one(text: str) -> Objective:
        path = tmp_path / "slo.yaml"
        path.write_text(text, encoding="utf-8")
        (objective,) = load_objectives([path])
        return objective

    return one


@pytest.fixture
def load_rule(load):
    def one(rule: str, sli: str = AVAILABILITY, target: str = "99") -> BurnRule:
        more = f"  alerting: [{{burnRateThreshold: 2, {rule}}}]\n"
        (found,) = load(slo(sli=sli, target=target, more=more)).rules
        return found

    return one


def test_the_users_file_loads_unchanged():
    availability, latency = load_objectives([DATA / "slo-examples.yaml"])
    assert availability == Objective(
        namespace="production",
        name="payment-service-availability",
        service="payment-service",
        sli=Availability(http=("200", "201", "202")),
        target_pct=Decimal("99.95"),
        window=Rolling(2_592_000),
        rules=(
            BurnRule("5m", 300, 30, Decimal("14.4"), "critical", ("pagerduty-critical",), 5, 30_000),
            BurnRule("1h", 3600, 300, Decimal("6.0"), "warning", ("slack-sre-team",), 5, 300_000),
            BurnRule("6h", 21_600, 1800, Decimal("1.0"), "info", ("email-team",), 5, 1_800_000),
        ),
        freeze_below_pct=Decimal(10),
        rollback_below_pct=Decimal(5),
        hysteresis=Decimal(5),
        description="Payment service availability SLO",
    )
    assert latency.sli == Latency(threshold_ms=500)
    assert latency.slices is None  # percentile 99 and target 99.0 are equal: requests are counted
    assert str(latency.target_pct) == "99.0"


def test_every_key_is_read():
    availability, latency = load_objectives([DATA / "good" / "every-key.yaml"])
    assert availability == Objective(
        namespace="shop",
        name="checkout-availability",
        service="checkout",
        sli=Availability(http=("201", "2xx", "3xx", "404"), grpc=(0, 1, 5)),
        target_pct=Decimal("99.9"),
        window=Calendar(Period.MONTH, "Europe/Berlin"),
        rules=(
            BurnRule("1h", 3600, 300, Decimal("14.4"), "critical", ("pager", "chat"), 0, 0),
            BurnRule("6h", 21_600, None, Decimal(6), "warning", (), 5, 1_800_000),
        ),
        endpoints=("/checkout*", "/pay?"),
        tracks=("stable", "canary"),
        budget_basis="observed",
        freeze_below_pct=Decimal(10),
        rollback_below_pct=Decimal("2.5"),
        hysteresis=Decimal("7.5"),
        description="Checkout answers",
        labels=(("team", "payments"), ("tier", "1")),
    )
    assert latency.sli == Latency(threshold_ms=1000)
    assert latency.slices == Slices(length_s=300, allowed_bad_pct=Decimal("0.5"))
    assert latency.window == Rolling(28 * 86_400)


def test_what_is_left_out_has_its_default():
    (objective,) = load_objectives([DATA / "good" / "minimal.yaml"])
    assert objective == Objective(
        namespace="default",
        name="checkout",
        service="checkout",
        sli=Availability(),
        target_pct=Decimal(99),
        window=Rolling(2_592_000),
        hysteresis=Decimal(5),
    )


@pytest.mark.parametrize(
    ("window", "points"),
    [
        ("type: rolling, duration: 7d", 5),
        ("type: rolling, duration: 1w", 5),
        ("type: rolling, duration: 604800s", 5),
        ("type: rolling, duration: 604791s", 5),  # rounded up to 7 d
        ("type: rolling, duration: 604790s", 20),
        ("type: rolling, duration: 1h", 20),
        ("type: calendar, duration: 1d", 20),
        ("type: calendar, duration: 1w", 5),
        ("type: calendar, duration: 1M", 5),
    ],
)
def test_the_default_hysteresis_goes_by_the_length_of_the_time_window(load, window, points):
    more = "  errorBudgetPolicy: {freezeDeploymentsThreshold: 10}\n"
    assert load(slo(window=window, more=more)).hysteresis == Decimal(points)


@pytest.mark.parametrize("points", ["0", "50", "0.000000000000000001"])
def test_hysteresis_is_a_decimal_as_written(load, points):
    more = f"  errorBudgetPolicy: {{hysteresis: {points}}}\n"
    assert load(slo(more=more)).hysteresis == Decimal(points)


def test_null_counts_as_absent():
    (objective,) = load_objectives([DATA / "good" / "null-counts-as-absent.yaml"])
    assert objective == Objective(
        namespace="default",
        name="checkout",
        service="checkout",
        sli=Availability(),
        target_pct=Decimal(99),
        window=Calendar(Period.DAY, "UTC"),
        hysteresis=Decimal(20),
        rules=(BurnRule("1h", 3600, 300, Decimal(1), "warning", (), 5, 300_000),),
    )


def test_merged_keys_yield_to_a_rules_own_keys():
    (objective,) = load_objectives([DATA / "good" / "anchors-and-merges.yaml"])
    rules = [(rule.window, rule.threshold, rule.severity, rule.channels) for rule in objective.rules]
    assert rules == [
        ("1h", Decimal("14.4"), "critical", ("pager",)),
        ("6h", Decimal(6), "critical", ("pager",)),
        ("1d", Decimal("14.4"), "info", ("pager",)),
    ]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1ms", 10), ("10s", 10), ("11s", 20), ("10001ms", 20), ("90m", 5400), ("2w", 1_209_600)],
)
def test_a_window_that_is_not_whole_panes_is_rounded_up(load, load_rule, written: str, seconds: int):
    assert load(slo(window=f"type: rolling, duration: {written}")).window == Rolling(seconds)
    assert load_rule(f"window: {written}").window_s == seconds
    assert load_rule(f"window: 2w, shortWindow: {written}").short_window_s == seconds
    slices = load(
        slo(sli=f"metric: latency, threshold: 1s, percentile: 95, measurementWindow: {written}")
    ).slices
    assert slices == Slices(seconds, Decimal(5))


@pytest.mark.parametrize(
    ("window", "short_s"),
    [("10s", 30), ("6m", 30), ("361s", 40), ("25m", 130), ("30m", 150), ("1h", 300), ("3d", 21_600)],
)
def test_the_default_short_window_is_a_twelfth_in_whole_panes_of_at_least_30_s(load_rule, window, short_s):
    assert load_rule(f"window: {window}").short_window_s == short_s


def test_a_short_window_is_never_shorter_than_a_slice(load_rule):
    sliced = "metric: latency, threshold: 1s, percentile: 95, measurementWindow: 10m"
    assert load_rule("window: 1h", sli=sliced).short_window_s == 600
    assert load_rule("window: 1h, shortWindow: 5m", sli=sliced).short_window_s == 600
    assert load_rule("window: 1h, shortWindow: 20m", sli=sliced).short_window_s == 1200
    assert load_rule("window: 1h, shortWindow: off", sli=sliced).short_window_s is None
    counted = "metric: latency, threshold: 1s, percentile: 99, measurementWindow: 10m"
    assert load_rule("window: 1h", sli=counted).short_window_s == 300


def test_keep_firing_for_is_the_short_window_unless_given(load_rule):
    assert load_rule("window: 1h").keep_firing_for_ms == 300_000
    assert load_rule("window: 1h, shortWindow: 95s").keep_firing_for_ms == 100_000
    assert load_rule("window: 1h, shortWindow: off").keep_firing_for_ms == 300_000
    assert load_rule("window: 1h, keepFiringFor: 1500ms").keep_firing_for_ms == 1500
    assert load_rule("window: 1h, keepFiringFor: 0s").keep_firing_for_ms == 0


@pytest.mark.parametrize("off", ["off", "Off", '"off"', "false", "no"])
def test_off_may_be_any_spelling_that_yaml_tools_print(load_rule, off: str):
    assert load_rule(f"window: 1h, shortWindow: {off}").short_window_s is None


def test_a_window_is_kept_as_written(load_rule):
    assert load_rule("window: 60m").window == "60m"


def test_a_latency_slo_without_percentile_counts_requests(load):
    objective = load(slo(sli=LATENCY))
    assert objective.sli == Latency(500)
    assert objective.slices is None


@pytest.mark.parametrize("written", ["99.99", "99.990", "1.1", "9.9e1", "99.999999999999999999"])
def test_decimals_keep_their_digits(load, written: str):
    assert load(slo(target=written)).target_pct.as_tuple() == Decimal(written).as_tuple()


def test_a_threshold_just_below_the_highest_burn_rate_is_accepted(load):
    # 1/(1 − 99.95/100) is exactly 2000; in binary floating point it is not.
    more = "  alerting: [{window: 1h, burnRateThreshold: 1999.999999999999999}]\n"
    assert load(slo(target="99.95", more=more)).rules[0].threshold == Decimal("1999.999999999999999")


@pytest.mark.parametrize(("target", "threshold"), [("99.95", "2000"), ("90", "10.0"), ("50", "2")])
def test_a_threshold_equal_to_the_highest_burn_rate_is_refused(load, target, threshold):
    more = f"  alerting: [{{window: 1h, burnRateThreshold: {threshold}}}]\n"
    with pytest.raises(ConfigError, match="this rule could never fire"):
        load(slo(target=target, more=more))


@pytest.mark.parametrize("period", list(Period))
def test_every_calendar_period_is_read(load, period: Period):
    assert load(slo(window=f"type: calendar, duration: {period}")).window == Calendar(period, "UTC")


def test_an_explicitly_empty_list_of_alerts_means_none(load):
    assert load(slo(more="  alerting: []\n")).rules == ()


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(load):
    assert load("\ufeff" + slo().replace("\n", "\r\n")).name == "checkout"


def test_directives_and_document_ends_are_understood(load):
    assert load(f"%YAML 1.1\n---\n{slo()}...\n%YAML 1.1\n---\n...\n").name == "checkout"


def test_a_json_document_is_yaml(load):
    text = (
        '{"apiVersion": "sre.example.com/v1", "kind": "ServiceLevelObjective", "metadata": {"name": "a"},'
        ' "spec": {"service": "s", "sli": {"metric": "availability"}, "target": 99.5,'
        ' "timeWindow": {"type": "rolling", "duration": "7d"}}}'
    )
    assert load(text).target_pct == Decimal("99.5")
