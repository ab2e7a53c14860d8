"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP, in a thread with an event loop of its own.

A worker that is busy can still be asked whether it lives. What its agents write is read in their loop, which
copies some counters. Thousands of series, which take a while, are rendered from the copy, one rendering at a
time: scrapes that come meanwhile share the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web

from stream.errors import UserError
from stream.export.connections import BACKLOG, Connection, Room, text
from stream.export.exposition import Form, render
from stream.model.stats import Stats

log = logging.getLogger(__name__)
T = TypeVar("T")

Probe = Callable[[], str | None]
"""The reason why something is not as it should be; None when it is."""

_LOOP_LIMIT_S = 5.0
"""So long an answer waits for the agents' loop."""
_STOP_LIMIT_S = 5.0
_MAX_FORMS = 8
"""In so many the metrics wait to be rendered; who asks may name any version of a format."""


class MetricsPortError(UserError):
    """The metrics port cannot be opened."""


class MetricsServer:
    """Serves one worker's stats; an async context manager.

    ``healthy``: whether the process is worth keeping, asked in the server's thread. ``ready``: whether it
    does its work, asked in the loop that starts the server. A probe that gives a reason is answered 503 with
    it. ``clock`` gives epoch seconds. Port 0 takes a free one.
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
        self._healthy = healthy
        self._ready = ready
        self._clock = clock
        self._agents_loop: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is open."""
        assert self._thread is not None, "not started"
        return self._port

    async def start(self) -> None:
        """Raises :class:`MetricsPortError` when the port is taken or cannot be opened here."""
        self._agents_loop = asyncio.get_running_loop()
        opened: Future[int] = Future()
        thread = threading.Thread(target=self._run, args=(opened,), name="metrics", daemon=True)
        thread.start()
        try:
            self._port = await asyncio.wrap_future(opened)
        except (OSError, UnicodeError) as error:
            raise MetricsPortError(
                f"cannot open the metrics port {self._host}:{self._wanted_port}: {_reason(error)}; choose "
                "others with --metrics-port and --metrics-host, or switch it off with --metrics-port 0"
            ) from error
        self._thread = thread
        log.info("metrics on http://%s:%d/metrics", self._host, self.port)

    async def stop(self) -> None:
        """Closes the port and cuts what is still being answered. May be called again."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        await asyncio.to_thread(thread.join, _STOP_LIMIT_S)

    async def __aenter__(self) -> MetricsServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    # in the server's thread

    def _run(self, opened: Future[int]) -> None:
        try:
            asyncio.run(self._serve(opened))
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    async def _serve(self, opened: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._rendering = asyncio.Lock()
        self._next: dict[Form, asyncio.Task[bytes]] = {}
        room, server = Room(), web.Server(self._answer, handler_cancellation=True)
        listening = await self._loop.create_server(
            lambda: Connection(server, room, asyncio.get_running_loop()),
            self._host,
            self._wanted_port,
            backlog=BACKLOG,
        )
        opened.set_result(int(listening.sockets[0].getsockname()[1]))
        await self._stopping.wait()
        listening.close()
        await asyncio.sleep(0)  # connections that were just accepted begin, and can be cut
        room.clear()
        await asyncio.sleep(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._respond(request)
        except TimeoutError:
            response = text(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"busy: the worker's event loop has not answered for {_LOOP_LIMIT_S:g} s",
            )
        response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        if request.path == "/metrics":
            wanted = Form.wanted(_joined(request, "Accept"), _joined(request, "Accept-Encoding"))
            return await self._metrics(wanted)
        if request.path == "/healthz":
            return _probed(self._healthy())
        if request.path == "/readyz":
            return _probed(await self._in_agents_loop(self._ready))
        return text(HTTPStatus.NOT_FOUND, "here are /metrics, /healthz and /readyz")

    async def _metrics(self, form: Form) -> web.Response:
        if (rendering := self._next.get(form)) is None:
            if len(self._next) >= _MAX_FORMS:
                return text(HTTPStatus.SERVICE_UNAVAILABLE, "asked for in too many forms at once")
            rendering = self._next[form] = asyncio.create_task(self._render(form))
            rendering.add_done_callback(lambda done: done.cancelled() or done.exception())
        body = await asyncio.shield(rendering)
        packed = {"Content-Encoding": "gzip"} if form.packed else {}
        return web.Response(
            body=body, headers={"Content-Type": form.content_type, "Server": "burngate", **packed}
        )

    async def _render(self, form: Form) -> bytes:
        async with self._rendering:
            del self._next[form]  # who asks from now on wants what is newer
            snapshot = await self._in_agents_loop(self._stats.snapshot)
            return await asyncio.to_thread(render, snapshot, self._clock(), form)

    async def _in_agents_loop(self, work: Callable[[], T]) -> T:
        """Raises TimeoutError when that is too busy."""
        done: Future[T] = Future()

        def do() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(work())
                except BaseException as error:
                    done.set_exception(error)

        assert self._agents_loop is not None
        self._agents_loop.call_soon_threadsafe(do)
        async with asyncio.timeout(_LOOP_LIMIT_S):
            return await asyncio.wrap_future(done)


def _probed(reason: str | None) -> web.Response:
    return text(HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else text(HTTPStatus.OK)


def _joined(request: web.BaseRequest, name: str) -> str:
    """A header field's value; those of one name joined."""
    return ",".join(request.headers.getall(name, ()))


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError):
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno).lower()
        return (error.strerror or str(error)).lower()
    return "no such host"
