"""The metrics port, spoken to as Prometheus and a supervisor do."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from worker_stats import NOW_S, full

from stream.errors import UserError
from stream.export import connections
from stream.export import server as server_module
from stream.export.server import MetricsServer
from stream.model.stats import Readings, SloReading, Stats


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def run(
    test: Callable[[MetricsServer], Awaitable[None]], stats: Stats | None = None, **options: object
) -> None:
    async def with_server() -> None:
        server = MetricsServer(
            full() if stats is None else stats,
            host="127.0.0.1",
            port=0,
            clock=lambda: NOW_S,
            **options,  # type: ignore[arg-type]
        )
        async with server, asyncio.timeout(30):
            await test(server)

    asyncio.run(with_server())


async def send(server: MetricsServer, request: bytes) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return Answer(int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body)


async def get(server: MetricsServer, path: str, method: str = "GET", **headers: str) -> Answer:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return await send(server, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())


def test_a_scrape_gives_every_metric_as_text() -> None:
    async def test(server: MetricsServer) -> None:
        answer = await get(server, "/metrics")
        assert (answer.status, answer.headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
        assert {"burngate_events", "burngate_slo_burn_rate", "burngate_latency_seconds"} <= names

    run(test)


def test_prometheus_gets_openmetrics_when_it_asks_for_it() -> None:
    async def test(server: MetricsServer) -> None:
        accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
        answer = await get(server, "/metrics", Accept=accept)
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        units = {family.name: family.unit for family in openmetrics_families(answer.body.decode())}
        assert units["burngate_slo_budget_remaining_ratio"] == "ratio"
        assert units["burngate_batch_duration_seconds"] == "seconds"

    run(test)


def test_a_client_that_takes_gzip_gets_it() -> None:
    async def test(server: MetricsServer) -> None:
        plain = await get(server, "/metrics")
        packed = await get(server, "/metrics", Accept_Encoding="gzip, deflate")
        assert packed.headers["Content-Encoding"] == "gzip"

        def ours(body: bytes) -> list[bytes]:
            return [line for line in body.splitlines() if line.startswith(b"burngate_")]

        assert ours(gzip.decompress(packed.body)) == ours(plain.body)

    run(test)


@pytest.mark.parametrize("version", ["x", "", "1.x", "-1", "é"])
def test_an_odd_version_in_the_accept_header_does_no_harm(version: str) -> None:
    async def test(server: MetricsServer) -> None:
        for kind in ("application/openmetrics-text", "text/plain"):
            answer = await get(server, "/metrics", Accept=f"{kind};version={version}")
            assert answer.status == 200

    run(test)


def test_head_gives_the_headers_alone() -> None:
    async def test(server: MetricsServer) -> None:
        answer = await get(server, "/healthz", method="HEAD")
        assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "3", b"")

    run(test)


def test_probes_answer_ok_or_the_reason() -> None:
    reasons: dict[str, str | None] = {"healthy": None, "ready": "restoring partition 3"}

    async def test(server: MetricsServer) -> None:
        healthy, ready = await get(server, "/healthz"), await get(server, "/readyz?verbose")
        assert (healthy.status, healthy.body) == (200, b"ok\n")
        assert (ready.status, ready.body) == (503, b"restoring partition 3\n")
        reasons["ready"] = None
        assert (await get(server, "/readyz")).status == 200

    run(test, healthy=lambda: reasons["healthy"], ready=lambda: reasons["ready"])


def test_what_is_not_there_or_not_allowed_is_said() -> None:
    async def test(server: MetricsServer) -> None:
        assert (await get(server, "/")).status == 404
        post = await get(server, "/metrics", method="POST")
        assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")

    run(test)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /metrics SPDY/3\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=1.0.0\nSet-Cookie: a=b\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"GET /" + b"x" * 5_000_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: yyyyyyyy\r\n" * 2_000 + b"\r\n", 431),
    ],
    ids=[
        *("nonsense", "nothing", "tls", "protocol", "injection", "nul", "target", "http2"),
        *("large", "endless", "long", "many"),
    ],
)
def test_a_broken_request_is_refused_and_the_next_one_answered(request_bytes: bytes, status: int) -> None:
    async def test(server: MetricsServer) -> None:
        assert (await send(server, request_bytes)).status == status
        assert (await get(server, "/healthz")).status == 200

    run(test)


def test_a_client_that_hangs_up_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: MetricsServer) -> None:
        for request in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            writer.transport.abort()
        assert (await get(server, "/healthz")).status == 200

    with caplog.at_level(logging.ERROR):
        run(test)
    assert not caplog.records


def test_a_fault_of_ours_is_logged_and_does_not_stop_the_server(caplog: pytest.LogCaptureFixture) -> None:
    stats = full()
    stats.readings[0] = None  # type: ignore[assignment]

    async def test(server: MetricsServer) -> None:
        assert (await get(server, "/metrics")).status == 500
        assert (await get(server, "/healthz")).status == 200

    run(test, stats)
    assert "the metrics port failed" in caplog.text


class Blocking(tuple[SloReading, ...]):
    """Readings whose rendering waits until the test lets it go on."""

    started = threading.Event()
    go_on = threading.Event()

    def __iter__(self) -> Iterator[SloReading]:
        self.started.set()
        assert self.go_on.wait(30)
        return super().__iter__()


class Waiting(Blocking):
    started = threading.Event()
    go_on = threading.Event()


class Counting(Blocking):
    started = threading.Event()
    go_on = threading.Event()
    renderings = 0

    def __iter__(self) -> Iterator[SloReading]:
        type(self).renderings += 1
        return super().__iter__()


def test_the_event_loop_goes_on_while_a_scrape_is_rendered() -> None:
    stats = full()
    stats.readings[0] = Readings(Blocking())

    async def test(server: MetricsServer) -> None:
        scrape = asyncio.create_task(get(server, "/metrics"))
        assert await asyncio.to_thread(Blocking.started.wait, 30)
        assert (await get(server, "/healthz")).status == 200
        stats.events += 1_000_000
        assert not scrape.done()
        Blocking.go_on.set()
        assert b"\nburngate_events_total 1000.0\n" in (await scrape).body

    run(test, stats)


def test_the_largest_head_is_answered_whole_and_in_pieces() -> None:
    fields = b"X: yyyyyyyy\r\n" * 1_000
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + fields + b"Z: " + b"z" * 3_000 + b"\r\n\r\n"

    async def test(server: MetricsServer) -> None:
        assert (await send(server, head)).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for place in range(0, len(head), 3):
            writer.write(head[place : place + 3])
            if place % 300 == 0:
                await writer.drain()
                await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    run(test)


def test_who_has_asked_may_close_his_side_and_is_answered() -> None:
    async def test(server: MetricsServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        writer.write_eof()
        assert b"\nburngate_events_total " in await reader.read()
        writer.close()

    run(test)


def test_a_body_or_a_second_request_is_passed_over() -> None:
    async def test(server: MetricsServer) -> None:
        get_ok = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
        for request, status in (
            (get_ok + b"Content-Length: 5\r\n\r\nhello", 200),
            (get_ok + b"Content-Length: 5000000000\r\n\r\nhel", 200),
            (get_ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200),
            (get_ok + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
            (get_ok + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 200),
            (get_ok + b"\r\n" + get_ok + b"\r\n", 200),
            (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        ):
            answer = await send(server, request)
            assert answer.status == status, request
            assert answer.body.count(b"HTTP/1.1") == 0, "one answer"

    run(test)


def test_hundreds_of_half_open_connections_keep_no_probe_out() -> None:
    """Nor do they use the process's descriptors up."""

    async def test(server: MetricsServer) -> None:
        before = len(os.listdir("/dev/fd"))
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(600)]
        for _, writer in held[::2]:
            writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
        started_s = time.monotonic()
        assert (await get(server, "/healthz")).status == 200
        assert time.monotonic() - started_s < connections.HEAD_LIMIT_S / 2
        both_sides = len(os.listdir("/dev/fd")) - before
        assert both_sides <= 600 + connections.MAX_CONNECTIONS + 8
        for _, writer in held:
            writer.transport.abort()

    run(test)


def test_while_all_are_being_answered_a_further_one_is_refused() -> None:
    stats = full()
    stats.readings[0] = Readings(Waiting())

    async def test(server: MetricsServer) -> None:
        scrapes = [asyncio.create_task(get(server, "/metrics")) for _ in range(connections.MAX_CONNECTIONS)]
        assert await asyncio.to_thread(Waiting.started.wait, 30)
        await asyncio.sleep(0.2)  # all the others are connected
        with pytest.raises((ConnectionError, ValueError, IndexError)):
            await get(server, "/healthz")
        Waiting.go_on.set()
        assert {answer.status for answer in await asyncio.gather(*scrapes)} == {200}
        assert (await get(server, "/healthz")).status == 200

    run(test, stats)


def test_a_head_that_does_not_end_in_time_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_LIMIT_S", 0.3)

    async def test(server: MetricsServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        started_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started_s < 10 and not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await reader.read()
        assert 0.2 < time.monotonic() - started_s < 5
        writer.close()

    run(test)


def test_who_does_not_take_his_answer_in_time_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = 30_000_000
    monkeypatch.setattr(connections, "ANSWER_LIMIT_S", 0.5)
    monkeypatch.setattr(server_module, "render", lambda *_: b"x" * whole)

    async def test(server: MetricsServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.sleep(1.5)
            client.settimeout(10)
            taken = 0
            with contextlib.suppress(ConnectionError):
                while some := await asyncio.to_thread(client.recv, 1 << 16):
                    taken += len(some)
        assert taken < whole, "what the system held, and then the connection was cut"

    run(test)


def test_a_worker_that_is_busy_lives_and_says_that_it_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_LOOP_LIMIT_S", 0.2)

    def ask(port: int, path: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(4_096), b""))

    async def test(server: MetricsServer) -> None:
        found: list[bytes] = []
        asking = threading.Thread(
            target=lambda: found.extend(
                ask(server.port, path) for path in ("/healthz", "/readyz", "/metrics")
            )
        )
        asking.start()
        asking.join(20)  # the event loop stands still as long
        assert [answer.split()[1] for answer in found] == [b"200", b"503", b"503"]
        assert b"busy: the worker's event loop has not answered" in found[1]
        assert (await get(server, "/readyz")).status == 200

    run(test)


def test_scrapes_that_wait_share_one_rendering() -> None:
    """So that those who ask, give up and ask again (a scrape that takes too long) do not pile up."""
    stats = full()
    stats.readings[0] = Readings(Counting())

    async def test(server: MetricsServer) -> None:
        first = asyncio.create_task(get(server, "/metrics"))
        assert await asyncio.to_thread(Counting.started.wait, 30)
        gone = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
        for _, writer in gone:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.3)
        for _, writer in gone:
            writer.transport.abort()
        first.cancel()
        await asyncio.sleep(0.3)
        Counting.go_on.set()
        assert (await get(server, "/metrics")).status == 200
        assert Counting.renderings <= 3

    run(test, stats)


def test_noise_is_refused_or_cut_and_leaves_no_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    words = [
        b"GET",
        b" ",
        b"/metrics",
        b"HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\0",
        b":",
        b"Host",
        b"\xff",
        b"%zz",
        b"[",
        b"9" * 40,
    ]

    async def test(server: MetricsServer) -> None:
        for _ in range(300):
            noise = b"".join(rng.choices(words, k=rng.randrange(1, 12)))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(noise + b"\r\n\r\n")
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
                assert not answer or answer.split()[1] in (b"200", b"400", b"404", b"405"), (noise, answer)
            writer.close()
        assert (await get(server, "/healthz")).status == 200

    with caplog.at_level(logging.WARNING):
        run(test)
    assert not caplog.records


def test_stopping_cuts_those_who_are_still_connected() -> None:
    async def test(server: MetricsServer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await get(server, "/healthz")  # by now the first one has been accepted
        await server.stop()
        await server.stop()
        assert await reader.read() == b""
        writer.close()

    run(test)


def test_a_taken_port_is_told_with_the_remedy() -> None:
    async def start(port: int) -> None:
        async with MetricsServer(Stats(), host="127.0.0.1", port=port):
            raise AssertionError("the port was free")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"127\.0\.0\.1:{port}: address already in use; .*--metrics-port"
        ):
            asyncio.run(start(port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "192.0.2.1", "a..b"])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    async def start() -> None:
        async with MetricsServer(Stats(), host=host, port=0):
            raise AssertionError("it could be opened")

    with pytest.raises(UserError, match="cannot open the metrics port"):
        asyncio.run(start())
