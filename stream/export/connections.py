"""aiohttp's HTTP, with bounds on what strangers on the port can cost: connections, bytes of a head, time.

A connection is one request and its answer.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from aiohttp import web

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
BACKLOG = 32
"""So many more can be accepted at a time before those that are too many are closed."""
HEAD_BYTES = 16 << 10
HEAD_LIMIT_S = 10.0
ANSWER_LIMIT_S = 60.0
LINGER_S = 1.0
"""So long what a refused client still sends is taken from it: cut at once it might not see why."""

_END = b"\r\n\r\n"


class Room:
    """The connections that are open. For one too many the oldest that has asked for nothing yet is cut, so
    that half-open ones keep no probe out; if all of them are being answered, the new one is."""

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._limit = limit
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> None:
        self._open[connection] = None
        if len(self._open) > self._limit:
            oldest = next((one for one in self._open if not one.has_asked), connection)
            self.leave(oldest)
            oldest.cut()

    def leave(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def clear(self) -> None:
        """Cut them all."""
        for connection in list(self._open):
            connection.cut()


class Connection(web.RequestHandler):
    """Collects a head, whole and within its limits, before aiohttp sees any of it. What follows it is
    dropped: nothing here takes a body, or a second request."""

    def __init__(self, server: web.Server, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            logger=log,
            access_log=None,  # type: ignore[arg-type]  # its way to say: none
            keepalive_timeout=0,
            lingering_time=0,
            auto_decompress=False,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEAD_BYTES,
        )
        self.has_asked = False
        self._is_refused = False
        self._room = room
        self._head = bytearray()
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._cut_after(HEAD_LIMIT_S)
        self._room.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._room.leave(self)
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp never keeps it open
        """Who has asked may close his side, and is answered."""
        return self.has_asked and not self._is_refused

    def data_received(self, data: bytes) -> None:
        if self.has_asked:
            return
        searched = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        end = self._head.find(_END, searched)
        if max(end, len(self._head) if end < 0 else 0) > HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif end >= 0:
            head = bytes(self._head[: end + len(_END)])
            if is_broken(head):
                self._refuse(HTTPStatus.BAD_REQUEST)
            else:
                self.has_asked = True
                self._cut_after(ANSWER_LIMIT_S)
                super().data_received(head)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp can not read, or our own fault. A worker must not stop for want of being watched."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request on the metrics port failed: %r", request.raw_path, exc_info=exc)
        answer = text(HTTPStatus(status))
        answer.force_close()
        return answer

    def cut(self) -> None:
        """End it now, whatever it does."""
        if self.transport is not None:
            self.transport.abort()

    def _cut_after(self, seconds: float) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._loop.call_later(seconds, self.cut)

    def _refuse(self, status: HTTPStatus) -> None:
        self.has_asked = self._is_refused = True
        self._cut_after(LINGER_S)
        body = _told(status, "")
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert self.transport is not None
        self.transport.write(head.encode() + body)
        self.transport.write_eof()


def is_broken(head: bytes) -> bool:
    """No request line of HTTP/1, or line ends within a line, which would reach the answer's own head."""
    lines = head.removesuffix(_END).split(b"\r\n")
    words = lines[0].split(b" ")
    is_request = len(words) == 3 and words[2].startswith(b"HTTP/1.")
    return not is_request or any(char in line for line in lines for char in b"\r\n\0")


def text(status: HTTPStatus, said: str = "", **headers: str) -> web.Response:
    """An answer in plain text; without a text of its own, the status in words."""
    return web.Response(
        status=status,
        body=_told(status, said),
        content_type="text/plain",
        charset="utf-8",
        headers={"Server": "burngate", **headers},
    )


def _told(status: HTTPStatus, said: str) -> bytes:
    return f"{said or status.phrase.lower()}\n".encode()
