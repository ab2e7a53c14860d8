"""The worker as its users meet it: a process, a real Kafka, bad input, bad configuration, changed files."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from workers import WorkerProcess

from schemas import faults
from stream.kafka.tail import Tail
from stream.window.chunk import MAX_AGE_MS
from stream.wire.reject import ERRORS
from stream.wire.signal import TOPICS

LIMIT_S = 60.0
PARTITIONS = 2
OPTIONS = ("--partitions", str(PARTITIONS), "--session-timeout", "6s", "--reload-interval", "1s")
START_MS = 1_790_000_040_000  # a whole minute
SLO = """\
apiVersion: sre.example.com/v1
kind: ServiceLevelObjective
metadata: {{name: {name}, namespace: shop}}
spec:
  service: {service}
  sli: {{metric: availability}}
  target: 99
  timeWindow: {{type: rolling, duration: 1h}}
  alerting:
    - {{window: 5m, burnRateThreshold: 10, severity: critical}}
  errorBudgetPolicy: {{freezeDeploymentsThreshold: 50, autoRollbackThreshold: 49}}
"""


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")} | variables
    command = [sys.executable, "-m", "stream", "worker", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=environment, timeout=LIMIT_S
    )


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def event(second: int, **fields: object) -> bytes:
    every: dict[str, object] = {"ts": START_MS + second * 1000, "namespace": "shop", "service": "payment"}
    return json.dumps(every | {"status": 200, "latency_ms": 12, "version": "v1"} | fields).encode()


def wait_until(done: Callable[[], bool], what: str, log: Path, limit_s: float = LIMIT_S) -> None:
    deadline_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline_s, f"not within {limit_s} s: {what}\n{log.read_text()}"
        time.sleep(0.1)


# Configuration. Nothing here needs a broker that answers.


@pytest.fixture
def slos(tmp_path: Path) -> Path:
    directory = tmp_path / "slos"
    directory.mkdir()
    (directory / "payment.yaml").write_text(SLO.format(name="payment-availability", service="payment"))
    return directory


def test_a_broker_that_cannot_be_reached_is_reported_until_the_worker_gives_up(
    slos: Path, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{closed_port()}"
    ended = run("--brokers", address, "--slos", str(slos), "--connect-timeout", "5s", cwd=tmp_path)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert sum(f"waiting for Kafka at {address}: connection refused" in line for line in lines) >= 2, lines
    assert lines[-1].startswith(f"no Kafka at {address} within 5 s: connection refused")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ({}, 1, ["no SLO"]),
        ({"a.txt": "not for us"}, 1, ["no SLO"]),
        (
            {
                "a.yaml": SLO.format(name="a", service="payment").replace("target: 99", "target: 101"),
                "b/b.yml": SLO.format(name="b", service="payment").replace("severity:", "sevrity:"),
            },
            1,
            ["a.yaml:7:11: spec.target", "b.yml:10:", "sevrity", "did you mean severity"],
        ),
    ],
)
def test_slo_files_that_are_missing_or_wrong_end_it_with_the_whole_list(
    tmp_path: Path, files: dict[str, str], status: int, said: list[str]
) -> None:
    directory = tmp_path / "slos"
    directory.mkdir()
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    ended = run("--brokers", "127.0.0.1:1", "--slos", str(directory), cwd=tmp_path)
    assert ended.returncode == status, ended.stderr
    for words in said:
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_path_that_does_not_exist_is_named_and_exits_2(tmp_path: Path) -> None:
    ended = run("--brokers", "127.0.0.1:1", "--slos", "nowhere", cwd=tmp_path)
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unknown_and_wrong_settings_are_all_named_at_once(tmp_path: Path, slos: Path) -> None:
    faulty = {"BURNGATE_METRIC_PORT": "1", "BURNGATE_FOO": "1", "BURNGATE_PARTITIONS": "many"}
    ended = run("--slos", str(slos), "--reload-interval", "soon", cwd=tmp_path, **faulty)
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert "BURNGATE_METRIC_PORT: there is no such setting (did you mean BURNGATE_METRICS_PORT?)" in lines
    assert "BURNGATE_FOO: there is no such setting" in lines, "nothing is close to it"
    assert "BURNGATE_PARTITIONS: 'many': must be an integer" in lines
    assert any(line.startswith("--reload-interval: 'soon': a duration such as") for line in lines), lines
    assert any(line.startswith("--brokers is missing (or BURNGATE_BROKERS)") for line in lines), lines
    assert len(lines) == 5, lines


# Topics.


@pytest.mark.broker
def test_missing_topics_are_all_named_where_none_may_be_created(
    broker: str, prefix: str, slos: Path, tmp_path: Path
) -> None:
    ended = run(
        *("--brokers", broker, "--slos", str(slos), "--no-create-topics"),
        *("--app", f"{prefix}app", "--topic-prefix", prefix),
        cwd=tmp_path,
    )
    assert ended.returncode == 1
    for name in ("request-events", *TOPICS, f"{prefix}app-partials", f"{prefix}app-state"):
        assert f"topic {prefix}{name} does not exist" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.broker
def test_a_compacted_input_is_refused(broker: str, prefix: str, slos: Path, tmp_path: Path) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        compacted = {"cleanup.policy": "compact"}
        await admin.create_topics([NewTopic(f"{prefix}request-events", 1, 1, topic_configs=compacted)])
        await admin.close()

    asyncio.run(create())
    ended = run(
        *("--brokers", broker, "--slos", str(slos), "--app", f"{prefix}app", "--topic-prefix", prefix),
        cwd=tmp_path,
    )
    assert ended.returncode == 1
    assert f"topic {prefix}request-events is compacted" in ended.stderr


# One worker, one story: good and bad records, changed files, a stop and a second life.


@dataclass
class Shop:
    """A worker's surroundings; the tests of the story below look at what it has collected."""

    broker: str
    app: str
    slos: Path
    log: Path
    port: int
    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})
    metrics: str = ""
    health: dict[str, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)

    def worker(self) -> WorkerProcess:
        options = (*OPTIONS, "--metrics-port", str(self.port), "--metrics-host", "127.0.0.1")
        return WorkerProcess(self.broker, self.app, self.slos, self.log, options)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def answers(self, path: str) -> bool:
        try:
            self.get(path)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def produce(self, values: list[tuple[bytes | None, bytes | None]], partition: int = 0) -> None:
        """(key, value) each, in order."""

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.broker, max_request_size=16 << 20)
            await producer.start()
            for key, value in values:
                await producer.send(f"{self.app}-request-events", value, key=key, partition=partition)
            await producer.stop()

        asyncio.run(send())

    def read_until(self, done: Callable[[], bool], what: str) -> None:
        """Read the output topics from their beginning until ``done``."""

        async def read() -> None:
            names = {topic: f"{self.app}-{topic}" for topic in TOPICS}
            self.records = {topic: [] for topic in TOPICS}
            async with Tail([self.broker], names) as tail, asyncio.timeout(LIMIT_S):
                while not done():
                    for one in await tail.read(0.5):
                        self.records[one.topic].append(one.record)

        try:
            asyncio.run(read())
        except TimeoutError:
            raise AssertionError(f"not within {LIMIT_S} s: {what}\n{self.log.read_text()}") from None

    def budgets(self, slo: str) -> list[dict[str, Any]]:
        return [record for record in self.records["slo-budgets"] if record["slo"] == slo]

    def total(self, slo: str) -> float:
        return max((record["total"] for record in self.budgets(slo)), default=0.0)


FUTURE = event(0, ts=int((time.time() + 3600) * 1000))
POISON: list[tuple[bytes | None, bytes | None, str]] = [
    (b"k", None, "empty"),
    (None, b"", "empty"),
    (b"k", b" " * ((1 << 20) + 1), "too_large"),
    (b"k", b'{"service": "\xff"}', "not_utf8"),
    (b"k", b'{"service": "payment"', "not_json"),
    (b"k", b"[" * 2000 + b"]" * 2000, "too_deep"),
    (b"k", b'["payment"]', "not_an_object"),
    (b"k", b'{"ts": 1}', "missing_field"),
    (b"k", event(1, status="200"), "wrong_type"),
    (b"k", event(1, status=99), "out_of_range"),
    (b"k", event(1, service=""), "bad_length"),
    (b"k", event(1, track="blue"), "unknown_value"),
    (b"k", event(1, ts="yesterday"), "bad_time"),
    (b"\xff\xfe", b"{", "not_json"),  # of a key that is not UTF-8
    (b"k", FUTURE, "future_timestamp"),
]
GOOD_BEFORE = [event(second, status=500 if second % 3 == 0 else 200) for second in range(60)]
AFTER_RELOAD = [event(second, service=name) for second in range(60, 130) for name in ("payment", "search")]
SECOND_LIFE = [event(second, service=name) for second in range(130, 200) for name in ("payment", "search")]


@pytest.fixture(scope="module")
def story(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("worker")
    slos = directory / "slos"
    slos.mkdir()
    (slos / "payment.yaml").write_text(SLO.format(name="payment-availability", service="payment"))
    shop = Shop(broker, f"w{os.getpid()}", slos, directory / "worker.log", closed_port())
    first = shop.worker()
    second: WorkerProcess | None = None
    try:
        tell(shop, first)
        shop.codes.append(end(first, signal.SIGTERM))
        second = shop.worker()
        wait_until(lambda: shop.answers("/readyz"), "the second worker is ready", shop.log)
        go_on(shop)
        shop.codes.append(end(second, signal.SIGINT))
        yield shop
    finally:
        first.kill()
        if second is not None:
            second.kill()


def tell(shop: Shop, worker: WorkerProcess) -> None:
    wait_until(lambda: shop.answers("/readyz"), "the worker is ready", shop.log)
    # Every bad record has good neighbours; one partition holds them, the other stays without a record.
    batch: list[tuple[bytes | None, bytes | None]] = []
    for number, (key, value, _) in enumerate(POISON):
        batch += [(b"payment", one) for one in GOOD_BEFORE[number * 4 : number * 4 + 4]]
        batch.append((key, value))
    batch += [(b"payment", one) for one in GOOD_BEFORE[len(POISON) * 4 :]]
    shop.produce(batch)
    began_s = time.monotonic()
    shop.read_until(lambda: len(shop.records["dead-letters"]) >= len(POISON), "every bad record is a letter")

    payment = shop.slos / "payment.yaml"
    old = payment.read_text()
    payment.write_text(old.replace("target: 99", "target: ninety"))
    wait_until(lambda: "old ones stay in use" in shop.log.read_text(), "a bad change is refused", shop.log)
    payment.write_text(old)
    (shop.slos / "search.yaml").write_text(SLO.format(name="search-availability", service="search"))
    wait_until(lambda: "2 SLOs in use" in shop.log.read_text(), "a good change is taken", shop.log)

    # A chunk is read by the rules that it began with; the first record that is 10 s younger is its last.
    time.sleep(max(0.0, began_s + MAX_AGE_MS / 1000 + 1 - time.monotonic()))
    shop.produce([(None, event(59))])
    shop.produce([(None, value) for value in AFTER_RELOAD])
    shop.produce([(None, event(129))], partition=1)
    shop.read_until(lambda: shop.total("search-availability") >= 60, "the new objective has a budget")
    shop.health = {path: 200 for path in ("/healthz", "/readyz") if shop.answers(path)}
    shop.metrics = shop.get("/metrics")


def go_on(shop: Shop) -> None:
    shop.produce([(None, value) for value in SECOND_LIFE])
    shop.produce([(None, event(199))], partition=1)
    shop.read_until(
        lambda: shop.total("payment-availability") >= 182 and shop.total("search-availability") >= 120,
        "budgets up to 03:00 min",
    )


def end(worker: WorkerProcess, number: signal.Signals) -> int:
    worker.process.send_signal(number)
    return worker.stop()


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_every_bad_record_is_a_dead_letter_and_says_why_and_where(story: Shop) -> None:
    letters = {record["source"]["offset"]: record for record in story.records["dead-letters"]}
    places = [number * 5 + 4 for number in range(len(POISON))]
    assert sorted(letters) == places
    for place, (_, value, error) in zip(places, POISON, strict=True):
        letter = letters[place]
        assert letter["error"] == error, letter
        assert letter["source"] == {
            "topic": f"{story.app}-request-events",
            "partition": 0,
            "offset": place,
        }
        assert base64.b64decode(letter["payload_b64"]) == (value or b"")[: 512 * 1024]
        assert letter["payload_bytes"] == len(value or b"")
    assert {error for *_, error in POISON} == set(ERRORS)


@pytest.mark.broker
def test_good_records_between_bad_ones_are_all_counted(story: Shop) -> None:
    # One minute of events and one more, every third of the minute bad.
    first = story.budgets("payment-availability")[0]
    assert (first["total"], first["bad"]) == (61.0, 20.0)


@pytest.mark.broker
def test_an_error_rate_of_a_third_fires_freezes_and_rolls_back(story: Shop) -> None:
    assert [r["state"] for r in story.records["slo-alerts"]][:1] == ["firing"]
    assert [r["state"] for r in story.records["deploy-freezes"]][:1] == ["frozen"]
    assert [(r["slo"], r["version"]) for r in story.records["deploy-rollbacks"]] == [
        ("payment-availability", "v1")
    ]


@pytest.mark.broker
def test_a_change_of_the_files_is_taken_or_refused_while_the_worker_runs(story: Shop) -> None:
    log = story.log.read_text()
    assert re.search(
        r"the changed SLO files are invalid, the old ones stay in use:\n.*payment.yaml:7:11", log
    )
    assert story.total("search-availability") > 0


@pytest.mark.broker
def test_a_second_worker_goes_on_where_the_first_was_stopped(story: Shop) -> None:
    assert story.codes == [0, 0]
    totals = [int(record["total"]) for record in story.budgets("payment-availability")]
    # Whole minutes after the start: one event a second, one more at 0:59, one in the other partition at 2:09.
    assert totals == [61, 121, 182]
    searches = [int(record["total"]) for record in story.budgets("search-availability")]
    assert searches == [60, 120]


@pytest.mark.broker
def test_no_record_is_published_twice(story: Shop) -> None:
    for topic in TOPICS:
        counts = Counter(json.dumps(record, sort_keys=True) for record in story.records[topic])
        assert [text for text, count in counts.items() if count > 1] == [], topic


@pytest.mark.broker
def test_every_record_is_as_its_schema_says(story: Shop) -> None:
    for topic, records in story.records.items():
        assert records, f"the story has no {topic}"
        for record in records:
            assert faults(topic, record) == [], record


@pytest.mark.broker
def test_its_log_has_no_traceback(story: Shop) -> None:
    log = story.log.read_text()
    assert "Traceback" not in log
    assert " ERROR " not in log.replace("ERROR   stream.app: the changed SLO files", "")


@pytest.mark.broker
def test_probes_answer_and_metrics_say_what_happened(story: Shop) -> None:
    assert story.health == {"/healthz": 200, "/readyz": 200}
    samples = dict(
        line.rsplit(" ", 1) for line in story.metrics.splitlines() if line and not line.startswith("#")
    )
    assert float(samples["burngate_events_total"]) == len(GOOD_BEFORE) + len(AFTER_RELOAD) + 2
    for error, count in Counter(error for *_, error in POISON).items():
        assert float(samples[f'burngate_dead_letters_total{{error="{error}"}}']) == count
    assert float(samples["burngate_slo_files_valid"]) == 1


@pytest.mark.broker
@pytest.mark.interop
def test_promtool_accepts_the_metrics(story: Shop) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        check=False,
        input=story.metrics,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
