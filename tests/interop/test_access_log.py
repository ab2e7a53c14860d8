"""nginx's access log through kcat and the worker, read back by kcat and Prometheus: others' at both ends.

One run serves all tests: wrk asks nginx for pages, first healthy ones, then ones of which some fail.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from access_log import Event, Log, Slo, parse, rfc3339
from programs import Kcat, free_port, get, query, running, wait_for
from workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.interop]

HERE = Path(__file__).parent
SCRAPE_CONFIG = HERE.parents[1] / "deploy" / "prometheus.yml"
PARTITIONS = 4
LATENESS_MS = 1_000
OPTIONS = (
    "--partitions",
    str(PARTITIONS),
    "--allowed-lateness",
    f"{LATENESS_MS}ms",
    "--metrics-host",
    "127.0.0.1",
)
HEALTHY_S, INCIDENT_S = 3, 6
FAILING_PCT = 60
# Quiet for 10 s makes a partition idle; the last tick's end is at most another pane away.
DECISION_LIMIT_S = 40.0

NOT_EVENTS = {
    b'{"ts":1790000000000,"service":"storefront","stat': "not_json",
    b'127.0.0.1 - - [23/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 612': "not_json",
    b'["storefront",200]': "not_an_object",
    b'{"ts":1790000000000,"status":200}': "missing_field",
    b'{"ts":1790000000000,"service":"storefront","status":"200"}': "wrong_type",
    b'{"ts":"23/Nov/2026:12:00:00 +0000","service":"storefront","status":200}': "bad_time",
}
AGENT = "Caf\xe9/1.0"
"""Sent in Latin-1: nginx logs the bytes as they are, and the line is no UTF-8."""

AVAILABILITY = Slo(
    "storefront-availability",
    Fraction(99),
    counts=lambda event: True,
    bad=lambda event: event["status"] >= 500,
)
PAYMENTS = Slo(
    "storefront-payments",
    Fraction(90),
    counts=lambda event: event["endpoint"].startswith("/payments/"),
    bad=lambda event: event["status"] // 100 != 2,
    projected=True,
)
LATENCY = Slo(
    "storefront-latency",
    Fraction("99.5"),
    counts=lambda event: True,
    bad=lambda event: event["latency_s"] * 1000 > 250,
)
ALERT_WINDOW_S, ALERT_SHORT_S, ALERT_THRESHOLD = 60, 30, 5
FREEZE_BELOW_PCT = 10

Record = dict[str, Any]


@dataclass
class Run:
    """What went in, and what others have read of what came out."""

    events: list[Event]
    faulty: list[bytes]
    minute_s: int
    """The tick of the budgets."""
    alerts: list[tuple[str, Record]]
    freezes: list[tuple[str, Record]]
    budgets: dict[str, Record]
    letters: list[Record]
    prometheus: str
    metrics: bytes
    worker_log: str


def start_nginx(stack: ExitStack, nginx: str, directory: Path, port: int) -> subprocess.Popen[bytes]:
    (directory / "htdocs").mkdir(parents=True)
    (directory / "htdocs" / "report").write_bytes(b"." * 150_000)
    config = directory / "nginx.conf"
    config.write_text((HERE / "nginx.conf").read_text().replace("@PORT@", str(port)))
    log = directory / "error.log"
    command = [nginx, "-p", f"{directory}/", "-e", str(log), "-c", str(config)]
    process = stack.enter_context(running(command, log))
    wait_for("nginx listens", lambda: _listens(port), 10, log)
    return process


def start_prometheus(stack: ExitStack, prometheus: str, directory: Path, port: int, worker_port: int) -> str:
    """Scrapes the worker as deploy/ has it, but for where the worker is, and more often."""
    directory.mkdir()
    config = yaml.safe_load(SCRAPE_CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    job = next(job for job in config["scrape_configs"] if job["job_name"] == "burngate")
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{worker_port}"]}]
    config["scrape_configs"] = [job]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        prometheus,
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
    ]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    stack.enter_context(running(command, directory / "prometheus.log"))
    return f"http://127.0.0.1:{port}"


def make_traffic(wrk: str, port: int, access_log: Path) -> None:
    """Requests of all kinds, and lines of other programs between those of nginx."""

    def ask(length_s: int, failing_pct: int) -> None:
        command = [wrk, "-t1", "-c8", f"-d{length_s}s", "-s", str(HERE / "requests.lua")]
        command += [f"http://127.0.0.1:{port}", "--", str(failing_pct)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=length_s + 30)

    def mix_in(lines: list[bytes]) -> None:
        with access_log.open("ab", buffering=0) as log:
            log.write(b"".join(line + b"\n" for line in lines))

    lines = list(NOT_EVENTS)
    mix_in(lines[:2])
    ask(HEALTHY_S, 0)
    mix_in(lines[2:4])
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/orders/latin", headers={"User-Agent": AGENT})
    assert client.getresponse().status == 200
    client.close()
    ask(INCIDENT_S, FAILING_PCT)
    mix_in(lines[4:])


def follow(
    stack: ExitStack, tail: str, kcat: Kcat, access_log: Path, nginx: subprocess.Popen[bytes]
) -> subprocess.Popen[bytes]:
    """``tail -f access.log | kcat``, which ends some time after nginx has."""
    command = [tail, "-n", "+1", "-s", "0.1", f"--pid={nginx.pid}", "-f", str(access_log)]
    log = access_log.with_name("kcat.log")
    source = stack.enter_context(running(command, log, stdout=subprocess.PIPE))
    return stack.enter_context(running(kcat.producer("request-events"), log, stdin=source.stdout))


@pytest.fixture(scope="module")
def run(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    found = programs.find()
    directory = tmp_path_factory.mktemp("interop")
    app = f"interop-{os.getpid()}"
    kcat = Kcat(found["kcat"], broker, f"{app}-")
    with ExitStack() as stack:
        metrics_port, log = free_port(), directory / "worker.log"
        options = [*OPTIONS, "--metrics-port", str(metrics_port)]
        worker = WorkerProcess(broker, app, HERE / "slos.yaml", log, options)
        stack.callback(worker.stop)
        prometheus = start_prometheus(
            stack, found["prometheus"], directory / "prometheus", free_port(), metrics_port
        )
        port = free_port()
        nginx = start_nginx(stack, found["nginx"], directory / "nginx", port)

        def ready() -> bytes | None:
            assert worker.process.poll() is None, log.read_text()
            return get(f"http://127.0.0.1:{metrics_port}/readyz")

        wait_for("the worker is ready", ready, 30, log)

        access_log = directory / "nginx" / "access.log"
        producer = follow(stack, found["tail"], kcat, access_log, nginx)
        make_traffic(found["wrk"], port, access_log)
        nginx.terminate()
        assert nginx.wait(10) == 0, (directory / "nginx" / "error.log").read_text()
        assert producer.wait(20) == 0, access_log.with_name("kcat.log").read_text()
        events, faulty = parse(access_log.read_bytes().splitlines())

        wait_for("an alert", lambda: kcat.consume("slo-alerts"), DECISION_LIMIT_S, log)
        wait_for("a freeze", lambda: kcat.consume("deploy-freezes"), DECISION_LIMIT_S, log)
        # Budgets are published each minute: another service's events let it come sooner than the clock.
        minute_s = (events[-1]["ts"] // 60_000 + 1) * 60
        for partition in range(PARTITIONS):
            event = f'{{"ts":{minute_s * 1000 + LATENESS_MS + 1},"service":"pacemaker"}}'
            kcat.produce("request-events", partition, event)

        def budgets() -> dict[str, Record] | None:
            records = [record for _, record in kcat.consume("slo-budgets")]
            due = {r["slo"]: r for r in records if r["evaluated_at"] == rfc3339(minute_s)}
            return due if len(due) == 3 else None

        due = wait_for("the minute's budgets", budgets, DECISION_LIMIT_S, log)
        letters = [record for _, record in kcat.consume("dead-letters")]
        yield Run(
            events,
            faulty,
            minute_s,
            kcat.consume("slo-alerts"),
            kcat.consume("deploy-freezes"),
            due,
            letters,
            prometheus,
            get(f"http://127.0.0.1:{metrics_port}/metrics") or b"",
            log.read_text(),
        )


def test_the_alert_is_the_one_that_the_access_log_implies(run: Run) -> None:
    log = Log(run.events, AVAILABILITY)
    firing_s = next(
        tick for tick in log.ticks() if log.burning(ALERT_WINDOW_S, ALERT_SHORT_S, ALERT_THRESHOLD, tick)
    )
    [(key, alert)] = run.alerts
    assert key == "shop/storefront"
    assert (alert["state"], alert["severity"], alert["channels"]) == ("firing", "critical", ["pager"])
    assert alert["starts_at"] == alert["evaluated_at"] == rfc3339(firing_s)
    long, short = (log.count(length_s, firing_s) for length_s in (ALERT_WINDOW_S, ALERT_SHORT_S))
    assert alert["burn_rate"]["long"] == pytest.approx(float(AVAILABILITY.burn(*long)), rel=1e-12)
    assert alert["burn_rate"]["short"] == pytest.approx(float(AVAILABILITY.burn(*short)), rel=1e-12)
    assert alert["budget_remaining_pct"] == pytest.approx(float(log.remaining_pct(firing_s)), rel=1e-12)
    assert alert["contributors"] == log.contributors(ALERT_WINDOW_S, firing_s)
    assert [one["endpoint"] for one in alert["contributors"]] == ["/payments/{id}"]


def test_deployments_freeze_at_the_tick_at_which_the_logs_errors_exceed_the_budget(run: Run) -> None:
    log = Log(run.events, AVAILABILITY)
    since_s = next(tick for tick in log.ticks() if log.remaining_pct(tick) < FREEZE_BELOW_PCT)
    [(key, freeze)] = run.freezes
    assert key == "shop/storefront"
    assert (freeze["state"], freeze["since"], freeze["evaluated_at"]) == ("frozen", *[rfc3339(since_s)] * 2)
    [reason] = freeze["reasons"]
    assert reason["slo"] == AVAILABILITY.name
    assert reason["threshold_pct"] == FREEZE_BELOW_PCT
    assert reason["budget_remaining_pct"] == pytest.approx(float(log.remaining_pct(since_s)), rel=1e-12)


@pytest.mark.parametrize("slo", [AVAILABILITY, PAYMENTS, LATENCY], ids=lambda slo: slo.name)
def test_a_budget_counts_what_the_access_log_counts(run: Run, slo: Slo) -> None:
    log, record = Log(run.events, slo), run.budgets[slo.name]
    total, bad = log.count(slo.window_s, run.minute_s)
    assert 0 < bad < total, "the traffic had both"
    assert (record["total"], record["bad"], record["good"]) == (total, bad, total - bad)
    assert record["remaining_pct"] == pytest.approx(float(log.remaining_pct(run.minute_s)), rel=1e-12)


def test_lines_that_are_no_events_reach_dead_letters_whole(run: Run) -> None:
    expected = Counter(NOT_EVENTS.values()) + Counter({"not_utf8": 1})
    assert Counter(letter["error"] for letter in run.letters) == expected
    payloads = [base64.b64decode(letter["payload_b64"]) for letter in run.letters]
    assert Counter(payloads) == Counter(run.faulty)
    for payload, letter in zip(payloads, run.letters, strict=True):
        assert letter["payload_bytes"] == len(payload)
        assert letter["payload_sha256"] == hashlib.sha256(payload).hexdigest()
        assert NOT_EVENTS.get(payload, "not_utf8") == letter["error"]


def test_prometheus_has_the_budget_of_the_record(run: Run) -> None:
    record = run.budgets[AVAILABILITY.name]
    name = 'burngate_slo_budget_remaining_ratio{namespace="shop",service="storefront",slo="%s"}'

    def same() -> bool:
        ratio = query(run.prometheus, name % AVAILABILITY.name)
        return ratio is not None and ratio == pytest.approx(record["remaining_pct"] / 100, rel=1e-12)

    wait_for("Prometheus' budget equals the record's", same, 15)
    assert query(run.prometheus, 'burngate_deploy_frozen{service="storefront"}') == 1
    assert query(run.prometheus, 'burngate_alert_firing{service="storefront",severity="critical"}') == 1


def test_prometheus_has_counted_every_line_once(run: Run) -> None:
    def counted() -> bool:
        return query(run.prometheus, "burngate_events_total") == len(run.events) + PARTITIONS

    wait_for("every event is counted", counted, 15)
    assert query(run.prometheus, "sum(burngate_dead_letters_total)") == len(run.faulty)
    assert query(run.prometheus, "burngate_late_events_total + burngate_too_late_events_total") == 0


def test_promtool_finds_nothing_to_complain_about_in_a_live_workers_metrics(run: Run) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    done = subprocess.run(
        [promtool, "check", "metrics"], input=run.metrics, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr


def test_the_worker_took_it_calmly(run: Run) -> None:
    assert "Traceback" not in run.worker_log
    told = [line for line in run.worker_log.splitlines() if " WARNING " in line or " ERROR " in line]
    meant = ("is a dead letter", "default/pacemaker; no rule is for it")
    assert not [line for line in told if not any(words in line for words in meant)]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
