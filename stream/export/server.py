"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP.

Rendering thousands of series takes a while, so it is done in a thread, from a snapshot that no agent writes
to; the event loop only copies some counters. One rendering at a time: a second scrape waits.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version

from prometheus_client import PROCESS_COLLECTOR, Metric
from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    choose_encoder,
    generate_latest,
    gzip_accepted,
)
from prometheus_client.registry import Collector

from stream.errors import UserError
from stream.export.collector import StatsCollector
from stream.model.stats import Stats

log = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""The reason why something is not as it should be; None when it is."""

_REQUEST_BYTES = 16 << 10
_REQUEST_LIMIT_S = 10.0
_RESPONSE_LIMIT_S = 60.0
_TEXT = "text/plain; charset=utf-8"


class MetricsPortError(UserError):
    """The metrics port cannot be opened."""


@dataclass(frozen=True, slots=True)
class Response:
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    headers: tuple[str, ...] = ()

    def encode(self, *, with_body: bool) -> bytes:
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *self.headers,
            "Connection: close",
        )
        return "\r\n".join((*head, "", "")).encode("latin-1") + (self.body if with_body else b"")


class _Everything(Collector):
    """The worker's own metrics and the standard ``process_*`` ones."""

    def __init__(self, stats: StatsCollector) -> None:
        self._stats = stats

    def collect(self) -> list[Metric]:
        return [*self._stats.collect(), *PROCESS_COLLECTOR.collect()]


def render(snapshot: Stats, now_s: float, accept: str, accept_encoding: str) -> Response:
    """The exposition in the form that the headers ask for: Prometheus' text or OpenMetrics, gzip or not."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    body = encode(_Everything(StatsCollector(snapshot, now_s, version("burngate"))))
    if gzip_accepted(accept_encoding):
        return Response(
            HTTPStatus.OK, gzip.compress(body, compresslevel=1), content_type, ("Content-Encoding: gzip",)
        )
    return Response(HTTPStatus.OK, body, content_type)


class MetricsServer:
    """Serves one worker's stats; an async context manager.

    ``healthy``: whether the process is worth keeping, ``ready``: whether it does its work; a probe that gives
    a reason is answered 503 with it. ``clock`` gives epoch seconds. Port 0 takes a free one.
    """

    def __init__(
        self,
        stats: Stats,
        *,
        host: str,
        port: int,
        healthy: Probe = lambda: None,
        ready: Probe = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stats = stats
        self._host = host
        self._wanted_port = port
        self._probes = {"/healthz": healthy, "/readyz": ready}
        self._clock = clock
        self._rendering = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that is open."""
        assert self._server is not None, "not started"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Raises :class:`MetricsPortError` when the port is taken or cannot be opened here."""
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._wanted_port, limit=_REQUEST_BYTES
            )
        except (OSError, UnicodeError) as error:
            raise MetricsPortError(
                f"cannot open the metrics port {self._host}:{self._wanted_port}: {_reason(error)}; choose "
                "others with --metrics-port and --metrics-host, or switch it off with --metrics-port 0"
            ) from error
        log.info("metrics on http://%s:%d/metrics", self._host, self.port)

    async def stop(self) -> None:
        """Closes the port and cuts what is still being answered. May be called again."""
        if self._server is None:
            return
        self._server.close()
        await asyncio.sleep(0)  # connections that were just accepted begin, and can be cut
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> MetricsServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._exchange(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # the client went away, or never said what it wants
        except asyncio.CancelledError:
            pass  # cut by stop(); Python 3.11 logs a handler that ends so as an error
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            async with asyncio.timeout(_REQUEST_LIMIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            response = _text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            request, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            method = request.partition(" ")[0]
            try:
                response = await self._answer(request, fields)
            except Exception:
                # A worker must not stop for want of being watched.
                log.exception("a request on the metrics port failed: %s", request)
                response = _text(HTTPStatus.INTERNAL_SERVER_ERROR)
        async with asyncio.timeout(_RESPONSE_LIMIT_S):
            writer.write(response.encode(with_body=method != "HEAD"))
            await writer.drain()

    async def _answer(self, request: str, fields: list[str]) -> Response:
        parts = request.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or any(map(_is_broken, fields)):
            return _text(HTTPStatus.BAD_REQUEST)
        method, target, _ = parts
        if method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, headers=("Allow: GET, HEAD",))
        path = target.partition("?")[0]
        if path == "/metrics":
            return await self._metrics(fields)
        if path in self._probes:
            reason = self._probes[path]()
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else _text(HTTPStatus.OK)
        return _text(HTTPStatus.NOT_FOUND, "here are /metrics, /healthz and /readyz")

    async def _metrics(self, fields: list[str]) -> Response:
        wanted = _headers(fields)
        accept, accept_encoding = wanted.get("accept", ""), wanted.get("accept-encoding", "")
        async with self._rendering:
            snapshot, now_s = self._stats.snapshot(), self._clock()
            return await asyncio.to_thread(render, snapshot, now_s, accept, accept_encoding)


def _text(status: HTTPStatus, text: str = "", headers: tuple[str, ...] = ()) -> Response:
    return Response(status, f"{text or status.phrase.lower()}\n".encode(), headers=headers)


def _is_broken(field: str) -> bool:
    """Line ends within a field would reach the answer's own header."""
    return any(char in field for char in "\r\n\0")


def _headers(fields: list[str]) -> dict[str, str]:
    """Header fields by lower-case name; those of one name joined."""
    found: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        name = name.strip().lower()
        found[name] = f"{found[name]},{value.strip()}" if name in found else value.strip()
    return found


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno).lower()
        return (error.strerror or str(error)).lower()
    return "no such host"
