"""A worker that has more to do than it can goes on, says so, and catches up when the load falls."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from stalling_worker import PATIENCE_S
from test_stalls_end_the_worker import SLO

from stream.kafka.topics import Admin, declare_topics

pytestmark = pytest.mark.broker
PARTITIONS = 12
LOAD_S = 4 * PATIENCE_S
LIMIT_S = 150.0


def asked(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def lag(metrics: str, topic: str) -> float | None:
    lines = [line for line in metrics.splitlines() if line.startswith("burngate_consumer_lag_records{")]
    found = [float(line.rpartition(" ")[2]) for line in lines if f'topic="{topic}"' in line]
    return sum(found) if len(found) == PARTITIONS else None


async def feed(broker: str, topic: str, seconds: float) -> None:
    """An event a second for each partition."""
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        for partition in range(PARTITIONS):
            event = {"ts": int(time.time() * 1000), "namespace": "shop", "service": "payment", "status": 200}
            await producer.send(topic, json.dumps(event).encode(), partition=partition)
        await asyncio.sleep(1)
    await producer.stop()


async def loaded(broker: str, topic: str, port: int) -> tuple[str, str]:
    """What a worker under load says on /readyz and /metrics once it is overloaded, which takes as long as it
    takes to start."""
    said = waited = ""
    for _ in range(4):
        feeding = asyncio.create_task(feed(broker, topic, LOAD_S))
        while not feeding.done():
            if not said.startswith("overloaded: "):
                said = await asyncio.to_thread(asked, port, "/readyz")
                waited = await asyncio.to_thread(asked, port, "/metrics")
            await asyncio.sleep(1)
        await feeding
        if said.startswith("overloaded: "):
            break
    return said, waited


@pytest.mark.timeout(600)
def test_an_overloaded_worker_goes_on_and_catches_up(broker: str, prefix: str, tmp_path: Path) -> None:
    """Each turn takes two seconds, so that each partition waits three times as long as a stall may last."""
    app, topic = f"{prefix}busy", f"{prefix}request-events"
    (tmp_path / "slos.yaml").write_text(SLO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def ready() -> None:
        async with Admin([broker]) as admin:
            await admin.ensure(declare_topics(app, PARTITIONS, prefix))

    asyncio.run(ready())
    script = Path(__file__).with_name("stalling_worker.py")
    options = ["--brokers", broker, "--slos", str(tmp_path / "slos.yaml"), "--app", app]
    options += ["--topic-prefix", prefix, "--partitions", str(PARTITIONS)]
    options += ["--metrics-port", str(port), "--metrics-host", "127.0.0.1"]
    with (tmp_path / "log").open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, str(script), "turns_that_take_long", "worker", *options],
            stderr=output,
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith("BURNGATE_")},
        )
    try:
        said, waited = asyncio.run(loaded(broker, topic, port))
        deadline_s = time.monotonic() + LIMIT_S
        while lag(asked(port, "/metrics"), topic) != 0.0 and time.monotonic() < deadline_s:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            time.sleep(1)
        assert lag(asked(port, "/metrics"), topic) == 0.0
        deadline_s = time.monotonic() + LIMIT_S
        while asked(port, "/readyz").strip() != "ok" and time.monotonic() < deadline_s:
            time.sleep(1)
        assert asked(port, "/readyz").strip() == "ok"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
    log = (tmp_path / "log").read_text()
    assert said.startswith("overloaded: "), said
    assert "records behind" in said
    longest = [line for line in waited.splitlines() if line.startswith("burngate_longest_wait_seconds ")]
    assert float(longest[0].split()[1]) >= 10
    lines = [line for line in log.splitlines() if "overloaded: " in line]
    assert lines
    assert len(lines) <= 2 + (4 * LOAD_S + LIMIT_S) / 60, "once a minute"
    assert "Traceback" not in log
