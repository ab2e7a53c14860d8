"""The demo and the load, as they are started: whole processes on a real Kafka, and nothing left of them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.demo import load, run
from stream.demo.worker import WorkerError, WorkerProcess
from stream.errors import UsageError, UserError
from stream.kafka.tail import Tail

PROC = Path("/proc")
TOKEN = "DEMO_TEST_TOKEN"
GONE_LIMIT_S = 40.0


class Family:
    """A process and all that came of it, recognised by a variable that they inherit."""

    def __init__(self, *arguments: str) -> None:
        self._token = uuid.uuid4().hex
        environment = {name: text for name, text in os.environ.items() if not name.startswith("BURNGATE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, TOKEN: self._token},
            text=True,
        )

    def members(self) -> set[int]:
        wanted = f"{TOKEN}={self._token}".encode()
        found = set()
        for directory in PROC.iterdir():
            try:
                if directory.name.isdigit() and wanted in (directory / "environ").read_bytes().split(b"\0"):
                    found.add(int(directory.name))
            except OSError:
                continue  # another's, or gone meanwhile
        return found

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError("".join(["it ended:\n", *lines]))

    def wait_until_gone(self) -> None:
        deadline_s = time.monotonic() + GONE_LIMIT_S
        while left := self.members():
            assert time.monotonic() < deadline_s, f"processes left: {left}"
            time.sleep(0.1)

    def end(self) -> None:
        self.process.kill()
        for pid in self.members():
            os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Iterator[Any]:
    started: list[Family] = []

    def start(*arguments: str) -> Family:
        started.append(Family(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.end()


linux = pytest.mark.skipif(not PROC.is_dir(), reason="processes are found by /proc")


@linux
@pytest.mark.broker
def test_the_demo_tells_its_story_whole_and_leaves_nothing_behind(family: Any) -> None:
    demo = family("demo", "--headless", "--duration", "20", "--seed", "3")
    assert demo.process.stdout is not None
    page = demo.process.stdout.read()
    assert demo.process.wait() == 0, page
    demo.wait_until_gone()
    for essential in (
        "TRIAL     search 3.2.0 is on trial at 10 %, beside 3.1.0",
        "FAILED    search 3.2.0 failed its canary: p99 +",
        "ROLLBACK  search: take 3.2.0 back, to 3.1.0",
        "PASSED    catalogue 1.9.0 passed its canary: no metric is worse",
        "the shop has promoted 1.9.0",
        "begins to fail on POST /v1/charges",
        "FIRING    payment-availability 5m > 14.4× (critical)",
        "of the bad requests: POST /v1/charges, version 2.5.0, canary",
        "FROZEN    payment may not be deployed",
        "ROLLBACK  payment: take 2.5.0 back, to 2.4.0",
        "RESOLVED  payment-availability 5m > 14.4×",
        "all of them counted, each once",
        "-m stream worker --brokers HOST:PORT --slos deploy/slos",
    ):
        assert essential in page, page
    times = [line[:8] for line in page.splitlines() if re.match(r"\d\d:\d\d:\d\d  ", line)]
    assert len(times) >= 10
    assert times == sorted(times) or times[0] > "22:50", page  # no order over midnight


@linux
@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_demo_ends_kafka_and_the_worker_too(family: Any, number: signal.Signals) -> None:
    demo = family("demo", "--headless")
    demo.read_until("an hour from")
    assert len(demo.members()) >= 5  # itself, Kafka, the worker and their guards
    demo.process.send_signal(number)
    if number != signal.SIGKILL:
        assert "of the hour" in demo.read_until("Stopped after")
        assert " sent" in demo.read_until(" sent")
    assert demo.process.wait(GONE_LIMIT_S) == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    demo.wait_until_gone()


@pytest.mark.parametrize(
    ("brokers", "says"),
    [
        ("127.0.0.1:1", "BURNGATE_KAFKA: no Kafka at 127.0.0.1:1 within 0.2 s: connection refused"),
        ("nonsense,b:1", "BURNGATE_KAFKA: HOST:PORT is expected, found 'nonsense'"),
        (" , ", "BURNGATE_KAFKA: must name at least one"),
    ],
)
def test_an_existing_kafka_that_is_none_is_named_with_its_variable(
    brokers: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BURNGATE_KAFKA", brokers)
    monkeypatch.setattr(sys.modules["stream.demo.run"], "_CONNECT_LIMIT_S", 0.2)
    with pytest.raises(UserError) as caught:
        run(headless=True)
    assert (caught.value.exit_code, str(caught.value)) == (1, says)
    assert ("waiting for Kafka" in capsys.readouterr().out) == ("refused" in says)


@pytest.mark.broker
def test_a_worker_that_does_not_start_is_reported_with_its_log(broker: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-slos"
    with pytest.raises(WorkerError, match="no-such-slos") as caught:
        WorkerProcess("--brokers", broker, "--slos", str(missing)).__enter__()
    log = Path(str(caught.value).split("the end of ")[1].split(":\n")[0])
    assert log.is_file()
    log.unlink()
    log.parent.rmdir()


@pytest.mark.broker
def test_load_plays_the_shop_up_to_now_and_counts_what_it_sent(broker: str, prefix: str) -> None:
    said: list[str] = []
    status = load(
        [broker], rate=20, speed=2_000, duration_s=3, topic_prefix=prefix, partitions=2, report=said.append
    )
    sent = int(said[-1].split()[0].replace(",", ""))

    async def read_deploys() -> list[tuple[str, str]]:
        steps: list[tuple[str, str]] = []
        async with Tail([broker], {"deploys": prefix + "deploy-events"}) as tail, asyncio.timeout(30):
            while len(steps) < 4:
                records = [signal_.record for signal_ in await tail.read(0.5)]
                steps += [(record["service"], record["state"]) for record in records]
        return steps

    async def read() -> list[int]:
        times: list[int] = []
        async with Tail([broker], {"events": prefix + "request-events"}) as tail, asyncio.timeout(30):
            while len(times) < sent:
                times += [signal_.record["ts"] for signal_ in await tail.read(0.5)]
        return times

    times = asyncio.run(read())
    steps = set(asyncio.run(read_deploys())) - {("catalogue", "finished")}  # just about now
    assert sorted(steps) == [
        ("catalogue", "promoted"),
        ("catalogue", "started"),
        ("search", "rolled_back"),
        ("search", "started"),
    ]
    now_ms = time.time() * 1000
    assert status == 0
    assert len(times) == sent
    assert sent == pytest.approx(20 * 3600, rel=0.05)
    assert now_ms - 60_000 < max(times) <= now_ms


@linux
@pytest.mark.broker
def test_load_ends_well_when_it_is_asked_to(broker: str, prefix: str, family: Any) -> None:
    shop = family("load", "--brokers", broker, "--topic-prefix", prefix, "--rate", "50")
    shop.read_until("sending to")
    shop.process.send_signal(signal.SIGTERM)
    assert "events sent to" in shop.read_until("events sent")
    assert shop.process.wait(GONE_LIMIT_S) == 0


def test_every_number_out_of_range_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        load(["127.0.0.1:1"], rate=0, speed=-1, seed=-2, duration_s=0)
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "--rate",
        "--speed",
        "--seed",
        "--duration",
    ]
    for duration_s in (1, 4000, float("nan")):
        with pytest.raises(UsageError, match="--duration"):
            run(duration_s=duration_s)
