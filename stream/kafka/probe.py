"""Asking a Kafka for its cluster's id, in as little of its protocol as that takes.

Synchronous and without a client library: it is called from tests, commands and running event loops alike.
"""

from __future__ import annotations

import socket
import struct

_METADATA, _VERSION = 3, 2
_CLIENT = b"burngate-probe"
_LIMIT_S = 2.0


def cluster_id(host: str, port: int) -> str | None:
    """The id of the cluster whose broker listens there, or None while nothing answers properly.

    Kafka's Metadata request, version 2, for no topics: https://kafka.apache.org/protocol#The_Messages_Metadata
    """
    header = struct.pack(f">hhih{len(_CLIENT)}s", _METADATA, _VERSION, 1, len(_CLIENT), _CLIENT)
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=_LIMIT_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _exactly(connection, 4))
            return _parse(_exactly(connection, min(size, 1 << 20)))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionResetError
        parts += part
    return bytes(parts)


def _parse(answer: bytes) -> str | None:
    """Correlation id, brokers (id, host, port, rack), cluster id, …; no broker means not ready."""
    _, brokers = struct.unpack_from(">ii", answer)
    position = 8
    for _ in range(brokers):
        _, position = _string(answer, position + 4)
        _, position = _string(answer, position + 4)
    name, _ = _string(answer, position)
    return name if brokers else None


def _string(answer: bytes, position: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", answer, position)
    start = position + 2
    if length < 0:
        return None, start
    return answer[start : start + length].decode(), start + length
