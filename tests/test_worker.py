"""The worker as its users meet it: a process, a real Kafka, bad input, bad configuration, changed files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
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
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from workers import WorkerProcess

from schemas import faults
from stream.kafka.topics import Admin, declare_topics
from stream.wire.reject import ERRORS
from stream.wire.rfc3339 import format_ms
from stream.wire.signal import TOPICS

LIMIT_S = 60.0
PARTITIONS = 2
SESSION_S = 60
"""So long a group waits for a member that did not leave: longer than any test would."""
AT_ONCE_S = 20.0
"""Much less than that, and enough for a process to start on a busy machine."""
OPTIONS = ("--partitions", str(PARTITIONS), "--session-timeout", f"{SESSION_S}s", "--reload-interval", "1s")
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


def test_with_json_logs_the_faults_of_a_start_are_json_lines_too(tmp_path: Path, slos: Path) -> None:
    (slos / "payment.yaml").write_text(SLO.format(name="a", service="b").replace("target: 99", "target: 101"))
    for options, status in (
        (["--slos", str(slos), "--brokers", "127.0.0.1:1"], 1),
        (["--slos", "nowhere", "--brokers", "127.0.0.1:1"], 2),
        (["--reload-interval", "soon"], 1),
    ):
        ended = run(*options, cwd=tmp_path, BURNGATE_LOG_FORMAT="json")
        assert ended.returncode == status
        lines = [json.loads(line) for line in ended.stderr.splitlines()]
        assert lines[-1]["level"] == "critical"
        assert "\n" not in lines[-1]["message"]
    assert {line["message"].split()[0] for line in lines} == {"--brokers", "--slos", "--reload-interval:"}


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
    assert "Traceback" not in ended.stderr


@pytest.mark.broker
def test_a_group_that_cannot_be_joined_ends_the_worker(
    broker: str, prefix: str, slos: Path, tmp_path: Path
) -> None:
    ended = run(
        *("--brokers", broker, "--slos", str(slos), "--app", f"{prefix}app", "--topic-prefix", prefix),
        *("--partitions", "1", "--metrics-port", "0", "--session-timeout", "1h"),  # brokers take half of it
        cwd=tmp_path,
    )
    assert ended.returncode == 3
    assert "the group cannot be joined: InvalidSessionTimeoutError" in ended.stderr
    assert "Traceback" not in ended.stderr


# One worker, one story: good and bad records, changed files, a stop and a second life.


@dataclass
class Life:
    """How a worker of the story ended, and what its group was then."""

    code: int
    members_before: int
    members_after: int


@dataclass
class Shop:
    """A worker's surroundings; the tests of the story below look at what it has collected."""

    broker: str
    app: str
    slos: Path
    log: Path
    port: int
    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})
    requests: dict[tuple[int, int], ConsumerRecord] = field(default_factory=dict)
    """By partition and offset."""
    metrics_while_faulty: dict[str, float] = field(default_factory=dict)
    metrics: str = ""
    health: dict[str, int] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    good: int = 0
    """Events sent in the first life that are none of the bad ones."""

    def worker(self, *options: str) -> WorkerProcess:
        where = ("--metrics-port", str(self.port), "--metrics-host", "127.0.0.1")
        return WorkerProcess(self.broker, self.app, self.slos, self.log, (*OPTIONS, *where, *options))

    def topic(self, name: str) -> str:
        return f"{self.app}-{name}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def answers(self, path: str) -> bool:
        try:
            self.get(path)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.log.read_text(), f"the log says {words!r}", self.log)

    def write(self, name: str, text: str) -> None:
        """An SLO file, whole from the first moment that it is there."""
        unfinished = self.slos / f"{name}.unfinished"
        unfinished.write_text(text)
        unfinished.rename(self.slos / name)

    def produce(self, values: list[tuple[bytes | None, bytes | None]], partition: int = 0) -> None:
        """(key, value) each, in order."""

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.broker, max_request_size=16 << 20)
            await producer.start()
            for key, value in values:
                await producer.send(self.topic("request-events"), value, key=key, partition=partition)
            await producer.stop()

        asyncio.run(send())

    def members(self) -> int:
        """How many workers the group has."""

        async def count() -> int:
            async with admin(self.broker) as client:
                (answer,) = await client.describe_consumer_groups([self.app])
                (group,) = answer.groups
                return len(group[5])

        return asyncio.run(count())

    def end_chunk(self, partition: int, second: int) -> None:
        """A chunk is read by the rules that it began with, and ends with a record 10 s younger than its
        first: send some, of a service without objectives, until the worker has committed such an end."""
        tp = TopicPartition(self.topic("request-events"), partition)

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.broker)
            await producer.start()
            first = await producer.send_and_wait(tp.topic, nobody(second), partition=partition)
            self.good += 1
            async with admin(self.broker) as client, asyncio.timeout(LIMIT_S):
                while await committed(client, self.app, tp) <= first.offset:
                    await asyncio.sleep(0.5)
                    await producer.send_and_wait(tp.topic, nobody(second), partition=partition)
                    self.good += 1
            await producer.stop()

        asyncio.run(send())

    def read(self) -> None:
        """Everything that is on the topics now, as those see it who read committed records alone."""

        async def everything() -> list[ConsumerRecord]:
            topics = [self.topic(name) for name in (*TOPICS, "request-events")]
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.broker,
                enable_auto_commit=False,
                isolation_level="read_committed",
                max_partition_fetch_bytes=16 << 20,
            )
            await consumer.start()
            try:
                places = [TopicPartition(name, n) for name in topics for n in range(PARTITIONS)]
                consumer.assign(places)
                await consumer.seek_to_beginning(*places)
                ends = await consumer.end_offsets(places)
                found: list[ConsumerRecord] = []
                async with asyncio.timeout(LIMIT_S):
                    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                        for records in (await consumer.getmany(timeout_ms=200)).values():
                            found += records
                return found
            finally:
                await consumer.stop()

        names = {self.topic(name): name for name in TOPICS}
        self.records = {topic: [] for topic in TOPICS}
        for record in asyncio.run(everything()):
            if record.topic in names:
                self.records[names[record.topic]].append(json.loads(record.value))
            else:
                self.requests[record.partition, record.offset] = record

    def read_until(self, done: Callable[[], bool], what: str) -> None:
        def enough() -> bool:
            self.read()
            return done()

        wait_until(enough, what, self.log)

    def of(self, topic: str, slo: str) -> list[dict[str, Any]]:
        return [record for record in self.records[topic] if record["slo"] == slo]

    def total(self, slo: str) -> float:
        return max((record["total"] for record in self.of("slo-budgets", slo)), default=0.0)

    def samples(self) -> dict[str, float]:
        return samples(self.get("/metrics"))


@contextlib.asynccontextmanager
async def admin(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def committed(client: AIOKafkaAdminClient, app: str, tp: TopicPartition) -> int:
    offsets = await client.list_consumer_group_offsets(app, partitions=[tp])
    return int(offsets[tp].offset)


def samples(metrics: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def nobody(second: int) -> bytes:
    """Of a service without an objective: it moves the watermark and is in no count."""
    return event(second, service="nobody")


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
KEYS = [b"payment", None, b"\xff\xfe"]
"""Of good records: their keys mean nothing."""
FIRST_MINUTE = [event(second, status=500 if second % 3 == 0 else 200) for second in range(60)]
AFTER_RELOAD = [event(second, service=name) for second in range(60, 130) for name in ("payment", "search")]
SECOND_LIFE = [event(second, service=name) for second in range(130, 200) for name in ("payment", "search")]
PAYMENT = SLO.format(name="payment-availability", service="payment")
SEARCH = SLO.format(name="search-availability", service="search")
# It would fire as long as the story lasts, and has nothing but its alert.
STEADY = PAYMENT.replace("payment-availability", "payment-steady").replace("5m", "1h, shortWindow: off")
STEADY = STEADY.replace("burnRateThreshold: 10", "burnRateThreshold: 2").partition("  errorBudgetPolicy")[0]
WITHOUT_RULE = STEADY.partition("  alerting")[0]


@pytest.fixture(scope="module")
def story(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("worker")
    slos = directory / "slos"
    slos.mkdir()
    shop = Shop(broker, f"w{os.getpid()}", slos, directory / "worker.log", closed_port())
    shop.write("payment.yaml", PAYMENT)
    shop.write("steady.yaml", STEADY)
    workers: list[WorkerProcess] = []
    try:
        workers.append(shop.worker())
        wait_until(lambda: shop.answers("/readyz"), "the worker is ready", shop.log)
        bad_files_and_bad_records(shop)
        good_files(shop)
        shop.health = {path: 200 for path in ("/healthz", "/readyz") if shop.answers(path)}
        shop.metrics = shop.get("/metrics")
        shop.lives.append(end(shop, workers[-1], signal.SIGTERM))

        workers.append(shop.worker())
        wait_until(lambda: shop.answers("/readyz"), "the second worker is ready", shop.log, AT_ONCE_S)
        go_on(shop)
        shop.lives.append(end(shop, workers[-1], signal.SIGINT))
        shop.read()
        yield shop
    finally:
        for worker in workers:
            worker.kill()


def bad_files_and_bad_records(shop: Shop) -> None:
    shop.write("payment.yaml", PAYMENT.replace("target: 99", "target: ninety"))
    shop.wait_for("old ones stay in use")
    # Every bad record has good neighbours. The other partition has one that lets time go on.
    batch: list[tuple[bytes | None, bytes | None]] = []
    for number, (key, value, _) in enumerate(POISON):
        batch += [(KEYS[number % 3], one) for one in FIRST_MINUTE[number * 4 : number * 4 + 4]]
        batch.append((key, value))
    shop.produce(batch)
    shop.produce([(None, nobody(59))], partition=1)
    shop.good += len(FIRST_MINUTE) + 1
    shop.read_until(
        lambda: len(shop.records["dead-letters"]) >= len(POISON) and len(shop.records["slo-alerts"]) >= 2,
        "every bad record is a letter, and the good ones fire both rules",
    )
    shop.metrics_while_faulty = shop.samples()


def good_files(shop: Shop) -> None:
    shop.write("payment.yaml", PAYMENT)
    shop.wait_for("the SLO files are good again, and say what is in use: 2 SLOs")
    shop.write("steady.yaml", WITHOUT_RULE)
    shop.write("search.yaml", SEARCH)
    shop.wait_for("3 SLOs in use")
    shop.end_chunk(0, 59)
    shop.produce([(None, value) for value in AFTER_RELOAD])
    shop.produce([(None, nobody(129))], partition=1)
    shop.good += len(AFTER_RELOAD) + 1
    shop.read_until(lambda: shop.total("search-availability") >= 60, "the new objective has a budget")


def go_on(shop: Shop) -> None:
    shop.produce([(None, value) for value in SECOND_LIFE])
    shop.produce([(None, nobody(199))], partition=1)
    shop.read_until(
        lambda: shop.total("payment-availability") >= 180 and shop.total("search-availability") >= 120,
        "budgets up to 3 min",
    )


def end(shop: Shop, worker: WorkerProcess, number: signal.Signals) -> Life:
    members = shop.members()
    worker.process.send_signal(number)
    try:
        code = worker.process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{number.name} did not end the worker:\n{shop.log.read_text()}") from None
    return Life(code, members, shop.members())


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_every_bad_record_is_a_dead_letter_and_says_why_and_where(story: Shop) -> None:
    letters = {record["source"]["offset"]: record for record in story.records["dead-letters"]}
    places = [number * 5 + 4 for number in range(len(POISON))]
    assert sorted(letters) == places
    assert len(story.records["dead-letters"]) == len(POISON)
    for place, (_, value, error) in zip(places, POISON, strict=True):
        letter, payload = letters[place], value or b""
        assert letter["error"] == error, letter
        assert letter["source"] == {"topic": story.topic("request-events"), "partition": 0, "offset": place}
        assert base64.b64decode(letter["payload_b64"]) == payload[: 512 * 1024]
        assert letter["payload_bytes"] == len(payload)
        assert letter["payload_sha256"] == hashlib.sha256(payload).hexdigest()
        assert letter["observed_at"] == format_ms(story.requests[0, place].timestamp)
    assert {error for *_, error in POISON} == set(ERRORS), "there is one of every kind"


@pytest.mark.broker
def test_good_records_between_bad_ones_are_all_counted(story: Shop) -> None:
    first = story.of("slo-budgets", "payment-availability")[0]
    assert (first["total"], first["bad"]) == (60.0, 20.0)


@pytest.mark.broker
def test_an_error_rate_of_a_third_fires_freezes_and_rolls_back(story: Shop) -> None:
    assert [r["state"] for r in story.of("slo-alerts", "payment-availability")][:1] == ["firing"]
    assert [r["state"] for r in story.records["deploy-freezes"]][:1] == ["frozen"]
    assert [(r["slo"], r["version"]) for r in story.records["deploy-rollbacks"]] == [
        ("payment-availability", "v1")
    ]


@pytest.mark.broker
def test_an_invalid_change_of_the_files_is_refused_and_the_old_ones_decide(story: Shop) -> None:
    assert re.search(
        r"the changed SLO files are invalid, the old ones stay in use:\n.*payment.yaml:7:11",
        story.log.read_text(),
    )
    # Sent, counted and decided while the faulty file was there: both rules fired, its own old one too.
    assert story.metrics_while_faulty["burngate_slo_files_valid"] == 0
    assert story.metrics_while_faulty["burngate_events_total"] == len(FIRST_MINUTE) + 1
    assert story.metrics_while_faulty['burngate_signals_total{topic="slo-alerts"}'] == 2


@pytest.mark.broker
def test_an_added_objective_is_used_and_a_removed_rule_resolves_without_a_restart(story: Shop) -> None:
    assert story.total("search-availability") > 0
    alerts = story.of("slo-alerts", "payment-steady")
    assert [alert["state"] for alert in alerts] == ["firing", "resolved"]
    assert alerts[0]["id"] == alerts[1]["id"]
    minute_1, *_ = story.of("slo-budgets", "payment-steady")
    assert alerts[1]["ends_at"] < minute_1["evaluated_at"], "before anything else could have ended it"
    assert minute_1["total"] == 60.0, "and its objective goes on"
    assert samples(story.metrics)["burngate_slo_files_valid"] == 1


@pytest.mark.broker
def test_sigterm_and_sigint_leave_a_checkpoint_and_an_empty_group(story: Shop) -> None:
    assert story.lives == [Life(code=0, members_before=1, members_after=0)] * 2
    log = story.log.read_text()
    assert log.count("stopped: everything is checkpointed, and the group left") == 2
    takeovers = re.findall(
        rf"took over {PARTITIONS} partitions in .* state records, (\d+) to \d+ in each", log
    )
    assert int(takeovers[-1]) > 0, f"the second worker found what the first had left: {takeovers}"
    assert len(re.findall(rf"ready: {PARTITIONS} of {PARTITIONS} partitions, Kafka ", log)) == 2, (
        "once a start"
    )


@pytest.mark.broker
def test_a_second_worker_goes_on_where_the_first_was_stopped(story: Shop) -> None:
    # Whole minutes after the start, of one event a second each.
    totals = {
        slo: [int(record["total"]) for record in story.of("slo-budgets", slo)]
        for slo in ("payment-availability", "payment-steady", "search-availability")
    }
    assert totals == {
        "payment-availability": [60, 120, 180],
        "payment-steady": [60, 120, 180],
        "search-availability": [60, 120],
    }


@pytest.mark.broker
def test_no_record_is_published_twice(story: Shop) -> None:
    for topic in TOPICS:
        counts = Counter(json.dumps(record, sort_keys=True) for record in story.records[topic])
        assert [text for text, count in counts.items() if count > 1] == [], topic


NOT_IN_THE_STORY = {"canary-verdicts", "rollout-status", "shadow-verdicts", "change-impacts"}
"""Nobody releases anything in it: see test_deploys_through_crashes.py and test_changes_are_judged.py."""


@pytest.mark.broker
def test_every_record_is_as_its_schema_says(story: Shop) -> None:
    for topic, records in story.records.items():
        assert records or topic in NOT_IN_THE_STORY, f"the story has no {topic}"
        for record in records:
            assert faults(topic, record) == [], record


@pytest.mark.broker
def test_its_log_has_no_traceback(story: Shop) -> None:
    log = story.log.read_text()
    assert "Traceback" not in log
    assert " ERROR " not in log.replace("ERROR   stream.agents.slo_files: the changed SLO files", "")


@pytest.mark.broker
def test_probes_answer_and_metrics_say_what_happened(story: Shop) -> None:
    assert story.health == {"/healthz": 200, "/readyz": 200}
    found = samples(story.metrics)
    assert found["burngate_events_total"] == story.good
    for error, count in Counter(error for *_, error in POISON).items():
        assert found[f'burngate_dead_letters_total{{error="{error}"}}'] == count


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


# A worker that cannot go on: a supervisor starts it again, and its log says why in a line.


def reasons(log: Path) -> list[str]:
    """The critical lines of a log of JSON; every line must be an object without a traceback."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line for line in lines if "traceback" in line or "Traceback" in line["message"]] == []
    return [line["message"] for line in lines if line["level"] == "critical"]


STOP_A_THREAD = """
import asyncio
from mode import Service
from mode.threads import ServiceThread
from stream.logs import set_up_logging

class Child(ServiceThread):
    async def on_stop(self):
        raise RuntimeError("a fault of its own")

async def main(ended):
    parent, child = Service(), Child()
    parent._children.append(child)
    child._started.set()
    if ended:
        child.thread_loop.close()
    await parent._stop_children()

set_up_logging("human", "info")
asyncio.run(main(ended=%s))
"""


@pytest.mark.parametrize("ended", [True, False])
def test_stopping_a_thread_that_has_ended_is_no_fault_and_any_other_failure_is(ended: bool) -> None:
    # What mode logs when a crash has ended the consumer's thread before it is stopped: a race, seldom lost.
    command = [sys.executable, "-c", STOP_A_THREAD % ended]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    if ended:
        assert done.stderr == ""
    else:
        assert "Traceback" in done.stderr
        assert "RuntimeError: a fault of its own" in done.stderr


@pytest.fixture
def shop(broker: str, prefix: str, slos: Path, tmp_path: Path) -> Shop:
    return Shop(broker, f"{prefix}shop", slos, tmp_path / "worker.log", closed_port())


@pytest.mark.broker
def test_a_worker_whose_place_another_took_exits_3_and_says_so_without_a_traceback(shop: Shop) -> None:
    worker = shop.worker("--log-format", "json")
    try:
        wait_until(lambda: shop.answers("/readyz"), "the worker is ready", shop.log)

        async def take_its_place() -> None:
            for number in range(PARTITIONS):
                usurper = AIOKafkaProducer(
                    bootstrap_servers=shop.broker, transactional_id=f"{shop.app}-{number}"
                )
                await usurper.start()
                await usurper.stop()

        asyncio.run(take_its_place())
        for partition in range(PARTITIONS):
            shop.produce([(None, event(second)) for second in range(60)], partition)
        assert worker.process.wait(LIMIT_S) == 3
    finally:
        worker.kill()
    (reason,) = reasons(shop.log)
    assert reason.startswith("another worker has taken over the state of partition ")


@pytest.mark.broker
def test_a_worker_whose_state_was_deleted_exits_3_and_says_so_without_a_traceback(shop: Shop) -> None:
    topics = declare_topics(shop.app, PARTITIONS, f"{shop.app}-")

    async def lose() -> None:
        async with Admin([shop.broker]) as creator:
            await creator.ensure(topics)
        partials = TopicPartition(topics.partials.name, 0)
        producer = AIOKafkaProducer(bootstrap_servers=shop.broker)
        await producer.start()
        await producer.send_and_wait(partials.topic, b"trimmed", partition=0)
        await producer.stop()
        async with admin(shop.broker) as client:
            await client.delete_records({partials: RecordsToDelete(1)})

    asyncio.run(lose())
    worker = shop.worker("--log-format", "json")
    try:
        assert worker.process.wait(LIMIT_S) == 3
    finally:
        worker.kill()
    (reason,) = reasons(shop.log)
    assert "begins at 1, but the state ends at 0" in reason
    assert "was the state topic deleted?" in reason
