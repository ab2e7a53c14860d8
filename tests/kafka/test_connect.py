"""Waiting for a broker says what it waits for, and ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka_cluster import Cluster

from stream.errors import UsageError
from stream.kafka import connect
from stream.kafka.connect import wait_for_brokers
from stream.kafka.failures import UnreachableError

Run = Callable[[Any], Any]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.broker
def test_a_broker_that_answers_is_enough_and_nothing_is_said(
    cluster: Cluster, run: Run, closed_port: int
) -> None:
    lines: list[str] = []
    run(wait_for_brokers([f"127.0.0.1:{closed_port}", *cluster.brokers], 5, lines.append))
    assert lines == []


def test_a_broker_that_is_not_there_is_reported_and_given_up(
    run: Run, closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connect, "_RETRY_S", 0.1)
    lines: list[str] = []
    with pytest.raises(UnreachableError, match="connection refused") as caught:
        run(wait_for_brokers([f"127.0.0.1:{closed_port}"], 0.35, lines.append))
    assert caught.value.exit_code == 1
    assert 3 <= len(lines) <= 5
    assert all("connection refused" in line and "\n" not in line for line in lines)
    assert not caplog.records  # aiokafka's own words about it are kept away


def test_something_else_on_the_port_is_told_from_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_RETRY_S", 0.05)

    async def check() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match=r"no Kafka that lets us in|does not answer"):
            await wait_for_brokers([f"127.0.0.1:{port}"], 0.1, lambda line: None)
        server.close()

    run(check())


def test_a_port_that_never_answers_takes_no_longer_than_the_time_given(run: Run) -> None:
    async def check() -> float:
        held: list[asyncio.StreamWriter] = []  # or the connection is closed when the writer is collected
        server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        began_s = time.monotonic()
        with pytest.raises(
            UnreachableError, match=r"within 1 s: something takes the connection and does not"
        ):
            await wait_for_brokers([address, address], 1, lambda line: None)
        server.close()
        return time.monotonic() - began_s

    assert 0.9 < run(check()) < 2.5


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":9092", "localhost:0", "localhost:x", "a:99999"]
)
def test_an_address_that_is_none_is_a_usage_error(run: Run, address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        run(wait_for_brokers([address], 1, lambda line: None))


def test_a_host_without_a_name_is_reported(run: Run) -> None:
    with pytest.raises(UnreachableError):
        run(wait_for_brokers(["no-such-host.invalid:9092"], 0, lambda line: None))
